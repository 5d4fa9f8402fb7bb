/** Left out: disks with 4096-byte sectors; images for SD cards have 512. */
export const SECTOR_BYTES = 512;

export interface Partition {
  /** As the kernel numbers it: `mmcblk0p2` is 2; logical partitions start at 5. */
  number: number;
  startByte: number;
  sizeBytes: number;
  /** MBR: `0x0c`; GPT: the type GUID in lower case. */
  type: string;
  bootable: boolean;
  /** As in `root=PARTUUID=`: `4e639091-02`, or the partition's GUID in lower case. */
  partUuid: string;
  /** Only GPT partitions have names. */
  name?: string;
}

export interface PartitionTable {
  kind: "mbr" | "gpt";
  /** MBR: eight hex digits, `4e639091`; GPT: the disk GUID. */
  diskId: string;
  partitions: Partition[];
}
