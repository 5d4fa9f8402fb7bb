/** The disk that the state folder is on, or would be. */
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import type { DiskFacts } from "../../cluster/doctor/facts.ts";
import { diskSpace } from "../../system/disk-room.ts";
import { fileSystemKind } from "../../system/file-system-kind.ts";
import { syncLatencyMs } from "../../system/sync-latency.ts";
import { socketPathOf } from "../state-folder.ts";

export async function lookAtDisk(stateFolder: string): Promise<DiskFacts> {
  const folder = nearestFolder(resolve(stateFolder));
  const { freeBytes } = diskSpace(folder);
  const kind = fileSystemKind(folder);
  const known = { folder: stateFolder, freeBytes, ...(kind !== undefined && { fileSystem: kind }) };
  const problem = problemOf(stateFolder, folder);
  if (problem !== undefined) return { ...known, problem };
  return { ...known, syncMs: await syncLatencyMs(folder) };
}

/** It is made by the first `up`. */
function nearestFolder(path: string): string {
  return existsSync(path) ? path : nearestFolder(dirname(path));
}

function problemOf(stateFolder: string, existing: string): string | undefined {
  try {
    socketPathOf(stateFolder);
  } catch (error) {
    return (error as Error).message;
  }
  if (!statSync(existing).isDirectory()) return `${existing} is not a folder`;
  try {
    accessSync(existing, constants.W_OK | constants.X_OK);
    return undefined;
  } catch {
    return `this user may not write to ${existing}`;
  }
}
