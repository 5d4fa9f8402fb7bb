import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { requireTools } from "../../../test/lab/required-tools.ts";
import type { MemoryFiles } from "../../../test/memory-files.ts";
import { BUSYBOX, DEBIAN, planImage } from "../../../test/plan-images.ts";
import type { Ipv4 } from "../../bytes/addresses.ts";
import { parseStorageReport } from "../container-storage.ts";
import type { GeneratedFile } from "../generated-file.ts";
import { parseManifest } from "../manifest.ts";
import { containerStorageFiles, containerStorageWarnings } from "./container-storage.ts";
import { parseUpReport } from "./index.ts";
import type { GenerationInput } from "./placing.ts";
import { upReportFiles } from "./up-report.ts";

const missing = requireTools(
  ["blkid", "wipefs", "mkfs.ext4", "e2fsck", "mkswap", "sfdisk", "debugfs"].map((name) => `/usr/sbin/${name}`),
);

interface Image {
  boot: MemoryFiles;
  root: MemoryFiles;
}

function input(lines: string, image: Image = DEBIAN, node = ""): GenerationInput {
  const text = `cluster: attic\nimage: pi.img\nnodes: [{ name: node1, mac: dc:a6:32:70:da:b0${node} }]\n${lines}`;
  const result = parseManifest(text, { fileExists: () => true });
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
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

const LOOP = "storage: { kind: loop, size: 64MiB }\n";
const MEMORY = "storage: { kind: memory, size: 64MiB }\n";
const DISK_PATH = "/dev/disk/by-id/usb-Maker_Stick_01-0:0";
const DISK = `, storage: { kind: disk, device: "${DISK_PATH}" }`;
const ERASED = `, storage: { kind: disk, device: "${DISK_PATH}", format: true }`;
const WITH_MKFS = { ...DEBIAN, root: { ...DEBIAN.root, "/usr/sbin/mkfs.ext4": "" } };

function textAt(files: readonly GeneratedFile[], path: string): string {
  const file = files.find((each) => each.path === path);
  return file?.kind === "file" ? Buffer.from(file.content).toString() : `(${file?.kind})`;
}

describe("the files of a storage", () => {
  it("are a unit before the container services, its script, and that those require it", () => {
    const files = containerStorageFiles(input(LOOP));
    expect(files.map(({ path }) => path)).toEqual([
      "/usr/lib/bramble/storage",
      "/etc/systemd/system/bramble-storage.service",
      "/etc/systemd/system/multi-user.target.wants/bramble-storage.service",
      ...["docker", "containerd", "kubelet", "k3s", "k3s-agent"].map(
        (service) => `/etc/systemd/system/${service}.service.d/bramble-storage.conf`,
      ),
    ]);
    expect(textAt(files, "/etc/systemd/system/bramble-storage.service")).toMatch(
      /^Before=docker\.service containerd\.service kubelet\.service k3s\.service k3s-agent\.service bramble-up\.service$/m,
    );
    expect(textAt(files, "/etc/systemd/system/docker.service.d/bramble-storage.conf")).toMatch(
      /^Requires=bramble-storage\.service\nAfter=bramble-storage\.service var-lib-docker\.mount /m,
    );
    expect(textAt(files, "/usr/lib/bramble/storage")).toMatch(/^size_kib=65536$/m);
  });

  it.each([
    ["the manifest has none", "", DEBIAN, ""],
    ["the node wants none", LOOP, DEBIAN, ", storage: { kind: none }"],
    ["the image has no systemd", LOOP, BUSYBOX, ""],
  ])("are absent when %s", (_, lines, image, node) => {
    expect(containerStorageFiles(input(lines, image, node))).toEqual([]);
    expect(textAt(upReportFiles(input(lines, image, node)), "/usr/lib/bramble/up")).not.toContain("storage");
  });

  it("follow the node's own words rather than the manifest's", () => {
    const files = containerStorageFiles(input(LOOP, DEBIAN, ", storage: { kind: memory, size: 1GiB }"));
    expect(textAt(files, "/usr/lib/bramble/storage")).toMatch(/^size_kib=1048576$[\s\S]*-t tmpfs/m);
  });

  it.each<[string, string, Image, RegExp[], node?: string]>([
    ["a loop", LOOP, WITH_MKFS, []],
    ["a loop without mkfs.ext4", LOOP, DEBIAN, [/has no mkfs\.ext4/]],
    ["a loop that goes with its root", `${LOOP}root: ephemeral`, WITH_MKFS, [/begins anew at each boot/]],
    ["a loop without systemd", LOOP, BUSYBOX, [/has no systemd: storage: does nothing there/]],
    ["memory", MEMORY, DEBIAN, []],
    ["a disk", "root: ephemeral", WITH_MKFS, [], DISK],
    [
      "a disk that may be erased",
      "",
      WITH_MKFS,
      [/^What is on \/dev\/\S+ of node1 is erased at its next boot, unless/],
      ERASED,
    ],
    ["a disk without mkfs.ext4", "", DEBIAN, [/has no mkfs\.ext4, which storage of kind disk needs/], DISK],
    ["nothing", "", DEBIAN, []],
  ])("warn of what will not be as wished: %s", (_, lines, image, expected, node) => {
    expect(containerStorageWarnings(input(lines, image, node))).toEqual(
      expected.map((each) => expect.stringMatching(each)),
    );
  });
});

describe("the script", () => {
  let folder: string;
  const write = (path: string, text: string, mode = 0o644) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text, { mode });
  };
  const program = (name: string, text: string) => write(`programs/${name}`, `#!/bin/sh\n${text}\n`, 0o755);
  const image = () => join(folder, "var/lib/bramble/containers.ext4");

  /** Runs it with made-up programs where the real ones need a kernel; what it reports, and what it called. */
  function run(lines: string, node = ""): { report: string; status: number | null; calls: string } {
    const script = textAt(containerStorageFiles(input(lines, DEBIAN, node)), "/usr/lib/bramble/storage")
      .replaceAll(/(?<![\w.])\/(run|var|proc|dev\/loop|dev\/disk)/g, `${folder}/$1`)
      .replace(/^PATH=.*$/m, `PATH=${folder}/programs:/usr/bin:/bin`);
    const { status, stderr } = spawnSync("sh", ["-c", script], { encoding: "utf8" });
    expect(stderr).not.toContain("not found");
    const calls = readFileSync(join(folder, "calls"), "utf8");
    return { report: readFileSync(join(folder, "run/bramble/storage"), "utf8").trimEnd(), status, calls };
  }

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-storage-"));
    write("calls", "");
    write("run/up", "");
    write("var/lib/up", "");
    write("dev/loop-control", "");
    write("proc/filesystems", "nodev\ttmpfs\n\text4\nnodev\toverlay\n");
    write("proc/mounts", "10.77.0.1:/ / nfs rw 0 0\n");
    write("proc/meminfo", "MemTotal: 900000 kB\nMemAvailable: 800000 kB\n");
    program("modprobe", "");
    program("mkfs.ext4", `echo mkfs.ext4 >> ${folder}/calls`);
    program("e2fsck", "exit 1");
    program("findmnt", "echo /dev/loop0");
    program("resize2fs", `echo "resize2fs $1" >> ${folder}/calls`);
    // Of an overlay only that its files lie in the upper folder.
    program("mount", `for last; do :; done; [ "$2" != overlay ] || { rmdir "$last" && ln -s upper "$last"; }`);
    program("umount", 'rm "$1"');
    program(
      "stat",
      `[ "$1" != -f ] || { case $3 in %S) echo 4096 ;; *) echo 2000 ;; esac; exit; }; exec /usr/bin/stat "$@"`,
    );
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it.each<[string, string, string, () => void]>([
    ["a new image", LOOP, "ready 8000 8000", () => {}],
    ["memory", MEMORY, "ready 8000 8000", () => {}],
    [
      "a full one, in which nothing can be tried",
      LOOP,
      "full 380 8000",
      () => {
        program("mount", '[ "$2" != overlay ] || exit 32');
        program(
          "stat",
          `[ "$1" != -f ] || { case $3 in %S) echo 4096 ;; %a) echo 95 ;; *) echo 2000 ;; esac; exit; }; exec /usr/bin/stat "$@"`,
        );
      },
    ],
    [
      "one that has no more files",
      LOOP,
      "full 8000 8000",
      () =>
        program("mount", '[ "$2" != overlay ] || { echo "mount: /merged: No space left on device." >&2; exit 32; }'),
    ],
    [
      "an image that is larger than wished",
      LOOP,
      "larger 8000 8000",
      () => {
        write("var/lib/bramble/containers.ext4", "");
        truncateSync(image(), 128 * 1024 * 1024);
      },
    ],
    ["a kernel without overlayfs", LOOP, "no-overlay", () => write("proc/filesystems", "\text4\n")],
    ["a kernel without loop devices", LOOP, "no-loop", () => rmSync(join(folder, "dev/loop-control"))],
    ["a kernel without ext4", LOOP, "no-ext4", () => write("proc/filesystems", "nodev\toverlay\n")],
    ["an image without mkfs.ext4", LOOP, "no-mkfs", () => rmSync(join(folder, "programs/mkfs.ext4"))],
    [
      "a manager without space",
      LOOP,
      "no-space",
      () => program("mkfs.ext4", "echo 'mkfs.ext4: No space left on device while writing' >&2; exit 1"),
    ],
    ["a quota", LOOP, "over-quota", () => program("mkfs.ext4", "echo 'mkfs.ext4: Disk quota exceeded' >&2; exit 1")],
    ["an mkfs.ext4 that fails", LOOP, "make-failed", () => program("mkfs.ext4", "exit 1")],
    ["a damaged image", LOOP, "damaged", () => program("e2fsck", "exit 4")],
    ["a mount that fails", LOOP, "mount-failed", () => program("mount", "exit 32")],
    ["memory that cannot be mounted", MEMORY, "mount-failed", () => program("mount", "exit 32")],
    ["a resize2fs that fails", LOOP, "grow-failed", () => program("resize2fs", "exit 1")],
    ["an overlay that loses what is written", LOOP, "test-failed", () => program("mount", "")],
    [
      "too little memory",
      MEMORY,
      "memory-short 150000 196608",
      () => write("proc/meminfo", "MemAvailable: 150000 kB\n"),
    ],
  ])("reports on %s", (_, lines, expected, prepare) => {
    prepare();
    const { report, status } = run(lines);
    expect(report).toBe(expected);
    expect(status).toBe(/^(ready|full|larger)/.test(expected) ? 0 : 1);
    expect(parseStorageReport(report)).toMatchObject({ state: expected.split(" ")[0] });
  });

  it("makes the image once, under another name until it is whole, and sparse", () => {
    program("mkfs.ext4", "exit 1");
    expect(run(LOOP).report).toBe("make-failed");
    expect(() => statSync(image())).toThrow();
    program("mkfs.ext4", `echo "mkfs.ext4 $*" >> ${folder}/calls`);
    expect(run(LOOP).calls).toMatch(/^mkfs\.ext4 .*nodiscard.* \S+containers\.ext4\.new\nresize2fs \/dev\/loop0\n$/);
    expect(statSync(image())).toMatchObject({ size: 64 * 1024 * 1024, blocks: 0 });
    expect(run(LOOP).calls.match(/mkfs/g)).toHaveLength(1);
  });

  it("makes the image larger, never smaller", () => {
    run(LOOP);
    run(LOOP.replace("64MiB", "96MiB"));
    expect(statSync(image()).size).toBe(96 * 1024 * 1024);
    expect(run(LOOP).report).toMatch(/^larger /);
    expect(statSync(image()).size).toBe(96 * 1024 * 1024);
  });

  describe.skipIf(missing)("of a disk, with the real programs on a file", () => {
    const disk = () => join(folder, DISK_PATH);
    const said = (program: string, ...words: string[]) =>
      execFileSync(program, words, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    const label = () => said("/usr/sbin/blkid", "-p", "-o", "value", "-s", "LABEL", disk()).trim();
    const uuid = () => said("/usr/sbin/blkid", "-p", "-o", "value", "-s", "UUID", disk());
    const marker = (text: string) => write("var/lib/bramble/making-disk", text);
    const debris = () => writeFileSync(disk(), Buffer.alloc(5000, "debris"), { flag: "r+" });

    const pluggedIn = () => {
      for (const name of ["blkid", "wipefs", "mkfs.ext4", "e2fsck"]) {
        rmSync(join(folder, "programs", name), { force: true });
        symlinkSync(`/usr/sbin/${name}`, join(folder, "programs", name));
      }
      program("sleep", "");
      write(DISK_PATH, "");
      truncateSync(disk(), 64 * 1024 * 1024);
    };

    it("makes a file system on an empty one, once, and lets it be trimmed", () => {
      pluggedIn();
      expect(run("", DISK)).toMatchObject({ report: "ready 8000 8000", status: 0 });
      expect(label()).toBe("bramble-storage");
      expect(existsSync(join(folder, "var/lib/bramble/making-disk"))).toBe(false);
      const made = uuid();
      expect(run("", ERASED)).toMatchObject({ report: "ready 8000 8000", status: 0 });
      expect(uuid()).toBe(made);
      expect(
        textAt(containerStorageFiles(input("", DEBIAN, DISK)), "/etc/systemd/system/bramble-trim.service"),
      ).toMatch(/^ExecStart=\/sbin\/fstrim .*\/var\/lib\/bramble\/containers$/m);
    });

    it.each<[string, () => void]>([
      ["another ext4", () => said("/usr/sbin/mkfs.ext4", "-q", "-F", "-L", "photos", disk())],
      ["swap space with our label", () => said("/usr/sbin/mkswap", "-L", "bramble-storage", disk())],
      ["a partition table", () => said("sh", "-c", `echo ',,L' | /usr/sbin/sfdisk -q '${disk()}'`)],
      ["bytes that no program knows", debris],
      [
        "what was left of making one on another disk",
        () => {
          debris();
          marker("/dev/disk/by-id/usb-Other\n");
        },
      ],
      [
        "a known file system, though making one here was begun",
        () => {
          marker(`${disk()}\n`);
          said("/usr/sbin/mkfs.ext4", "-q", "-F", disk());
        },
      ],
    ])("leaves %s alone without consent, and erases it with consent, once", (_, fill) => {
      pluggedIn();
      fill();
      const before = readFileSync(disk());
      expect(run("", DISK)).toMatchObject({ report: "device-taken", status: 1 });
      expect(readFileSync(disk()).equals(before)).toBe(true);
      expect(run("", ERASED)).toMatchObject({ report: "ready 8000 8000", status: 0 });
      expect(label()).toBe("bramble-storage");
      const made = uuid();
      run("", ERASED);
      expect(uuid()).toBe(made);
    });

    it("goes on where making one was cut off", () => {
      pluggedIn();
      rmSync(join(folder, "programs/mkfs.ext4"));
      program("mkfs.ext4", "exit 1");
      expect(run("", DISK).report).toBe("make-failed");
      debris();
      rmSync(join(folder, "programs/mkfs.ext4"));
      symlinkSync("/usr/sbin/mkfs.ext4", join(folder, "programs/mkfs.ext4"));
      expect(run("", DISK).report).toBe("ready 8000 8000");
      expect(label()).toBe("bramble-storage");
    });

    it("tells of one that is not there, and of one that is damaged", () => {
      pluggedIn();
      run("", DISK);
      said("/usr/sbin/debugfs", "-w", "-R", "ssv state 0", disk());
      said("/usr/sbin/debugfs", "-w", "-R", "clri <2>", disk());
      expect(run("", DISK)).toMatchObject({ report: "disk-damaged", status: 1 });
      rmSync(disk());
      expect(run("", DISK)).toMatchObject({ report: "no-device", status: 1 });
    });
  });

  it("goes with the report that the node is up, not with the one that it goes down", () => {
    run(LOOP);
    const bootId = "0b8a4f0e-3f2d-4b7a-9c61-2f3f7c5d1e11";
    write("proc/sys/kernel/random/boot_id", `${bootId}\n`);
    write("proc/uptime", "32.17 60.02\n");
    const up = textAt(upReportFiles(input(LOOP)), "/usr/lib/bramble/up");
    const script = up.replaceAll(/(?<![\w.])\/(run|var|proc)/g, `${folder}/$1`);
    const report = (...words: string[]) => {
      spawnSync("sh", ["-u", "-c", script, "up", ...words]);
      return parseUpReport(readFileSync(join(folder, "var/lib/bramble/up")));
    };
    const boot = { bootId, uptimeS: 32.17 };
    expect(report()).toEqual({ ...boot, state: "up", storage: { state: "ready", freeKiB: 8000, sizeKiB: 8000 } });
    expect(report("down")).toEqual({ ...boot, state: "down" });
    rmSync(join(folder, "run/bramble/storage"));
    expect(report()).toEqual({ ...boot, state: "up" });
  });
});
