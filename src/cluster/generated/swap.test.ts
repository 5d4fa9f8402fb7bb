import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { MemoryFiles } from "../../../test/memory-files.ts";
import { DEBIAN, planImage, TRIXIE } from "../../../test/plan-images.ts";
import type { Ipv4 } from "../../bytes/addresses.ts";
import type { GeneratedFile } from "../generated-file.ts";
import { parseManifest } from "../manifest.ts";
import { parseSettingReports } from "../setting-report.ts";
import type { GenerationInput } from "./placing.ts";
import { swapFiles } from "./swap.ts";

interface Image {
  boot: MemoryFiles;
  root: MemoryFiles;
}

function generated(lines: string, image: Image = DEBIAN): GeneratedFile[] {
  const text = `cluster: attic\nimage: pi.img\nnodes: [{ name: node1, mac: dc:a6:32:70:da:b0 }]\n${lines}`;
  const result = parseManifest(text, { fileExists: () => true });
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  const { manifest } = result;
  const input: GenerationInput = {
    manifest,
    node: manifest.nodes[0]!,
    rootMode: manifest.root,
    ...planImage("pi", image),
    serverAddress: "10.77.0.1" as Ipv4,
    ports: { nfs: 2049, mount: 20048 },
    secrets: { machineId: "0".repeat(32), sshHostKey: { privateKey: "private", publicKey: "ssh-ed25519 AAAA" } },
    readSource: () => undefined,
  };
  return swapFiles(input);
}

function textOf(files: readonly GeneratedFile[], path: string): string {
  const file = files.find((each) => each.path === path);
  return file?.kind === "file" ? Buffer.from(file.content).toString() : `(${file?.kind})`;
}

const SYSTEM = "/etc/systemd/system";
const SCRIPT = "/usr/lib/bramble/swap";

describe("the files of swap", () => {
  const RPI_CONF = "/etc/rpi/swap.conf.d/90-bramble.conf";
  const UNIT = `${SYSTEM}/bramble-swap.service`;
  const OTHERS = {
    "/usr/lib/systemd/system/zramswap.service": "",
    "/etc/systemd/zram-generator.conf": "[zram0]\n",
  };
  const image = { ...TRIXIE, root: { ...TRIXIE.root, ...OTHERS } };
  const SWITCHED_OFF = [RPI_CONF, `${SYSTEM}/zramswap.service → /dev/null`, "/etc/systemd/zram-generator.conf"];
  const ZRAM = [SCRIPT, UNIT, `${SYSTEM}/swap.target.wants/bramble-swap.service → ${UNIT}`];

  it.each<[string, string[], string]>([
    ["", [RPI_CONF], "zram"],
    ["swap: { kind: none }", SWITCHED_OFF, "none"],
    ["swap: { kind: zram }", [...SWITCHED_OFF, ...ZRAM], "none"],
  ])("%j: what the image makes goes, but for trixie's zram where nothing is said", (lines, expected, mechanism) => {
    const files = generated(lines, image);
    const placed = files.map((file) => (file.kind === "symlink" ? `${file.path} → ${file.target}` : file.path));
    expect(placed).toEqual(expected);
    expect(textOf(files, RPI_CONF)).toBe(`[Main]\nMechanism=${mechanism}\n`);
  });

  it("are absent where neither the manifest nor the image says anything", () => {
    expect(generated("")).toEqual([]);
  });
});

describe("the script of swap", () => {
  let folder: string;
  const at = (path: string) => join(folder, path);
  const write = (path: string, text: string, mode = 0o644) => {
    mkdirSync(dirname(at(path)), { recursive: true });
    writeFileSync(at(path), text, { mode });
  };

  /** With made-up files of the kernel, and programs; what it reports, and what it gave the kernel. */
  function run(size: string) {
    const script = textOf(generated(`swap: { kind: zram, size: ${size} }`), SCRIPT)
      .replaceAll(/(?<![\w.*])\/(run|proc|sys)\//g, `${folder}/$1/`)
      .replace(/^PATH=.*$/m, `PATH=${folder}/programs:/usr/bin:/bin`);
    const { status } = spawnSync("sh", ["-c", script], { encoding: "utf8" });
    const read = (path: string) => (existsSync(at(path)) ? readFileSync(at(path), "utf8").trim() : "");
    const report = read("run/bramble/settings/swap");
    expect(parseSettingReports(`swap ${report}`)).toHaveLength(1);
    return { report, status, size: read("sys/block/zram1/disksize"), calls: read("calls") };
  }

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-swap-"));
    mkdirSync(at("run"));
    write("proc/meminfo", "MemTotal:  1000000 kB\nMemFree: 5 kB\n");
    write("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n");
    write("sys/class/zram-control/hot_add", "1\n");
    write("sys/block/zram1/disksize", "0\n");
    for (const name of ["modprobe", "mkswap", "swapon"]) {
      write(`programs/${name}`, `#!/bin/sh\necho "${name} $*" >> ${at("calls")}\n`, 0o755);
    }
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it.each([
    ["512MiB", "524288K"],
    ["50%", "500000K"],
    ["200%", "2000000K"],
  ])("makes a device of %s and swaps to it", (size, expected) => {
    const calls = "modprobe -q zram\nmkswap /dev/zram1\nswapon -p 100 /dev/zram1";
    expect(run(size)).toEqual({ report: "ready", status: 0, size: expected, calls });
  });

  it("leaves alone what is there when it is started again", () => {
    write("proc/swaps", "Filename Type Size Used Priority\n/dev/zram0 partition 131068 0 100\n");
    expect(run("50%")).toEqual({ report: "ready", status: 0, size: "0", calls: "" });
  });

  it.each<[string, string, () => void]>([
    ["a kernel without zram", "no-zram", () => rmSync(at("sys/class"), { recursive: true })],
    ["a kernel that gives no device", "failed", () => write("sys/class/zram-control/hot_add", "")],
    ["a size that the kernel does not take", "failed", () => rmSync(at("sys/block"), { recursive: true })],
    ["swapon that fails", "failed", () => write("programs/swapon", "#!/bin/sh\nexit 255\n", 0o755)],
  ])("says of %s: %s", (_, expected, prepare) => {
    prepare();
    expect(run("50%")).toMatchObject({ report: expected, status: 1 });
  });
});
