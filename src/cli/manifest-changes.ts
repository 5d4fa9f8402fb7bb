/**
 * Changes of the manifest that commands ask for. A running manager makes them: it changes the file by itself, too
 * (`adopt: auto`), one change at a time, and knows at once what is in it. Without one the file is edited here.
 */
import type { Command } from "commander";
import type { BoardIdentity } from "../cluster/manifest-board.ts";
import type { NodeEntry } from "../cluster/manifest-edit.ts";
import type { ManifestChange } from "../manager/manifest-commands.ts";
import { ManifestError } from "../manager/manifest-error.ts";
import { realManifestPath } from "../manager/manifest-text.ts";
import { type ApiClient, RefusedError, UnreachableError } from "./api-client.ts";
import { apiOf, globalOptions } from "./context.ts";

const SERVES_ANOTHER_MANIFEST = 409;

/** Adds a node to the manifest. When this resolves with true, a manager serves it. */
export async function addNode(command: Command, entry: NodeEntry): Promise<boolean> {
  const done = await byManager(command, (api, ofManifest) => api.post(`/v1/nodes${ofManifest}`, entry));
  if (done) return done.isServed;
  const { addNodeToFile } = await import("../manager/manifest-editing.ts");
  await addNodeToFile(placeOf(command), entry);
  return false;
}

/** Gives a node another board. */
export async function replaceBoard(command: Command, node: string, board: BoardIdentity): Promise<void> {
  if (await byManager(command, (api, ofManifest) => api.post(`${pathOf(node)}/board${ofManifest}`, board))) return;
  const { replaceBoardInFile } = await import("../manager/manifest-editing.ts");
  await replaceBoardInFile(placeOf(command), node, board);
}

/** Takes a node out of the manifest. Resolves with whether it was a member of the cluster, as far as is known. */
export async function removeNode(command: Command, node: string): Promise<boolean> {
  const done = await byManager(command, (api, ofManifest) => api.delete(`${pathOf(node)}${ofManifest}`));
  if (done) return done.wasMember === true;
  const { removeNodeFromFile } = await import("../manager/manifest-editing.ts");
  await removeNodeFromFile(placeOf(command), node);
  return false;
}

function pathOf(node: string): string {
  return `/v1/nodes/${encodeURIComponent(node)}`;
}

function placeOf(command: Command) {
  const { manifest: path, state } = globalOptions(command);
  return { path, stateFolder: state };
}

/** `undefined` when there is no manager of this manifest. Rejects with why it refused. */
async function byManager(
  command: Command,
  ask: (api: ApiClient, ofManifest: string) => Promise<ManifestChange>,
): Promise<ManifestChange | undefined> {
  const { manifest: path } = globalOptions(command);
  const api = apiOf(command);
  try {
    return await ask(api, `?manifest=${encodeURIComponent(realManifestPath(path))}`);
  } catch (error) {
    if (error instanceof UnreachableError) return undefined;
    if (!(error instanceof RefusedError)) throw error;
    if (error.problems) throw new ManifestError(path, error.problems);
    if (error.statusCode !== SERVES_ANOTHER_MANIFEST) throw error;
    return undefined;
  }
}
