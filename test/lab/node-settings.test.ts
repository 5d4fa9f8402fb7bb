/**
 * The scripts that nodes run for `logs:` and `packages:`, with what is real on this machine. Logs: real mounts in a mount
 * namespace of their own, over boots that end well and boots that end by a power cut. Packages: apt and dpkg as Debian
 * has them, on an overlay over this machine's root, in a network of their own.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Ipv4 } from "../../src/bytes/addresses.ts";
import { logFiles } from "../../src/cluster/generated/logs.ts";
import { packageFiles } from "../../src/cluster/generated/packages.ts";
import type { GenerationInput } from "../../src/cluster/generated/placing.ts";
import type { GeneratedFile } from "../../src/cluster/generated-file.ts";
import { parseManifest } from "../../src/cluster/manifest.ts";
import { parseSettingReports } from "../../src/cluster/setting-report.ts";
import { DEBIAN, planImage } from "../plan-images.ts";
import { APT_ARCHIVE_SERVER, aptSource, makeAptArchive } from "./apt-archive.ts";
import { requireRoot, requireTools } from "./required-tools.ts";

const IMAGE = {
  ...DEBIAN,
  root: { ...DEBIAN.root, "/usr/bin/tar": "", "/usr/bin/gzip": "", "/usr/bin/find": "", "/usr/bin/apt-get": "" },
};

function scriptOf(lines: string, generate: (input: GenerationInput) => GeneratedFile[], scriptPath: string): string {
  const text = `cluster: attic\nimage: pi.img\nnodes: [{ name: node1, mac: dc:a6:32:70:da:b0 }]\n${lines}`;
  const result = parseManifest(text, { fileExists: () => true });
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  const files = generate({
    manifest: result.manifest,
    node: result.manifest.nodes[0]!,
    rootMode: result.manifest.root,
    ...planImage("pi", IMAGE),
    serverAddress: "10.77.0.1" as Ipv4,
    ports: { nfs: 2049, mount: 20048 },
    secrets: { machineId: "0".repeat(32), sshHostKey: { privateKey: "private", publicKey: "ssh-ed25519 AAAA" } },
    readSource: () => undefined,
  });
  const file = files.find(({ path }) => path === scriptPath);
  return file?.kind === "file" ? Buffer.from(file.content).toString() : "";
}

describe.skipIf(requireTools(["unshare", "tar", "gzip", "find", "flock"]))("logs in memory", () => {
  let folder: string;
  const at = (path: string) => join(folder, path);

  /** One boot of a node: what it does between start and power cut, with the script as $1. What it prints. */
  function boot(lines: string, commands: string): string {
    const script = scriptOf(lines, logFiles, "/usr/lib/bramble/logs")
      .replaceAll(/(?<![\w.])\/(run|var)\//g, `${folder}/$1/`)
      .replaceAll("/usr/lib/bramble/up", at("up"));
    expect(script).toContain("/var/log\n");
    writeFileSync(at("logs"), script, { mode: 0o755 });
    rmSync(at("run"), { recursive: true, force: true });
    const inside = `cd ${folder}/var/log; umask 022; ${commands}`;
    const program = `mkdir -p ${at("run")}; mount -t tmpfs run ${at("run")}; ${at("logs")} start; ${inside}
      cp ${at("run")}/bramble/settings/logs ${at("said")}`;
    const { status, stdout, stderr } = spawnSync("unshare", ["--map-root-user", "--mount", "sh", "-c", program], {
      encoding: "utf8",
      env: { ...process.env, LOGS: at("logs") },
    });
    expect(`${status} ${stderr.replaceAll(/^(Logs in memory .*|tar: .*|gzip: .*|cp: .*|find: .*|\s*)\n/gm, "")}`).toBe(
      "0 ",
    );
    return stdout.trimEnd();
  }
  const said = () => parseSettingReports(`logs ${readFileSync(at("said"), "utf8").trim()}`)[0];
  const write = (path: string, text: string) => {
    mkdirSync(join(at(path), ".."), { recursive: true });
    writeFileSync(at(path), text);
  };
  const told = () => (existsSync(at("told")) ? readFileSync(at("told"), "utf8") : "");

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-logs-"));
    write("var/log/apt/history.log", "from the image\n");
    mkdirSync(at("var/lib/bramble"), { recursive: true });
    writeFileSync(at("up"), `#!/bin/sh\necho "$*" >> ${at("told")}\n`, { mode: 0o755 });
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const MEMORY = "logs: { keep: memory, size: 16MiB }";
  const NONE = "logs: { keep: none, size: 16MiB }";
  const FLUSH = '"$LOGS" flush';
  const LAST = '"$LOGS" last';

  it("begin with those on the disk, and bring there what came, as it was", () => {
    const first = `cat apt/history.log; echo one > syslog; mkdir -m 750 own; ln -s syslog link; touch -d 2001-02-03 old; ${LAST}`;
    expect(boot(MEMORY, first)).toBe("from the image");
    expect(said()).toMatchObject({ state: "ready", sizeKiB: 16 * 1024 });
    expect(readdirSync(at("var/log"))).toEqual(["apt"]);
    const second = "cat apt/history.log link; stat -c '%a %F' own; date -r old +%F; stat -f -c %T .";
    expect(boot(MEMORY, second)).toBe("from the image\none\n750 directory\n2001-02-03\ntmpfs");
  });

  it("have after a power cut what the last flush had, whole", () => {
    boot(MEMORY, `echo one > syslog; ${FLUSH}; echo two >> syslog; rm -r apt`);
    expect(boot(MEMORY, "cat syslog apt/history.log")).toBe("one\nfrom the image");
    // A flush that power ended in the middle.
    write("var/lib/bramble/logs.tar.gz.new", "half of it");
    expect(boot(MEMORY, `cat syslog; rm -r apt; ${FLUSH}; ls`)).toBe("one\nsyslog");
    // The folders of the image come again, what was in them does not.
    expect(boot(MEMORY, "find . -type f")).toBe("./syslog");
    expect(readdirSync(at("var/lib/bramble"))).toEqual(["logs.tar.gz"]);
  });

  it("go with each boot when the manifest says so, but for the folders that programs expect", () => {
    boot(NONE, `echo one > syslog; mkdir -m 750 own; ${LAST}`);
    expect(boot(NONE, "find . | sort; stat -c %a own")).toBe(".\n./apt\n./own\n750");
    expect(said()).toEqual({ setting: "logs", state: "ready" });
  });

  it("are told of when they fill their memory, and once only", () => {
    const full = `head -c 15500000 /dev/zero > big; ${FLUSH}; ${FLUSH}`;
    boot(MEMORY, full);
    expect(said()).toMatchObject({ state: "full", sizeKiB: 16 * 1024 });
    expect(told()).toBe("settings\n");
    boot(MEMORY, `rm big; mkdir journal; head -c 15500000 /dev/zero > journal/system.journal; ${FLUSH}`);
    expect(said()).toMatchObject({ state: "journal-full" });
    boot(MEMORY, `rm -r journal; ${FLUSH}`);
    expect(said()).toMatchObject({ state: "ready" });
  });

  it("begin anew when the earlier ones do not fit, and put those aside", () => {
    boot(MEMORY.replace("16", "32"), `mkdir own; head -c 20000000 /dev/urandom > big; ${FLUSH}`);
    expect(boot(MEMORY, "find . | sort")).toBe(".\n./apt");
    expect(said()).toEqual({ setting: "logs", state: "too-large" });
    expect(readdirSync(at("var/lib/bramble"))).toEqual(["logs.tar.gz.unused"]);
  });

  it("begin anew when the image's own do not fit", () => {
    write("var/log/journal/big", "x".repeat(17 * 1024 * 1024));
    expect(boot(MEMORY, "find . | sort")).toBe(".\n./apt\n./journal");
    expect(said()).toEqual({ setting: "logs", state: "too-large" });
  });

  it("begin anew when the earlier ones are damaged, and keep those", () => {
    boot(MEMORY, FLUSH);
    write("var/lib/bramble/logs.tar.gz", "damaged");
    expect(boot(MEMORY, "find . | sort")).toBe(".\n./apt");
    expect(said()).toEqual({ setting: "logs", state: "damaged" });
    expect(readFileSync(at("var/lib/bramble/logs.tar.gz.unused"), "utf8")).toBe("damaged");
  });

  it("are told of when there is no space for a flush, which leaves the last one as it was", () => {
    boot(MEMORY, `echo one > syslog; ${FLUSH}`);
    const disk = at("var/lib/bramble");
    const fill = `mkdir ${at("kept")}; cp -a ${disk}/. ${at("kept")}; mount -t tmpfs -o size=64k disk ${disk}; cp -a ${at("kept")}/. ${disk}
      head -c 1000000 /dev/urandom > big; ${FLUSH} && echo flushed; ls ${disk}; tar -tzf ${disk}/logs.tar.gz | grep -c syslog`;
    expect(boot(MEMORY, fill)).toBe("logs.tar.gz\n1");
    expect(said()).toEqual({ setting: "logs", state: "no-space" });
    expect(told()).toBe("settings\n");
  });
});

const APT = ["unshare", "ip", "chroot", "apt-get", "dpkg-deb"];

describe.skipIf(requireTools(APT) || requireRoot())("packages, with a real apt", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-packages-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  /** What the commands print, with `try PACKAGES…` for the script: its exit status, report, and what the manager was told. */
  function run(installS: number, packages: readonly string[], commands: string): string {
    makeAptArchive(folder, packages, installS);
    const script = scriptOf("packages: [any]", packageFiles, "/usr/lib/bramble/packages");
    writeFileSync(join(folder, "script"), script);
    writeFileSync(join(folder, "commands"), `PATH=/usr/sbin:/usr/bin:/sbin:/bin; export PATH\n${TRY}\n${commands}\n`);
    writeFileSync(join(folder, "prepare"), PREPARE);
    const words = ["--mount", "--net", "--pid", "--fork", "--kill-child", "sh", join(folder, "prepare"), folder];
    const { status, stdout, stderr } = spawnSync("unshare", [...words, process.execPath, APT_ARCHIVE_SERVER], {
      encoding: "utf8",
      env: { PATH: process.env.PATH },
      timeout: 100_000,
    });
    expect(`${status} ${stderr}`).toBe("0 ");
    return stdout.trimEnd();
  }

  /** What this machine has set for its own apt does not count. */
  const PREPARE = `set -e
    folder=$1; node=$2; server=$3
    mkdir "$folder/memory"
    mount -t tmpfs memory "$folder/memory"
    cd "$folder/memory"
    mkdir upper work root
    mount -t overlay -o "lowerdir=/,upperdir=$PWD/upper,workdir=$PWD/work" root root
    mount -t proc proc root/proc
    mount --bind /dev root/dev
    mount -t tmpfs run root/run
    rm -rf root/etc/apt/sources.list root/etc/apt/sources.list.d root/etc/apt/apt.conf root/etc/apt/apt.conf.d root/var/lib/apt/lists
    mkdir -p root/etc/apt/apt.conf.d root/usr/lib/bramble
    printf '%s' '${aptSource("127.0.0.1")}' > root/etc/apt/sources.list
    cp "$folder/script" "$folder/commands" root/usr/lib/bramble
    printf '#!/bin/sh\\necho "$*" >> /run/told\\n' > root/usr/lib/bramble/up
    chmod 755 root/usr/lib/bramble/up
    ip link set lo up
    "$node" -e "$server" "$folder" & 
    echo $! > root/run/server
    sleep 1
    chroot root sh /usr/lib/bramble/commands
    kill "$(cat root/run/server)" 2> /dev/null || true
  `;
  const TRY = `try() {
    sed "s/^packages=.*/packages=\\"$*\\"/" /usr/lib/bramble/script > /run/script.$1
    sh /run/script.$1 > /run/said.$1 2>&1
    echo "$* $? $(cat /run/bramble/settings/packages) told $(wc -l < /run/told)"
  }`;

  it("are installed once, and asked for no more; one that no archive has is told of, and so is an archive that is away", () => {
    const commands = `try own-package; own-package; ls -d /var/log/own-package; ls /var/cache/apt/archives/own-package*.deb 2> /dev/null | wc -l
      try own-package no-such-package
      kill $(cat /run/server)
      try own-package
      try own-package second-package`;
    expect(run(0, ["own-package", "second-package"], commands).split("\n")).toEqual([
      "own-package 0 ready told 2",
      "own-package runs",
      "/var/log/own-package",
      "0",
      "own-package no-such-package 0 unknown told 3",
      "own-package 0 ready told 4",
      "own-package second-package 1 no-archive told 5",
    ]);
  }, 120_000);

  it("wait for another apt that is at work", () => {
    const commands = `try own-package > /run/first & sleep 2; try second-package; wait; cat /run/first; own-package; second-package`;
    const said = run(6, ["own-package", "second-package"], commands);
    expect(said.replaceAll(/ told \d/g, "").split("\n")).toEqual([
      "second-package 0 ready",
      "own-package 0 ready",
      "own-package runs",
      "second-package runs",
    ]);
  }, 120_000);
});
