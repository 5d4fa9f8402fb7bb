/** `storage:` of the manifest: what it looks like, and what it must be beside `root`, `quota` and `model`. */
import { z } from "zod";
import { findPiModel, PI_MODELS } from "../pi/models.ts";
import { CONTAINER_STORAGE_BYTES_MIN, SYSTEM_MEMORY_KIB } from "./container-storage.ts";
import { nodesOf, type Plain } from "./manifest-plain.ts";
import type { LocatedProblem, ManifestPath } from "./manifest-problem.ts";
import { byteSize } from "./manifest-values.ts";

/** Names that udev gives: of a disk or a partition, whatever port it is at. */
const DEVICE_BY_ID = /^\/dev\/disk\/by-id\/[A-Za-z0-9#+.:=@_-]{1,200}$/;

export const storage = z
  .strictObject({
    kind: z.enum(["loop", "memory", "disk", "none"]),
    size: byteSize
      .refine((bytes) => bytes >= CONTAINER_STORAGE_BYTES_MIN, { error: "Expected at least 64MiB" })
      .exactOptional(),
    device: z
      .string()
      .regex(DEVICE_BY_ID, {
        error: "Expected a disk or partition by its id, as /dev/disk/by-id/usb-Maker_Name_0123-0:0",
      })
      .exactOptional(),
    format: z.boolean().exactOptional(),
  })
  .refine(({ kind, size }) => (kind === "loop" || kind === "memory") === (size !== undefined), {
    error: "Expected a size for kind loop and memory, as { kind: loop, size: 8GiB }, and none for kind disk and none",
  })
  .refine(({ kind, device, format }) => (kind === "disk" ? device !== undefined : (device ?? format) === undefined), {
    error: "Expected a device for kind disk, as { kind: disk, device: /dev/disk/by-id/… }, and only there",
  })
  .describe("Where containers are kept: overlayfs does not work on a root over NFS");

interface Wish {
  root: unknown;
  quotaBytes: number | undefined;
  modelId: unknown;
  kind: string;
  sizeBytes: number;
}

/** For each node as it will be; what only the cluster's own values say, once. */
export function checkStorage(data: Plain): LocatedProblem[] {
  const nodes = nodesOf(data);
  const scopes = nodes.length === 0 ? [{}] : nodes;
  const problems = scopes.flatMap((node: Plain, index) => {
    const wish = wishOf(data, node);
    if (wish === undefined) return [];
    const at = (key: string): ManifestPath =>
      node.storage !== undefined
        ? ["nodes", index, "storage"]
        : node[key] !== undefined
          ? ["nodes", index, key]
          : ["storage"];
    return [...memoryRoot(wish, at("root")), ...beyondQuota(wish, at("quota")), ...beyondMemory(wish, at("model"))];
  });
  const byPlace = new Map(problems.map((problem) => [`${problem.path.join(".")} ${problem.message}`, problem]));
  return [...byPlace.values(), ...sharedDisk(data)];
}

/** An id is that of one disk, and consent to erase it is given for that one. */
function sharedDisk(data: Plain): LocatedProblem[] {
  const wished = storage.safeParse(data.storage);
  if (!wished.success || wished.data.kind !== "disk") return [];
  const message = "Storage of kind disk is for one node: the id is that of one disk";
  return [{ path: ["storage"], message, hint: "Give each node with a disk its own storage" }];
}

function wishOf(data: Plain, node: Plain): Wish | undefined {
  const wished = storage.safeParse(node.storage ?? data.storage);
  if (!wished.success || wished.data.size === undefined) return undefined;
  const quota = byteSize.safeParse(node.quota ?? data.quota);
  return {
    root: node.root ?? data.root,
    quotaBytes: quota.success ? quota.data : undefined,
    modelId: node.model,
    kind: wished.data.kind,
    sizeBytes: wished.data.size,
  };
}

function memoryRoot({ kind, root }: Wish, path: ManifestPath): LocatedProblem[] {
  if (kind !== "loop" || root !== "ram") return [];
  const message = "Storage of kind loop is a file of the node's root, and with root: ram that would lie in its memory";
  return [{ path, message, hint: "Use storage of kind memory, or root: persistent" }];
}

/** The holes of the image count, so that it does not run out of space later. */
function beyondQuota({ kind, sizeBytes, quotaBytes }: Wish, path: ManifestPath): LocatedProblem[] {
  if (kind !== "loop" || quotaBytes === undefined || sizeBytes < quotaBytes) return [];
  const message = "Storage of kind loop counts in whole against the quota, and leaves nothing of it";
  return [{ path, message, hint: "Raise quota, or choose a smaller storage.size" }];
}

function beyondMemory({ kind, sizeBytes, modelId }: Wish, path: ManifestPath): LocatedProblem[] {
  const id = findPiModel(String(modelId))?.id;
  const model = PI_MODELS.find((each) => each.id === id);
  if (kind !== "memory" || model === undefined) return [];
  const { name, memoryMaxMiB } = model;
  if (sizeBytes / 1024 + SYSTEM_MEMORY_KIB <= memoryMaxMiB * 1024) return [];
  const message = `Storage in memory is too large for a ${name}: it has ${memoryMaxMiB} MiB at most, and the system needs ${SYSTEM_MEMORY_KIB / 1024} of them`;
  return [{ path, message, hint: "Choose a smaller size, or kind loop" }];
}
