import { execFileSync, spawnSync } from "node:child_process";
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";

export interface FeatureSet {
  name: string;
  /** Options of mke2fs besides the block size. */
  mke2fs: string;
  /** Options of tune2fs, once the image is made. */
  tune2fs?: string;
  /** 4096 when absent. */
  blockBytes?: 1024 | 2048 | 65536;
  /** Files longer than 2 GiB, which the first revision cannot have. True when absent. */
  hasHugeFiles?: boolean;
  /** Blocks can be reserved without being written. True when absent. */
  hasExtents?: boolean;
  /** Values too large for a block. */
  largeAttributeBytes?: number;
  /** Made over old bytes, so that whatever was never initialized is full of them. */
  overGarbage?: boolean;
  /** Not every kernel can write it, or mount it at all: then e2fsprogs makes it alone, or is the only oracle. */
  kernel?: "reads" | "refuses";
}

/** `-r 0` until e2fsprogs 1.47.0, `-E revision=0` since: the list of options that an unknown one brings up tells. */
const FIRST_REVISION = String(spawnSync("mke2fs", ["-n", "-E", "help", "/dev/null", "1M"]).stderr).includes("revision=")
  ? "-E revision=0"
  : "-r 0";

export const FEATURE_SETS: readonly FeatureSet[] = [
  {
    name: "ext2, first revision",
    mke2fs: `-t ext2 ${FIRST_REVISION}`,
    blockBytes: 1024,
    hasHugeFiles: false,
    hasExtents: false,
  },
  { name: "ext2, 128-byte inodes", mke2fs: "-t ext2 -I 128", blockBytes: 1024, hasExtents: false },
  { name: "ext2 without filetype and dir_index", mke2fs: "-t ext2 -O ^filetype,^dir_index", hasExtents: false },
  { name: "ext3", mke2fs: "-t ext3 -I 128", blockBytes: 2048, hasExtents: false },
  { name: "ext4 as mke2fs makes it", mke2fs: "-t ext4" },
  { name: "64bit, metadata_csum", mke2fs: "-t ext4 -O 64bit,metadata_csum" },
  { name: "metadata_csum without 64bit", mke2fs: "-t ext4 -O ^64bit,metadata_csum", blockBytes: 1024 },
  { name: "metadata_csum, 128-byte inodes", mke2fs: "-t ext4 -I 128 -O metadata_csum", blockBytes: 2048 },
  { name: "metadata_csum without extents", mke2fs: "-t ext4 -O ^extents,^64bit,metadata_csum", hasExtents: false },
  { name: "uninit_bg", mke2fs: "-t ext4 -O ^metadata_csum,uninit_bg,^64bit" },
  { name: "uninit_bg, 64bit", mke2fs: "-t ext4 -O ^metadata_csum,uninit_bg,64bit" },
  {
    name: "uninit_bg over old bytes",
    mke2fs: "-t ext4 -O ^metadata_csum,uninit_bg -E lazy_itable_init=1,lazy_journal_init=1,nodiscard",
    overGarbage: true,
  },
  {
    name: "metadata_csum over old bytes",
    mke2fs: "-t ext4 -g 2048 -O metadata_csum -E lazy_itable_init=1,lazy_journal_init=1,nodiscard",
    blockBytes: 1024,
    overGarbage: true,
  },
  {
    name: "no checksums, flex_bg and sparse_super",
    mke2fs: "-t ext4 -O ^metadata_csum,^uninit_bg,^flex_bg,^sparse_super,^resize_inode",
  },
  {
    name: "metadata_csum_seed and a new UUID",
    mke2fs: "-t ext4 -O metadata_csum,metadata_csum_seed",
    tune2fs: "-U 4ec1ad0d-4f1b-4f3c-8f9e-0123456789ab",
  },
  { name: "meta_bg, 64bit", mke2fs: "-t ext4 -g 1024 -O meta_bg,^resize_inode,64bit,metadata_csum", blockBytes: 1024 },
  { name: "meta_bg without 64bit", mke2fs: "-t ext4 -g 1024 -O meta_bg,^resize_inode,^64bit", blockBytes: 1024 },
  {
    name: "meta_bg without sparse_super",
    mke2fs: "-t ext4 -g 1024 -O meta_bg,^sparse_super,^resize_inode",
    blockBytes: 1024,
  },
  { name: "sparse_super2", mke2fs: "-t ext4 -O sparse_super2,^resize_inode" },
  {
    name: "sparse_super2, meta_bg",
    mke2fs: "-t ext4 -g 1024 -O sparse_super2,^sparse_super,meta_bg,^resize_inode",
    blockBytes: 1024,
  },
  { name: "bigalloc", mke2fs: "-t ext4 -O bigalloc -C 16384" },
  { name: "bigalloc, meta_bg", mke2fs: "-t ext4 -O bigalloc,meta_bg,^resize_inode -C 8192", blockBytes: 1024 },
  { name: "bigalloc, 1 KiB blocks", mke2fs: "-t ext4 -O bigalloc -C 8192", blockBytes: 1024 },
  { name: "inline_data", mke2fs: "-t ext4 -O inline_data -I 256" },
  { name: "inline_data, 1 KiB inodes", mke2fs: "-t ext4 -O inline_data,metadata_csum -I 1024" },
  { name: "ea_inode", mke2fs: "-t ext4 -O ea_inode,metadata_csum", largeAttributeBytes: 20_000 },
  { name: "large_dir, dir_nlink", mke2fs: "-t ext4 -O large_dir,metadata_csum,dir_index,dir_nlink", blockBytes: 1024 },
  { name: "no journal", mke2fs: "-t ext4 -O ^has_journal" },
  { name: "quota, project", mke2fs: "-t ext4 -O quota,project", kernel: "reads" },
  { name: "orphan_file, verity, fast_commit, mmp", mke2fs: "-t ext4 -O orphan_file,verity,fast_commit,mmp" },
  { name: "64 KiB blocks", mke2fs: "-t ext4", blockBytes: 65536, kernel: "refuses" },
  {
    name: "64 KiB blocks, metadata_csum",
    mke2fs: "-t ext4 -O metadata_csum,64bit",
    blockBytes: 65536,
    kernel: "refuses",
  },
];

const MIB = 1024 * 1024;
const GARBAGE = Buffer.alloc(MIB, 0xff);

/** Makes an image with the files of `tree`, or an empty one. */
export function makeExt4(path: string, features: FeatureSet, settings: { sizeMiB: number; tree?: string }): void {
  const { mke2fs, tune2fs, blockBytes = 4096 } = features;
  const file = openSync(path, "w");
  if (features.overGarbage) for (let at = 0; at < settings.sizeMiB; at++) writeSync(file, GARBAGE);
  else ftruncateSync(file, settings.sizeMiB * MIB);
  closeSync(file);
  const tree = settings.tree === undefined ? [] : ["-d", settings.tree];
  const run = (command: string, options: string[]): void => {
    execFileSync(command, [...options, path], { stdio: "pipe" });
  };
  run("mke2fs", ["-q", "-F", "-b", `${blockBytes}`, ...mke2fs.split(" "), ...tree]);
  if (tune2fs !== undefined) run("tune2fs", tune2fs.split(" "));
}
