/** The demo image: is it sound, and does its builder read every way apt's sources are written? */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
// @ts-expect-error: the builder runs with plain Node before anything is installed or compiled
import { parseSources } from "../../tools/demo-image/debian-archive.mjs";
// @ts-expect-error: as above
import { cpioArchive } from "../../tools/demo-image/initramfs.mjs";
import { requireTools } from "../lab/required-tools.ts";

const CHECKOUT = resolve(import.meta.dirname, "../..");
const MIB = 1024 * 1024;

describe("reading apt's sources", () => {
  it.each([
    ["a line", "deb http://mirror.test/debian bookworm main\n", false],
    [
      "a line with options and a comment",
      "deb [arch=amd64 signed-by=/k.gpg] http://mirror.test/debian bookworm main # mine\n",
      false,
    ],
    [
      "a deb822 paragraph",
      "Types: deb deb-src\nURIs: http://mirror.test/debian\nSuites: bookworm\nComponents: main\n",
      true,
    ],
    [
      "a folded field and comments",
      "# mine\nTypes: deb\nURIs:\n http://mirror.test/debian\nSuites: bookworm\n# no more\nComponents: main\n",
      true,
    ],
  ])("understands %s", (_, text, isDeb822) => {
    expect(parseSources(text, isDeb822)).toMatchObject([
      { uris: ["http://mirror.test/debian"], suites: ["bookworm"], components: ["main"] },
    ]);
  });

  it.each([
    ["sources of source packages", "deb-src http://mirror.test/debian bookworm main", false],
    ["commented lines", "# deb http://mirror.test/debian bookworm main", false],
    [
      "disabled paragraphs",
      "Types: deb\nEnabled: no\nURIs: http://mirror.test/debian\nSuites: bookworm\nComponents: main",
      true,
    ],
  ])("leaves out %s", (_, text, isDeb822) => {
    expect(parseSources(text, isDeb822)).toEqual([]);
  });
});

const skipped = requireTools([
  "mke2fs",
  "mkfs.vfat",
  "mcopy",
  "dpkg-deb",
  "fsck.vfat",
  "e2fsck",
  "debugfs",
  "cpio",
  "apt-get",
]);

describe("the demo", () => {
  it("ends when its image cannot be built", () => {
    const folder = mkdtempSync(join(tmpdir(), "bramble-demo-test-"));
    try {
      const script = '#!/bin/sh\ncase "$1" in *demo-image.mjs) exit 3 ;; esac\nexit 4\n';
      writeFileSync(join(folder, "node"), script, { mode: 0o755 });
      const env = { ...process.env, PATH: `${folder}:${process.env.PATH}` };
      expect(spawnSync(join(CHECKOUT, "tools/demo"), ["--once"], { env }).status).toBe(3);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe.skipIf(skipped)("the demo image", () => {
  let folder: string;
  let image: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-demo-test-"));
    const tool = join(CHECKOUT, "tools/demo-image.mjs");
    image = execFileSync(process.execPath, [tool], { cwd: CHECKOUT, encoding: "utf8" }).trim();
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function partition(startMiB: number, sizeMiB: number): string {
    const path = join(folder, `partition-${startMiB}`);
    execFileSync("dd", [
      `if=${image}`,
      `of=${path}`,
      "bs=1M",
      `skip=${startMiB}`,
      `count=${sizeMiB}`,
      "conv=sparse",
      "status=none",
    ]);
    return path;
  }

  it("has file systems that their own checkers find sound", () => {
    execFileSync("fsck.vfat", ["-n", partition(4, 128)]);
    execFileSync("e2fsck", ["-fn", partition(132, 64)], { stdio: "pipe" });
  });

  it("holds what a Pi 4 asks for", () => {
    const listing = execFileSync("mdir", ["-b", "-i", `${image}@@${4 * MIB}`, "::"], { encoding: "utf8" });
    for (const name of ["start4.elf", "fixup4.dat", "config.txt", "cmdline.txt", "bcm2711-rpi-4-b.dtb"]) {
      expect(listing).toContain(`::/${name}`);
    }
    const config = execFileSync("mtype", ["-i", `${image}@@${4 * MIB}`, "::config.txt"], { encoding: "utf8" });
    const [kernel, initramfs] = [/^kernel=(\S+)$/m, /^initramfs (\S+) followkernel$/m].map(
      (line) => line.exec(config)?.[1],
    );
    expect(listing).toContain(`::/${kernel}`);
    expect(listing).toContain(`::/${initramfs}`);
  });

  it("has a root that belongs to root, whoever builds it", () => {
    const stat = (path: string) =>
      execFileSync("debugfs", ["-R", `stat ${path}`, `${image}?offset=${132 * MIB}`], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      });
    for (const path of ["/", "/etc/inittab", "/usr/bin/busybox", "/usr/bin/udhcpc"])
      expect(stat(path)).toMatch(/User: +0 +Group: +0/);
    expect(stat("/usr/bin/busybox")).toMatch(/Mode: +0755/);
    expect(stat("/etc/shadow")).toMatch(/Mode: +0600/);
  });

  it("packs its initramfs as cpio does", () => {
    const path = join(folder, "archive.gz");
    const entries = [
      { path: "etc", kind: "directory" },
      { path: "etc/odd", kind: "file", mode: 0o640, content: "12345" },
      { path: "dev", kind: "directory" },
      { path: "dev/console", kind: "character", mode: 0o600, major: 5, minor: 1 },
    ];
    writeFileSync(path, cpioArchive(entries));
    const listing = execFileSync("sh", ["-c", 'gzip -dc "$0" | cpio -itv --quiet', path], { encoding: "utf8" });
    expect(listing.split("\n").map((line) => line.replace(/ +/g, " ").replace(/ Jan 1 1970 /, " "))).toEqual([
      "drwxr-xr-x 1 root root 0 etc",
      "-rw-r----- 1 root root 5 etc/odd",
      "drwxr-xr-x 1 root root 0 dev",
      "crw------- 1 root root 5, 1 dev/console",
      "",
    ]);
  });
});
