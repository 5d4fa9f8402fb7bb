import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { requireTools } from "../../test/lab/required-tools.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import { Writer } from "../bytes/writer.ts";
import { readPartitions } from "./partitions.ts";
import { memorySource } from "./sub-source.ts";

const MIB = 1024 * 1024;
const DISK_BYTES = 8 * MIB;

/** A boot record with up to four entries: type, first sector, number of sectors. */
function bootRecord(entries: [type: number, start: number, sectors: number][], diskId = 0): Uint8Array {
  const writer = new Writer().zeros(440).u32LE(diskId).zeros(2);
  for (const [type, start, sectors] of entries) writer.zeros(4).u8(type).zeros(3).u32LE(start).u32LE(sectors);
  return writer
    .zeros(510 - writer.lengthBytes)
    .bytes(Uint8Array.of(0x55, 0xaa))
    .finish();
}

function disk(...sectors: [sector: number, bytes: Uint8Array][]): Uint8Array {
  const bytes = new Uint8Array(DISK_BYTES);
  for (const [sector, content] of sectors) bytes.set(content, sector * 512);
  return bytes;
}

describe("readPartitions() of an MBR", () => {
  /** From byte 440 of the Debian image for the Pi: disk id, two entries. */
  const DEBIAN = Buffer.from(
    "9190634e0000" + "008203000c2504210020000000000800" + "00052521839f3fa00020080000401f00",
    "hex",
  );

  it("reads the table of a Pi image, with the PARTUUIDs as Linux writes them", () => {
    const start = new Uint8Array(512);
    start.set(DEBIAN, 440);
    start.set([0x55, 0xaa], 510);
    const source = { ...memorySource(start), sizeBytes: 1_321_205_760 };
    expect(readPartitions(source)).toEqual({
      kind: "mbr",
      diskId: "4e639091",
      partitions: [
        {
          number: 1,
          startByte: 4 * MIB,
          sizeBytes: 256 * MIB,
          type: "0x0c",
          bootable: false,
          partUuid: "4e639091-01",
        },
        {
          number: 2,
          startByte: 260 * MIB,
          sizeBytes: 1000 * MIB,
          type: "0x83",
          bootable: false,
          partUuid: "4e639091-02",
        },
      ],
    });
  });

  it("follows the list of logical partitions", () => {
    const bytes = disk(
      [
        0,
        bootRecord(
          [
            [0x0c, 64, 100],
            [0x0f, 1000, 8000],
          ],
          0xabcdef,
        ),
      ],
      [
        1000,
        bootRecord([
          [0x83, 10, 20],
          [0x05, 2000, 100],
        ]),
      ],
      [3000, bootRecord([[0x82, 30, 40]])],
    );
    const { partitions } = readPartitions(memorySource(bytes));
    expect(
      partitions.map(({ number, startByte, sizeBytes, partUuid }) => [
        number,
        startByte / 512,
        sizeBytes / 512,
        partUuid,
      ]),
    ).toEqual([
      [1, 64, 100, "00abcdef-01"],
      [5, 1010, 20, "00abcdef-05"],
      [6, 3030, 40, "00abcdef-06"],
    ]);
  });

  it.each<[string, Uint8Array, string]>([
    ["an empty file", new Uint8Array(0), "Cannot read disk image at byte 0: the file is empty"],
    ["a stub", new Uint8Array(100), "Cannot read disk image at byte 0: the file has only 100 bytes"],
    ["text", new Uint8Array(4096).fill(0x20), "it has no boot signature (55 aa), so this is no disk image"],
    [
      "a truncated image",
      disk([
        0,
        bootRecord([
          [0x0c, 64, 100],
          [0x83, 10_000, 20_000],
        ]),
      ]),
      "Cannot read disk image at partition 2: the image is truncated: it has 8388608 bytes, and the partition ends at " +
        "byte 15360000; download or copy it again",
    ],
    [
      "logical partitions in a circle",
      disk([0, bootRecord([[0x05, 1000, 8000]])], [1000, bootRecord([[0x05, 0, 100]])]),
      "Cannot read extended partition at sector 1000: its list of partitions does not end",
    ],
    ["a list of partitions that leads out of the image", disk([0, bootRecord([[0x05, 100_000, 8000]])]), "truncated"],
  ])("refuses %s", (_title, bytes, message) => {
    expect(() => readPartitions(memorySource(bytes))).toThrow(message);
    expect(() => readPartitions(memorySource(bytes))).toThrow(DecodeError);
  });

  it("takes a boot sector with code where the entries are for what it is", () => {
    const bytes = disk([0, bootRecord([])]);
    bytes.fill(0x77, 446, 510);
    expect(() => readPartitions(memorySource(bytes))).toThrow("this is a boot sector, not a disk image");
  });
});

const missing = requireTools(["sfdisk", "sgdisk"]);

describe.skipIf(missing)("readPartitions() of disks made by others", () => {
  let folder = "";
  let path = "";
  let pristine: Uint8Array = new Uint8Array(0);
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-partitions-"));
    path = join(folder, "disk");
    pristine = makeGptDisk();
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const BOOT_GUID = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
  const ROOT_GUID = "11111111-2222-3333-4444-555555555555";

  const gptDisk = (): Uint8Array => Uint8Array.from(pristine);

  function makeGptDisk(): Uint8Array {
    writeFileSync(path, "");
    truncateSync(path, DISK_BYTES);
    const partitions = ["-n1:2048:+1M", "-t1:ef00", "-c1:boot größe", "-n3:6144:+2M", "-t3:8305", `-u3:${ROOT_GUID}`];
    execFileSync("sgdisk", [...partitions, "-A1:set:2", "-U", "99999999-8888-7777-6666-555555555555", path]);
    return readFileSync(path);
  }

  /** What sfdisk says of the same disk. */
  function bySfdisk(bytes: Uint8Array) {
    writeFileSync(path, bytes);
    const { partitiontable } = JSON.parse(execFileSync("sfdisk", ["--json", path], { encoding: "utf8" }));
    return partitiontable.partitions.map(
      (one: { node: string; start: number; size: number; name?: string; bootable?: boolean }) => ({
        number: Number(one.node.slice(path.length)),
        startByte: one.start * 512,
        sizeBytes: one.size * 512,
      }),
    );
  }

  const places = (bytes: Uint8Array) =>
    readPartitions(memorySource(bytes)).partitions.map(({ number, startByte, sizeBytes }) => ({
      number,
      startByte,
      sizeBytes,
    }));

  it("reads a GPT as sgdisk writes it", () => {
    const bytes = gptDisk();
    const { kind, diskId, partitions } = readPartitions(memorySource(bytes));
    expect({ kind, diskId }).toEqual({ kind: "gpt", diskId: "99999999-8888-7777-6666-555555555555" });
    expect(partitions).toMatchObject([
      { number: 1, type: BOOT_GUID, bootable: true, name: "boot größe" },
      { number: 3, partUuid: ROOT_GUID, bootable: false, name: "" },
    ]);
    expect(places(bytes)).toEqual(bySfdisk(bytes));
  });

  it.each([
    ["header signature", 512],
    ["header field", 512 + 40],
    ["entries", 1024 + 300],
  ])("uses the backup when the %s is damaged", (_title, offset) => {
    const bytes = gptDisk();
    const whole = readPartitions(memorySource(bytes));
    bytes[offset] = (bytes[offset] ?? 0) ^ 0x10;
    expect(readPartitions(memorySource(bytes))).toEqual(whole);
  });

  it("tells what is wrong with both when the backup is damaged too", () => {
    const bytes = gptDisk();
    bytes[1024] = 0xff;
    bytes[DISK_BYTES - 500] = 0xff;
    expect(() => readPartitions(memorySource(bytes))).toThrow(
      "Cannot read GPT at sector 2: the checksum of the partition entries is wrong; and its backup at sector 16383 cannot be " +
        "used either: the checksum of the header is wrong",
    );
  });

  it("says how long a truncated GPT image should be", () => {
    const bytes = gptDisk().subarray(0, 4 * MIB);
    expect(() => readPartitions(memorySource(bytes))).toThrow(
      "partition 3: the image is truncated: it has 4194304 bytes, and the partition ends at byte 5242880",
    );
  });

  it("reads logical partitions as sfdisk writes them", () => {
    writeFileSync(path, "");
    truncateSync(path, 16 * MIB);
    const script = "label: dos\nlabel-id: 0x12345678\n,1MiB,c,*\n,1MiB,83\n,,5\n,1MiB,83\n,512KiB,82\n,1MiB,83\n";
    execFileSync("sfdisk", [path], { input: script });
    const bytes = readFileSync(path);
    expect(places(bytes)).toEqual(bySfdisk(bytes).filter(({ number }: { number: number }) => number !== 3));
    expect(
      readPartitions(memorySource(bytes)).partitions.map(({ partUuid, bootable }) => [partUuid, bootable]),
    ).toEqual([
      ["12345678-01", true],
      ["12345678-02", false],
      ["12345678-05", false],
      ["12345678-06", false],
      ["12345678-07", false],
    ]);
  });

  it("answers any damage with partitions inside the image or a DecodeError", () => {
    const table = gptDisk();
    const damage = fc.array(fc.tuple(fc.nat({ max: 34 * 512 }), fc.nat({ max: 255 })), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(damage, (changes) => {
        const bytes = Uint8Array.from(table);
        for (const [offset, value] of changes) bytes[offset] = value;
        try {
          for (const { startByte, sizeBytes } of readPartitions(memorySource(bytes)).partitions) {
            expect(startByte + sizeBytes).toBeLessThanOrEqual(bytes.length);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
    );
  });
});
