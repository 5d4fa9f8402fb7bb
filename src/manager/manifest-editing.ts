/** Editing the file of a manifest, so that a slip cannot break a running cluster. */
import { type BoardIdentity, replaceBoard } from "../cluster/manifest-board.ts";
import type { NodeEntry } from "../cluster/manifest-edit.ts";
import { ManifestError } from "./manifest-error.ts";
import { addNodeToManifest, loadManifestText } from "./manifest-file.ts";
import { readManifestText, replaceManifestText } from "./manifest-text.ts";
import { RequestError } from "./request-error.ts";

export interface ManifestPlace {
  path: string;
  /** Instead of the manifest's own. */
  stateFolder: string | undefined;
}

export function addNodeToFile(place: ManifestPlace, entry: NodeEntry): Promise<void> {
  return editManifest(place, `add ${entry.name}`, (text) =>
    addNodeToManifest(place.path, text, entry, place.stateFolder),
  );
}

export function replaceBoardInFile(place: ManifestPlace, node: string, board: BoardIdentity): Promise<void> {
  const what = `replace the board of ${node}`;
  return editManifest(place, what, async (text) => {
    const edited = replaceBoard(text, node, board);
    if (edited === undefined) throw new RequestError(404, `Cannot ${what}: the manifest has no node of that name`);
    await loadManifestText(place.path, edited, place.stateFolder);
    return edited;
  });
}

/**
 * Writes the text that `edit` resolves with, which it has checked. Rejects with `ManifestError` when the text was wrong
 * before, and with `RequestError` when it would be.
 */
export async function editManifest(
  { path, stateFolder }: ManifestPlace,
  what: string,
  edit: (text: string) => Promise<string>,
): Promise<void> {
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
}
