/**
 * An OS image for the Raspberry Pi, opened in place: a partition table, a FAT partition the firmware boots from
 * and an ext4 partition with the root file system. Raspberry Pi OS has them as partitions 1 and 2 of an MBR;
 * others use GPT or put more partitions around them.
 */
import { DecodeError } from "../bytes/decode-error.ts";
import type { ByteSource } from "../ports.ts";
import { describeFileSystem } from "./describe-file-system.ts";
import { openExt4 } from "./ext4/index.ts";
import { openFat } from "./fat/index.ts";
import type { FileSystemImage } from "./file-system-image.ts";
import { imageFiles } from "./image-files.ts";
import type { Partition, PartitionTable } from "./partition.ts";
import { readPartitions } from "./partitions.ts";
import { subSource } from "./sub-source.ts";

export interface OsImage {
  partitions: Partition[];
  /** As `PartitionTable.diskId`; what `PARTUUID=` in the image's own configuration begins with. */
  diskId: string;
  bootPartition: Partition;
  rootPartition: Partition;
  boot: FileSystemImage;
  root: FileSystemImage;
  close(): void;
}

/** Only FAT and ext are served; every other name from `describeFileSystem` is for the refusal. */
const FAT = "FAT";
const EXT = "ext2, ext3 or ext4";
const ISO = "ISO 9660";

/** Throws `DecodeError` that says what was found instead when this is not such an image. Owns the source on success. */
export function openOsImage(source: ByteSource): OsImage {
  if (describeFileSystem(source) === ISO) {
    throw new DecodeError(
      "OS image",
      "byte 32769",
      "it is an ISO 9660 image, which installs a system; use the image of an installed system for the Raspberry Pi (.img)",
    );
  }
  const { partitions, diskId } = readTable(source);
  const contents = partitions.map((partition) => {
    const window = subSource(source, partition.startByte, partition.sizeBytes);
    return { partition, window, holds: describeFileSystem(window) };
  });
  const found = contents.map(
    ({ partition, holds }) => `partition ${partition.number} holds ${holds ?? "unknown data"}`,
  );
  const refuse = (missing: string): never => {
    throw new DecodeError("OS image", "partitions", `${missing}: ${found.join(", ") || "the table is empty"}`);
  };

  const boot = contents.find(({ holds }) => holds === FAT) ?? refuse("there is no FAT partition to boot from");
  const root =
    findRoot(contents.filter(({ holds }) => holds === EXT)) ??
    refuse("there is no ext4 root partition, the only kind that can be served");
  return {
    partitions,
    diskId,
    bootPartition: boot.partition,
    rootPartition: root.partition,
    boot: openFat(boot.window),
    root: root.fs,
    close: () => source.close(),
  };
}

/** The one with a system in it, else the first. What else an image has beside it may be unreadable. */
function findRoot(
  candidates: readonly { partition: Partition; window: ByteSource }[],
): { partition: Partition; fs: FileSystemImage } | undefined {
  let first: { partition: Partition; fs: FileSystemImage } | undefined;
  let refusal: DecodeError | undefined;
  for (const { partition, window } of candidates) {
    try {
      const found = { partition, fs: openExt4(window) };
      if (imageFiles(found.fs).exists("/etc/os-release")) return found;
      first ??= found;
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      refusal ??= error;
    }
  }
  if (refusal !== undefined) throw refusal;
  return first;
}

/**
 * A file system without a partition table around it looks like a damaged or an empty table (a FAT boot sector even
 * ends in the same signature); its name tells more.
 */
function readTable(source: ByteSource): PartitionTable {
  const holds = describeFileSystem(source);
  try {
    const table = readPartitions(source);
    if (table.partitions.length > 0 || holds === undefined) return table;
  } catch (error) {
    if (!(error instanceof DecodeError) || holds === undefined) throw error;
  }
  throw new DecodeError(
    "OS image",
    "byte 0",
    `it holds ${holds} without a partition table; use the image of a whole disk`,
  );
}
