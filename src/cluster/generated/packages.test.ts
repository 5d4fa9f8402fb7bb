import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { MemoryFiles } from "../../../test/memory-files.ts";
import { BUSYBOX, DEBIAN, planImage } from "../../../test/plan-images.ts";
import type { Ipv4 } from "../../bytes/addresses.ts";
import { formatProblem, parseManifest } from "../manifest.ts";
import { parseSettingReports, settingProblem } from "../setting-report.ts";
import { packageFiles, packagesOf, packageWarnings } from "./packages.ts";
import type { GenerationInput } from "./placing.ts";

interface Image {
  boot: MemoryFiles;
  root: MemoryFiles;
}

const WITH_APT = { ...DEBIAN, root: { ...DEBIAN.root, "/usr/bin/apt-get": "" } };

function input(lines: string, image: Image = WITH_APT, node = ""): GenerationInput {
  const text = `cluster: attic\nimage: pi.img\nnodes: [{ name: node1, mac: dc:a6:32:70:da:b0${node} }]\n${lines}`;
  const result = parseManifest(text, { fileExists: () => true });
  if (!result.ok) throw new Error(result.problems.map((problem) => formatProblem("", problem)).join("\n"));
  const { manifest } = result;
  return {
    manifest,
    node: manifest.nodes[0]!,
    rootMode: manifest.root,
    ...planImage("pi", image),
    serverAddress: "10.77.0.1" as Ipv4,
    ports: { nfs: 2049, mount: 20048 },
    secrets: { machineId: "0".repeat(32), sshHostKey: { privateKey: "private", publicKey: "ssh-ed25519 AAAA" } },
    readSource: () => undefined,
  };
}

const WANTED = "packages: [htop, g++]\n";

describe("packages of the manifest", () => {
  it("are those for all and those of the node, each once", () => {
    expect(packagesOf(input(WANTED, WITH_APT, ", packages: [nfs-common, htop]"))).toEqual([
      "htop",
      "g++",
      "nfs-common",
    ]);
    expect(packageFiles(input("")).length).toBe(0);
  });

  it.each(["packages: [Htop]", 'packages: ["a b"]', 'packages: ["$(reboot)"]', "packages: [htop=3]"])(
    "%s is refused",
    (line) => {
      expect(() => input(line)).toThrow("packages[0]: Expected the name of a Debian package, as htop");
    },
  );

  it.each<[string, Image, (string | RegExp)[]]>([
    [WANTED, WITH_APT, []],
    ["", BUSYBOX, []],
    [WANTED, DEBIAN, [/^The image of node1 has no systemd or no apt-get/]],
    [WANTED, BUSYBOX, [/^The image of node1 has no systemd or no apt-get/]],
    [`${WANTED}root: ephemeral`, WITH_APT, [/^Packages of node1 are installed again at each boot/]],
  ])("the plan says what will not be as wished: %j", (lines, image, expected) => {
    expect(packageWarnings(input(lines, image))).toEqual(expected.map((each) => expect.stringMatching(each)));
  });
});

describe("the script", () => {
  let folder: string;
  const at = (path: string) => join(folder, path);
  const program = (name: string, text: string) => {
    mkdirSync(dirname(at(`programs/${name}`)), { recursive: true });
    writeFileSync(at(`programs/${name}`), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  };

  /** With made-up programs; what it reports, and what it told the manager. */
  function run(): { report: string; status: number | null; calls: string; told: string } {
    const file = packageFiles(input(WANTED)).find(({ path }) => path === "/usr/lib/bramble/packages");
    const script = Buffer.from(file?.kind === "file" ? file.content : "")
      .toString()
      .replaceAll(/(?<![\w.])\/run/g, `${folder}/run`)
      .replaceAll("/usr/lib/bramble/up", `${folder}/programs/up`)
      .replace(/^PATH=.*$/m, `PATH=${folder}/programs:/usr/bin:/bin`);
    const { status, stderr } = spawnSync("sh", ["-c", script], { encoding: "utf8" });
    expect(stderr).toBe("");
    const read = (path: string) => (existsSync(at(path)) ? readFileSync(at(path), "utf8") : "");
    return { report: read("run/bramble/settings/packages").trim(), status, calls: read("calls"), told: read("told") };
  }

  /** apt-get that says this about `install`, after it has made the packages present or not. */
  const aptGet = (update: string, install: string) =>
    program("apt-get", `echo "apt-get $*" >> ${at("calls")}; case "$*" in *update) ${update} ;; *) ${install} ;; esac`);

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-packages-"));
    writeFileSync(at("htop"), "");
    program("up", `echo "$*" >> ${at("told")}`);
    program("dpkg", `echo "dpkg $*" >> ${at("calls")}`);
    program("dpkg-query", `[ -e "${folder}/$4" ] && printf installed || printf config-files`);
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("installs what is missing, after what was cut off is finished", () => {
    aptGet("true", `: > ${at("g++")}`);
    const { report, status, calls, told } = run();
    expect({ report, status, told }).toEqual({ report: "ready", status: 0, told: "settings\nsettings\n" });
    expect(calls).toMatch(/^dpkg --configure -a\napt-get .* update\napt-get .* install g\+\+\n$/);
  });

  it("asks nobody when nothing is missing", () => {
    writeFileSync(at("g++"), "");
    expect(run()).toEqual({ report: "ready", status: 0, calls: "", told: "settings\n" });
  });

  it.each<[string, string, string, number, string, RegExp]>([
    ["a slip", "true", "echo 'E: Unable to locate package g++'; exit 100", 0, "unknown", /archives do not have all/],
    ["no archive", "exit 100", "echo 'E: Unable to locate package g++'; exit 100", 1, "no-archive", /does not reach/],
    [
      "a full disk",
      "true",
      "echo 'E: write error - write (28: No space left on device)'; exit 100",
      1,
      "no-space",
      /no space/,
    ],
    ["apt-get that fails", "true", "exit 100", 1, "failed", /apt-get failed; it tries again/],
    ["apt-get that says it has installed and has not", "true", "true", 1, "failed", /apt-get failed/],
    ["an archive that others do without", "exit 100", "touch $HERE/g++", 0, "ready", /^$/],
  ])("reports on %s", (_, update, install, status, state, problem) => {
    aptGet(update, install.replace("$HERE", folder));
    const result = run();
    expect(result).toMatchObject({ report: state, status });
    const [report] = parseSettingReports(`packages ${result.report}`);
    expect(settingProblem("node1", report!) ?? "").toMatch(problem);
  });

  it("tries again without a word while it is the same", () => {
    aptGet("exit 100", "exit 100");
    run();
    expect(run().told).toBe("settings\nsettings\n");
  });
});
