/** Editing the file of a manifest, so that a slip cannot break a running cluster. */
import { dirname } from "node:path";
import { type BoardIdentity, replaceBoard } from "../cluster/manifest-board.ts";
import { type NodeEntry, removeNode } from "../cluster/manifest-edit.ts";
import { systemClock } from "../system/clock.ts";
import { lockFolder } from "../system/file-lock.ts";
import { ManifestError } from "./manifest-error.ts";
import { addNodeToManifest, loadManifestText } from "./manifest-file.ts";
import { readManifestText, realManifestPath, replaceManifestText } from "./manifest-text.ts";
import { RequestError } from "./request-error.ts";

export interface ManifestPlace {
  path: string;
  /** Instead of the manifest's own. */
  stateFolder: string | undefined;
}

const WAIT_MS = 10_000;

/**
 * Runs an edit, from reading the file to replacing it, while no other one runs: the manager that serves it and commands that
 * have no manager they can ask are several processes.
 */
export async function whileNobodyEdits<Result>(path: string, edit: () => Promise<Result>): Promise<Result> {
  const lock = await lockFolder(dirname(realManifestPath(path)), WAIT_MS, systemClock);
  if (!lock) {
    throw new Error(
      `Cannot write the manifest ${path}: another program has been changing it for ${WAIT_MS / 1000} s; nothing was changed`,
    );
  }
  try {
    return await edit();
  } finally {
    lock.release();
  }
}

export function addNodeToFile(place: ManifestPlace, entry: NodeEntry): Promise<void> {
  return editManifest(place, `add ${entry.name}`, (text) =>
    addNodeToManifest(place.path, text, entry, place.stateFolder),
  );
}

export function replaceBoardInFile(place: ManifestPlace, node: string, board: BoardIdentity): Promise<void> {
  return editNode(place, `replace the board of ${node}`, (text) => replaceBoard(text, node, board));
}

export function removeNodeFromFile(place: ManifestPlace, node: string): Promise<void> {
  return editNode(place, `remove ${node}`, (text) => removeNode(text, node));
}

/** `edit` gives the new text, or nothing where there is no such node. */
function editNode(place: ManifestPlace, what: string, edit: (text: string) => string | undefined): Promise<void> {
  return editManifest(place, what, async (text) => {
    const edited = edit(text);
    if (edited === undefined) throw new RequestError(404, `Cannot ${what}: the manifest has no node of that name`);
    await loadManifestText(place.path, edited, place.stateFolder);
    return edited;
  });
}

/**
 * Writes the text that `edit` resolves with, which it has checked. Rejects with `ManifestError` when the text was wrong
 * before, and with `RequestError` when it would be.
 */
async function editManifest(
  { path, stateFolder }: ManifestPlace,
  what: string,
  edit: (text: string) => Promise<string>,
): Promise<void> {
  await whileNobodyEdits(path, async () => {
    const text = readManifestText(path);
    let edited: string;
    try {
      edited = await edit(text);
    } catch (error) {
      // If the text was wrong before, its own problems have lines that can be looked up.
      await loadManifestText(path, text, stateFolder);
      if (!(error instanceof ManifestError)) throw error;
      const reasons = error.problems.map(({ message, hint }) => (hint ? `${message}. ${hint}` : message));
      throw new RequestError(422, `Cannot ${what}: ${reasons.join("; ")}`);
    }
    await replaceManifestText(path, edited);
  });
}
