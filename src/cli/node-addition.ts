import { realpathSync } from "node:fs";
import type { Command } from "commander";
import type { BoardIdentity } from "../cluster/manifest-board.ts";
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
  if (await doneByManager(command, "/v1/nodes", entry)) return true;
  const { manifest: path, state } = globalOptions(command);
  const { addNodeToFile } = await import("../manager/manifest-editing.ts");
  await addNodeToFile({ path, stateFolder: state }, entry);
  return false;
}

/** Gives a node another board, in the same way. */
export async function replaceBoard(command: Command, node: string, board: BoardIdentity): Promise<void> {
  if (await doneByManager(command, `/v1/nodes/${encodeURIComponent(node)}/board`, board)) return;
  const { manifest: path, state } = globalOptions(command);
  const { replaceBoardInFile } = await import("../manager/manifest-editing.ts");
  await replaceBoardInFile({ path, stateFolder: state }, node, board);
}

/** False when there is no manager of this manifest that could do it. Rejects with why it refused. */
async function doneByManager(command: Command, apiPath: string, body: object): Promise<boolean> {
  const { manifest: path } = globalOptions(command);
  const api = apiOf(command);
  try {
    await api.post(`${apiPath}?manifest=${encodeURIComponent(realpathSync(path))}`, body);
    return true;
  } catch (error) {
    if (error instanceof RefusedError) {
      if (error.problems) throw new ManifestError(path, error.problems);
      if (!NOT_THE_MANAGERS.has(error.statusCode)) throw error;
    } else if (!(error instanceof UnreachableError)) throw error;
    return false;
  }
}
