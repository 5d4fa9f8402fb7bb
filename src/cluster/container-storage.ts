/**
 * Where a node's containers are kept when its root cannot hold them: overlayfs does not take an upper folder on NFS. What
 * the manifest wishes for a node, and what the node said of it after it had tried.
 */
import type { Manifest, ManifestNode } from "./manifest-schema.ts";

/** `loop`: an ext4 image in the node's own tree. `memory`: a tmpfs. `disk`: ext4 on a disk of the node, all of it. */
export type ContainerStorage =
  | { kind: "loop" | "memory"; sizeBytes: number }
  /** The device by its id, below /dev/disk/by-id. `format`: what it holds may be erased if we did not make it. */
  | { kind: "disk"; device: string; format: boolean };

/** The smallest that is accepted: ext4 with its journal, and room for one small image. */
export const CONTAINER_STORAGE_BYTES_MIN = 64 * 1024 * 1024;
/** What a system needs for itself beside a tmpfs. */
export const SYSTEM_MEMORY_KIB = 128 * 1024;

export function containerStorageOf(manifest: Manifest, node: ManifestNode): ContainerStorage | undefined {
  const wished = node.storage ?? manifest.storage;
  if (wished === undefined || wished.kind === "none") return undefined;
  if (wished.kind === "disk") {
    return wished.device === undefined
      ? undefined
      : { kind: "disk", device: wished.device, format: wished.format ?? false };
  }
  return wished.size === undefined ? undefined : { kind: wished.kind, sizeBytes: wished.size };
}

interface StateText {
  why: string;
  remedy: string;
}

/**
 * What may come out of trying, by the word that the node's script reports. Those that are `usable` hold containers all
 * the same.
 */
const TROUBLES = {
  "no-mkfs": { why: "its image has no mkfs.ext4", remedy: "use an image with e2fsprogs, or storage: memory" },
  "no-loop": { why: "its kernel has no loop devices", remedy: "use a kernel with loop, or storage: memory" },
  "no-ext4": { why: "its kernel has no ext4", remedy: "use a kernel with ext4, or storage: memory" },
  "no-overlay": { why: "its kernel has no overlayfs", remedy: "use a kernel with overlay" },
  "no-space": {
    why: "there was no space for it",
    remedy: "make room on the disk of the manager's state folder, or choose a smaller storage.size",
  },
  "over-quota": { why: "the node's quota does not allow it", remedy: "raise quota, or choose a smaller storage.size" },
  "memory-short": {
    why: "the node's memory is too small",
    remedy: "choose a smaller storage.size, storage: loop, or a board with more memory",
  },
  "make-failed": { why: "making the file system failed", remedy: "see journalctl -u bramble-storage on the node" },
  "grow-failed": { why: "making it larger failed", remedy: "see journalctl -u bramble-storage on the node" },
  damaged: {
    why: "the file system is damaged, and e2fsck does not repair it by itself",
    remedy: "run e2fsck on /var/lib/bramble/containers.ext4 on the node, or remove that file to begin anew",
  },
  "disk-damaged": {
    why: "the file system on its disk is damaged, and e2fsck does not repair it by itself",
    remedy: "run e2fsck on the disk on the node, or wipefs -a to begin anew, without what is in it",
  },
  "no-device": {
    why: "the device of storage.device is not there",
    remedy: "plug the disk in, or see ls -l /dev/disk/by-id on the node for the name that it has",
  },
  "device-taken": {
    why: "its disk holds something that was not made for this, and nothing was changed on it",
    remedy: "say storage.format: true to erase the disk, or use an empty one; blkid on the node says what it holds",
  },
  "mount-failed": { why: "mounting it failed", remedy: "see journalctl -u bramble-storage on the node" },
  "test-failed": {
    why: "an overlay mount on it did not hold what was written",
    remedy: "see journalctl -u bramble-storage on the node",
  },
  unfinished: { why: "it was not ready in time", remedy: "see journalctl -u bramble-storage on the node" },
} as const satisfies Record<string, StateText>;

export type StorageState = "ready" | "larger" | "full" | keyof typeof TROUBLES;

/** What a node says of its storage when it is up. */
export interface StorageReport {
  state: StorageState;
  /** Of a file system that is there: what is free, and its size; of `memory-short`: what is free, and what is needed. */
  freeKiB?: number;
  sizeKiB?: number;
}

/** `ready 7900000 8200000`: what the node's script wrote. `undefined` when it is something else. */
export function parseStorageReport(text: string): StorageReport | undefined {
  const match = /^([a-z0-9-]{1,16})(?: (\d{1,12}) (\d{1,12}))?$/.exec(text);
  if (!match || !isStorageState(match[1]!)) return undefined;
  const [, state, free, size] = match;
  return {
    state: state as StorageState,
    ...(free !== undefined && { freeKiB: Number(free), sizeKiB: Number(size) }),
  };
}

function isStorageState(word: string): boolean {
  return word === "ready" || word === "larger" || word === "full" || Object.hasOwn(TROUBLES, word);
}

/** Whether containers can be kept on it, though something may be wrong. */
export function isUsableStorage({ state }: StorageReport): boolean {
  return state === "ready" || state === "larger" || state === "full";
}

/** What is wrong with it, as a message; nothing when all is well. */
export function storageProblem(node: string, { state, freeKiB = 0, sizeKiB = 0 }: StorageReport): string | undefined {
  const [freeMiB, sizeMiB] = [freeKiB, sizeKiB].map((kib) => Math.floor(kib / 1024));
  switch (state) {
    case "ready":
      return undefined;
    case "larger":
      return `The storage of ${node} stays larger than storage.size: a file system is not made smaller; remove /var/lib/bramble/containers.ext4 on the node and restart it to begin anew, without what is in it`;
    case "full":
      return `The storage of ${node} is nearly full: ${freeMiB} of ${sizeMiB} MiB are free; remove images and containers on the node, or make it larger (storage.size, or a larger disk) and restart it`;
    default: {
      const { why, remedy } = TROUBLES[state];
      const numbers = state === "memory-short" ? ` (${freeMiB} MiB are free, and ${sizeMiB} MiB are needed)` : "";
      return `Cannot keep containers on the storage of ${node}: ${why}${numbers}; ${remedy}`;
    }
  }
}
