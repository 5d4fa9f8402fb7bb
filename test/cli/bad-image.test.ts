/** What a person sees who gives Bramble an image it cannot use. */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { patchFile } from "../images/os-image-file.ts";
import { requireRoot, requireTools } from "../lab/required-tools.ts";
import { elf } from "../plan-images.ts";
import { Workplace } from "./command-line.ts";
import { makeSmallImage, ROOT_START_BYTE, SMALL_IMAGE_COMMANDS } from "./small-image.ts";

const isMissingTools = requireTools([...SMALL_IMAGE_COMMANDS, "tune2fs", "xz"]);
const work = new Workplace();

/** Of the ext4 superblock, in the file. */
const SUPERBLOCK_BYTE = ROOT_START_BYTE + 1024;

const manifest = (image: string) =>
  [
    "cluster: attic",
    "network:",
    "  address: 127.0.0.1",
    "  ports: { dhcp: 21067, tftp: 21069, nfs: 21049, mount: 21048, portmap: 21111 }",
    `image: ${image}`,
    "stateDir: state",
    'nodes: [{ name: node1, mac: "dc:a6:32:00:00:01" }]',
    "",
  ].join("\n");

function broken(name: string, from: string, damage: (path: string) => void): void {
  copyFileSync(work.path(from), work.path(name));
  damage(work.path(name));
}

/** Turns the bits of one byte around. */
function flip(path: string, offset: number): void {
  patchFile(path, offset, Uint8Array.of(readFileSync(path)[offset]! ^ 0xff));
}

const isNoImage = "it is no OS image for the Raspberry Pi:";
const isDamaged = "the file is damaged or cut short, so download or copy it again:";

const CASES: readonly { what: string; name: string; make?: (name: string) => void; message: string }[] = [
  { what: "missing", name: "missing.img", message: "there is no such file" },
  { what: "a folder", name: "folder", make: (name) => mkdirSync(work.path(name)), message: "it is not a plain file" },
  { what: "empty", name: "empty.img", make: (name) => work.write(name, ""), message: "the file is empty" },
  {
    what: "a truncated disk image",
    name: "cut.img",
    make: (name) => broken(name, "good.img", (path) => truncateSync(path, 9_000_000)),
    message: `${isNoImage} the image is truncated: it has 9000000 bytes, and the partition ends at byte 13631488; download or copy it again (disk image, partition 2)`,
  },
  {
    what: "a truncated .img.xz",
    name: "cut.img.xz",
    make: (name) => broken(name, "good.img.xz", (path) => truncateSync(path, readFileSync(path).length - 200)),
    message: `${isDamaged} xz: (stdin): Unexpected end of input`,
  },
  {
    what: "a .img.xz with a flipped byte",
    name: "flipped.img.xz",
    make: (name) => broken(name, "good.img.xz", (path) => flip(path, readFileSync(path).length >> 1)),
    message: `${isDamaged} xz: (stdin): Compressed data is corrupt`,
  },
  {
    what: "a truncated .img.gz",
    name: "cut.img.gz",
    make: (name) => broken(name, "good.img.gz", (path) => truncateSync(path, readFileSync(path).length - 20)),
    message: `${isDamaged} unexpected end of file`,
  },
  {
    what: "a .img.gz with a flipped byte of its checksum",
    name: "flipped.img.gz",
    make: (name) => broken(name, "good.img.gz", (path) => flip(path, readFileSync(path).length - 8)),
    message: `${isDamaged} incorrect data check`,
  },
  {
    what: "text",
    name: "text.img",
    make: (name) => work.write(name, "no image\n"),
    message: `${isNoImage} the file has only 9 bytes (disk image, byte 0)`,
  },
  {
    what: "bytes of something else",
    name: "random.img",
    make: (name) => writeFileSync(work.path(name), Buffer.alloc(3_000_000, 0xa5)),
    message: `${isNoImage} it has no boot signature (55 aa), so this is no disk image (MBR, byte 510)`,
  },
  {
    what: "an image whose root is a LUKS volume",
    name: "luks.img",
    make: (name) =>
      broken(name, "good.img", (path) => {
        patchFile(path, SUPERBLOCK_BYTE, new Uint8Array(1024));
        patchFile(path, ROOT_START_BYTE, Buffer.from("LUKS\xba\xbe\x00\x02", "latin1"));
      }),
    message: `${isNoImage} there is no ext4 root partition, the only kind that can be served: partition 1 holds FAT, partition 2 holds a LUKS encrypted volume (OS image, partitions)`,
  },
  {
    what: "an image whose ext4 root has encrypted files",
    name: "encrypted.img",
    make: (name) =>
      broken(name, "good.img", (path) => {
        execFileSync("tune2fs", ["-O", "encrypt", `${path}?offset=${ROOT_START_BYTE}`], { stdio: "pipe" });
      }),
    message: `${isNoImage} the file system uses encrypt (names and contents are encrypted); use an image made without (ext4 superblock, s_feature_incompat (byte 96))`,
  },
];

describe.skipIf(isMissingTools)("an image that cannot be used", () => {
  beforeAll(() => {
    makeSmallImage(work.path("good.img"));
    execFileSync("xz", ["-k", "-1", work.path("good.img")]);
    writeFileSync(work.path("good.img.gz"), gzipSync(readFileSync(work.path("good.img")), { level: 1 }));
    makeSmallImage(work.path("x86.img"), { root: { "/bin/busybox": elf(62) } });
  });
  afterAll(() => work.remove());

  it.each(CASES)("is refused at import: $what", async ({ name, make, message }) => {
    make?.(name);
    expect(await work.bramble(["--state", "state", "image", "import", name])).toEqual({
      code: 1,
      stdout: "",
      stderr: `bramble: Cannot import ${name}: ${message}\n`,
    });
  });

  it("is refused by inspect with the same words, and is on no list", async () => {
    writeFileSync(work.path("noise.img"), Buffer.alloc(1_000_000, 0x5a));
    const { code, stderr } = await work.bramble(["--state", "state", "image", "inspect", "noise.img"]);
    expect(stderr).toBe(
      `bramble: Cannot import noise.img: ${isNoImage} it has no boot signature (55 aa), so this is no disk image (MBR, byte 510)\n`,
    );
    expect(code).toBe(1);
    expect(JSON.parse((await work.bramble(["--state", "state", "image", "list", "--json"])).stdout)).toEqual([]);
  });

  it("with a flipped bit in its superblock is refused, and the checksum named", async () => {
    broken("flipped.img", "good.img", (path) => flip(path, SUPERBLOCK_BYTE + 0x78));
    const { code, stderr } = await work.bramble(["--state", "state", "image", "import", "flipped.img"]);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^bramble: Cannot import flipped\.img: it is no OS image for the Raspberry Pi: it is 0x\w+, but the contents give 0x\w+; the image is damaged \(ext4 superblock, s_checksum \(byte 1020\)\)\n$/,
    );
  });

  it("keeps the manager from starting, with the same sentence", async () => {
    broken("damaged.img.xz", "good.img.xz", (path) => truncateSync(path, 2000));
    work.write("bramble.yaml", manifest("damaged.img.xz"));
    const { code, stderr } = await work.bramble(["up"]);
    expect(stderr).toBe(
      `bramble: Cannot import ${work.path("damaged.img.xz")}: ${isDamaged} xz: (stdin): Unexpected end of input\n`,
    );
    expect(code).toBe(1);
  });

  it("for another processor is named at import, shown by inspect, and keeps the manager from starting", async () => {
    const problem = "Cannot boot the image: its programs are for x86-64, and a Raspberry Pi needs arm64 or arm";
    expect(await work.bramble(["--state", "state", "image", "import", "x86.img"])).toMatchObject({
      code: 0,
      stderr: `bramble: ${problem}\n`,
    });
    const { stdout } = await work.bramble(["--state", "state", "image", "inspect", "x86"]);
    expect(stdout).toContain(`PROBLEM       ${problem}\n`);
    work.write("bramble.yaml", manifest("x86.img"));
    expect(await work.bramble(["up"])).toMatchObject({
      code: 1,
      stderr: `bramble: Cannot use image x86: ${problem}\n`,
    });
  });

  it("with another checksum than the expected one is refused; a checksum that is none is a usage error", async () => {
    const expected = "0".repeat(64);
    const wrong = await work.bramble(["--state", "state", "image", "import", "good.img.gz", "--sha256", expected]);
    expect(wrong.stderr).toMatch(
      /^bramble: Cannot import good\.img\.gz: its SHA-256 is \w{64} \(unpacked: \w{64}\) instead of 0{64}; download it again, and compare with the publisher's page\n$/,
    );
    const none = await work.bramble(["image", "import", "good.img", "--sha256", "abc"]);
    expect(none.stderr).toContain("argument 'abc' is invalid. Expected 64 hex digits");
    expect([wrong.code, none.code]).toEqual([1, 2]);
  });

  it("that does not fit on the disk says which disk is full, and leaves nothing behind", async () => {
    if (requireRoot()) return;
    makeSmallImage(work.path("large.img"), { root: { "/data": randomBytes(5 * 1024 * 1024) } });
    mkdirSync(work.path("small-disk"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=3m", "tmpfs", work.path("small-disk")]);
    try {
      expect(await work.bramble(["--state", "small-disk", "image", "import", "large.img"])).toEqual({
        code: 1,
        stdout: "",
        stderr: `bramble: Cannot import large.img: the disk that holds ${work.path("small-disk/images")} is full; make room there or choose another state directory\n`,
      });
      expect(execFileSync("find", [work.path("small-disk"), "-type", "f"], { encoding: "utf8" })).toBe("");
    } finally {
      execFileSync("umount", [work.path("small-disk")]);
    }
  });
});
