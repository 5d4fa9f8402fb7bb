import { realpathSync } from "node:fs";
import type { Command } from "commander";
import type { NodeEntry } from "../cluster/manifest-edit.ts";
import { ManifestError } from "../manager/manifest-error.ts";
import { RefusedError, UnreachableError } from "./api-client.ts";
import { apiOf, globalOptions } from "./context.ts";

/** 409: it serves another manifest. 503: it is still starting, and looks at the file when it is done. */
const NOT_THE_MANAGERS = new Set([409, 503]);

/**
 * Adds a node to the manifest. A running manager does it, since it knows the manifest already, and serves the node when
 * this resolves with true. Without one the file is edited here.
 */
export async function addNode(command: Command, entry: NodeEntry): Promise<boolean> {
  const { manifest: path, state } = globalOptions(command);
  const api = apiOf(command);
  try {
    await api.post(`/v1/nodes?manifest=${encodeURIComponent(realpathSync(path))}`, entry);
    return true;
  } catch (error) {
    if (error instanceof RefusedError) {
      if (error.problems) throw new ManifestError(path, error.problems);
      if (!NOT_THE_MANAGERS.has(error.statusCode)) throw error;
    } else if (!(error instanceof UnreachableError)) throw error;
  }
  const { addNodeToFile } = await import("../manager/manifest-editing.ts");
  await addNodeToFile({ path, stateFolder: state }, entry);
  return false;
}
