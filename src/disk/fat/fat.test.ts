import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { requireTools } from "../../../test/lab/required-tools.ts";
import { DecodeError } from "../../bytes/decode-error.ts";
import { type FileName, fileNameFromText } from "../../bytes/file-name.ts";
import type { FileSystemImage } from "../file-system-image.ts";
import { imageFiles } from "../image-files.ts";
import { memorySource } from "../sub-source.ts";
import { readFatLayout } from "./boot-sector.ts";
import { readDirectory } from "./directory-entry.ts";
import { openFat } from "./index.ts";

const KINDS = [
  ["fat12", 12, 2],
  ["fat16", 16, 16],
  ["fat32", 32, 40],
] as const;

const missing = requireTools(["mkfs.vfat", "mcopy"]);

describe.skipIf(missing)("openFat()", () => {
  const volumes = new Map<string, Uint8Array>();
  beforeAll(() => {
    const folder = mkdtempSync(join(tmpdir(), "bramble-fat-"));
    const tree = join(folder, "overlays");
    mkdirSync(tree);
    writeFileSync(join(tree, "Long name with ÜMLAUT.dtbo"), "long");
    writeFileSync(join(tree, "big.bin"), Buffer.alloc(100_000, "0123456789"));
    for (const [kind, bits, sizeMiB] of KINDS) {
      const path = join(folder, kind);
      writeFileSync(path, "");
      truncateSync(path, sizeMiB * 1024 * 1024);
      execFileSync("mkfs.vfat", ["-F", `${bits}`, "-n", "BOOT", "-i", "0a0b0c0d", path], { stdio: "pipe" });
      const env = { ...process.env, LC_ALL: "C.UTF-8" };
      execFileSync("mcopy", ["-s", "-i", path, tree, join(tree, "big.bin"), "::"], { env });
      volumes.set(kind, readFileSync(path));
    }
    rmSync(folder, { recursive: true });
  });

  const bytesOf = (kind: string): Uint8Array => Uint8Array.from(volumes.get(kind) ?? []);
  const open = (bytes: Uint8Array): FileSystemImage => openFat(memorySource(bytes));

  it.each(KINDS)("reads %s, whatever the case of the names", (kind) => {
    const volume = open(bytesOf(kind));
    expect(volume).toMatchObject({ kind, label: "BOOT", uuid: "0A0B-0C0D", rootId: 1, caseSensitive: false });
    const files = imageFiles(volume);
    expect(files.list("/OVERLAYS").sort()).toEqual(["Long name with ÜMLAUT.dtbo", "big.bin"]);
    for (const name of [
      "Long name with ÜMLAUT.dtbo",
      "LONG NAME WITH ümlaut.DTBO",
      "LONGNA~1.DTB",
      "Long name with ÜMLAUT.dtbo.",
    ]) {
      expect(Buffer.from(files.readFile(`/overlays/${name}`) ?? []).toString()).toBe("long");
    }
    expect(files.readFile("/overlays/missing")).toBeUndefined();
    expect(files.readFile("/big.bin")).toEqual(new Uint8Array(Buffer.alloc(100_000, "0123456789")));
  });

  it.each(KINDS)("gives %s files ids that stay the same and lie between the root's and the last", (kind) => {
    const [one, other] = [open(bytesOf(kind)), open(bytesOf(kind))];
    const ids = [...one.usedIds()];
    expect(ids).toEqual([...other.usedIds()]);
    expect(ids).toEqual([...new Set(ids)].sort((a, b) => a - b));
    expect(ids).toHaveLength(5);
    expect(ids[0]).toBe(1);
    expect(ids.at(-1)).toBeLessThanOrEqual(one.lastId);
    const overlays = one.lookup(1, "overlays" as FileName) ?? 0;
    expect(one.parent(overlays)).toBe(1);
    expect(one.attributes(overlays)).toMatchObject({ type: "directory", mode: 0o755, linkCount: 2 });
    expect(one.attributes(2)).toBeUndefined();
  });

  it("reads any part of a file, and nothing past its end", async () => {
    const volume = open(bytesOf("fat16"));
    const id = volume.lookup(1, fileNameFromText("big.bin")) ?? 0;
    const whole = Buffer.alloc(100_000, "0123456789");
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: 110_000 }), fc.nat({ max: 20_000 }), async (offset, length) => {
        const expected = whole.subarray(offset, offset + length);
        const [now, later, cached] = [Buffer.alloc(length), Buffer.alloc(length), Buffer.alloc(length)];
        expect(volume.readFileSync(id, now, offset)).toBe(expected.length);
        expect(volume.readFileNow(id, cached, offset)).toBe(expected.length);
        expect(await volume.readFile(id, later, offset)).toBe(expected.length);
        expect(now.subarray(0, expected.length)).toEqual(expected);
        expect(later).toEqual(now);
        expect(cached).toEqual(now);
      }),
    );
  });

  /** Makes the first cluster of big.bin in the root lead to `next`. */
  function relink(kind: "fat16" | "fat32", next: (cluster: number) => number): Uint8Array {
    const bytes = bytesOf(kind);
    const layout = readFatLayout(memorySource(bytes));
    const start = "cluster" in layout.root ? layout.dataByte : layout.root.startByte;
    const { entries } = readDirectory(bytes.subarray(start, start + 512), "root directory");
    const cluster = entries.find(({ name }) => name === "big.bin")?.firstCluster ?? 0;
    const view = new DataView(bytes.buffer);
    if (kind === "fat16") view.setUint16(layout.tableByte + cluster * 2, next(cluster), true);
    else view.setUint32(layout.tableByte + cluster * 4, next(cluster), true);
    return bytes;
  }

  it.each<[string, () => Uint8Array, string]>([
    [
      "a chain that ends early",
      () => relink("fat16", () => 0xffff),
      "it has 100000 bytes, but its chain of clusters ends after",
    ],
    [
      "a chain that leads into the free",
      () => relink("fat16", () => 0),
      "its chain of clusters leads to cluster 0, which does not exist",
    ],
    [
      "a chain that leads out of the volume",
      () => relink("fat32", () => 0x0ffffff0),
      "leads to cluster 268435440, which does not exist",
    ],
  ])("refuses to read %s", (_title, make, message) => {
    const volume = open(make());
    const id = volume.lookup(1, fileNameFromText("big.bin")) ?? 0;
    const read = () => volume.readFileSync(id, new Uint8Array(100_000), 0);
    expect(read).toThrow(message);
    expect(read).toThrow(DecodeError);
  });

  /** Changes a field of the boot sector. */
  const patched = (kind: string, offset: number, ...values: number[]): Uint8Array => {
    const bytes = bytesOf(kind);
    bytes.set(values, offset);
    return bytes;
  };

  it.each<[string, () => Uint8Array, string]>([
    ["no bytes", () => new Uint8Array(0), "truncated"],
    ["zeros", () => new Uint8Array(4096), "bytes per sector (byte 13): 0; expected 512, 1024, 2048 or 4096"],
    ["an odd cluster size", () => patched("fat16", 13, 3), "3 is no power of two"],
    ["no FAT", () => patched("fat16", 16, 0), "neither may be 0"],
    [
      "a truncated volume",
      () => bytesOf("fat32").subarray(0, 1_000_000),
      "it is truncated: 41943040 bytes are announced, and there are 1000000",
    ],
    ["a table of gigabytes", () => patched("fat32", 36, 0xff, 0xff, 0xff, 0x00), "Cannot read FAT volume at"],
    [
      "a root directory that is a loop",
      () => {
        const bytes = bytesOf("fat32");
        const { tableByte } = readFatLayout(memorySource(bytes));
        new DataView(bytes.buffer).setUint32(tableByte + 2 * 4, 2, true);
        return bytes;
      },
      "Cannot read fat32 at root directory: it is larger than 2097152 bytes",
    ],
    [
      "a directory that contains itself",
      () => {
        const bytes = bytesOf("fat32");
        const layout = readFatLayout(memorySource(bytes));
        const entry = readDirectory(bytes.subarray(layout.dataByte, layout.dataByte + 512), "").entries.find(
          ({ isDirectory }) => isDirectory,
        );
        const view = new DataView(bytes.buffer);
        const at = layout.dataByte + (entry?.index ?? 0) * 32;
        view.setUint16(at + 20, 0, true);
        view.setUint16(at + 26, 2, true);
        return bytes;
      },
      "its cluster 2 belongs to another directory already",
    ],
    [
      // A few thousand of them would each be read whole: many times the volume.
      "a directory that goes on in another one",
      () => {
        const bytes = bytesOf("fat32");
        const layout = readFatLayout(memorySource(bytes));
        const { entries } = readDirectory(bytes.subarray(layout.dataByte, layout.dataByte + 512), "");
        const cluster = entries.find(({ isDirectory }) => isDirectory)?.firstCluster ?? 0;
        new DataView(bytes.buffer).setUint32(layout.tableByte + 2 * 4, cluster, true);
        return bytes;
      },
      "Cannot read fat32 at directory overlays: its cluster 3 belongs to another directory already",
    ],
  ])("refuses %s", (_title, make, message) => {
    const bytes = make();
    expect(() => open(bytes)).toThrow(message);
    expect(() => open(bytes)).toThrow(DecodeError);
  });

  it.each(KINDS)("answers any damage to %s with files or a DecodeError", (kind) => {
    const pristine = bytesOf(kind);
    const { dataByte } = readFatLayout(memorySource(pristine));
    // Boot sector, tables and directories lie before here; beyond there is only the contents of files.
    const damage = fc.array(
      fc.tuple(
        fc.oneof(
          fc.nat({ max: 90 }),
          fc.nat({ max: dataByte + 8192 }),
          fc.integer({ min: dataByte - 4096, max: dataByte + 4096 }),
        ),
        fc.nat({ max: 255 }),
      ),
      { minLength: 1, maxLength: 12 },
    );
    fc.assert(
      fc.property(damage, (changes) => {
        const bytes = new Uint8Array(pristine);
        for (const [offset, value] of changes) bytes[offset] = value;
        try {
          const volume = open(bytes);
          for (const id of volume.usedIds()) {
            const attributes = volume.attributes(id);
            if (attributes?.type === "file")
              volume.readFileSync(id, new Uint8Array(Math.min(attributes.sizeBytes, 65_536)), 0);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe("readDirectory()", () => {
  /** One 8.3 entry: eleven characters of name, attributes, lower-case flags. */
  function entry(name: string, { attributes = 0x20, ntCase = 0 } = {}): number[] {
    return [...Buffer.from(name, "latin1"), attributes, ntCase, ...new Array(19).fill(0)];
  }
  const namesIn = (...entries: number[][]): string[] =>
    readDirectory(Uint8Array.from(entries.flat()), "test").entries.map(({ name }) =>
      Buffer.from(name, "latin1").toString(),
    );

  it.each([
    ["NAME    EXT", 0, "NAME.EXT"],
    ["NAME    EXT", 0x08, "name.EXT"],
    ["NAME    EXT", 0x10, "NAME.ext"],
    ["NAME    EXT", 0x18, "name.ext"],
    ["NAME       ", 0x18, "name"],
    ["A B     C  ", 0, "A B.C"],
    ["\x05\x84\x94     TXT", 0, "σäö.TXT"],
    ["\x8e\x99\x9a     TXT", 0x08, "äöü.TXT"],
  ])("shows the short name %j with flags %d as %s", (name, ntCase, expected) => {
    expect(namesIn(entry(name, { ntCase }))).toEqual([expected]);
  });

  it("passes over deleted entries, the label and the dots, and stops at the first free one", () => {
    const listed = readDirectory(
      Uint8Array.from(
        [
          entry("LABEL      ", { attributes: 0x08 }),
          entry(".          ", { attributes: 0x10 }),
          entry("..         ", { attributes: 0x10 }),
          entry("\xe5ONE    TXT"),
          entry("HERE    TXT"),
          new Array(32).fill(0),
          entry("OLD     TXT"),
        ].flat(),
      ),
      "test",
    );
    expect(listed.label).toBe("LABEL");
    expect(listed.entries).toMatchObject([{ index: 4, name: "HERE.TXT" }]);
  });

  it.each(["A/B     TXT", "A\0B     TXT", "           "])("refuses the name %j, which could lead elsewhere", (name) => {
    expect(() => namesIn(entry(name))).toThrow("cannot be the name of a file");
  });

  it("never fails but by DecodeError", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 640 }), (bytes) => {
        try {
          readDirectory(bytes, "test");
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
    );
  });
});
