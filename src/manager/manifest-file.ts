/** The manifest read from its file and checked against what it names: files, images, the network. */
import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { ipv4FromNumber, ipv4ToNumber } from "../bytes/addresses.ts";
import type { ManifestNode } from "../cluster/manifest.ts";
import { checkOpened, type ManifestSurroundings, openManifest } from "../cluster/manifest.ts";
import { type CheckedManifest, extendManifest } from "../cluster/manifest-addition.ts";
import { addNode, type NodeEntry, placeForNode } from "../cluster/manifest-edit.ts";
import { MANIFEST_BYTES_MAX } from "../limits.ts";
import { interfaceAddresses } from "../system/network-interfaces.ts";
import { ImageStore } from "./image-store.ts";
import { ManifestError } from "./manifest-error.ts";
import { readManifestText } from "./manifest-text.ts";
import { resolveFrom, stateDirIn, stateFolderOf } from "./state-folder.ts";

export interface LoadedManifest extends CheckedManifest {
  path: string;
  stateFolder: string;
  /** Makes a path of the manifest absolute: `~` is the home folder, relative ones start at the manifest. */
  resolvePath(path: string): string;
}

/**
 * Rejects with `ManifestError`, or an `Error` that says the file cannot be read.
 * `stateFolder` is used instead of the manifest's when given.
 */
export async function loadManifest(path: string, stateFolder?: string): Promise<LoadedManifest> {
  return loadManifestText(path, readManifestText(path), stateFolder);
}

/** The same for a text that is not in the file, or not yet. */
export async function loadManifestText(path: string, text: string, stateFolder?: string): Promise<LoadedManifest> {
  const { resolvePath, surroundings } = await surroundingsOf(path, text, stateFolder);
  const opened = openManifest(text);
  if ("problems" in opened) throw new ManifestError(path, opened.problems);
  const result = checkOpened(opened, surroundings);
  if (!result.ok) throw new ManifestError(path, result.problems);
  const { manifest, data } = result;
  return {
    path,
    text,
    manifest,
    data,
    nextNode: placeForNode(text, opened.document),
    resolvePath,
    stateFolder: stateFolder === undefined ? stateFolderOf(manifest.stateDir, resolvePath) : resolve(stateFolder),
  };
}

/**
 * The text with a node more. Rejects with `ManifestError` when it was wrong, or would be. A manifest of 1,000 nodes takes
 * longest to be read as YAML, so that is done once.
 */
export async function addNodeToManifest(
  path: string,
  text: string,
  entry: NodeEntry,
  stateFolder?: string,
): Promise<string> {
  const { surroundings } = await surroundingsOf(path, text, stateFolder);
  const opened = openManifest(text);
  if ("problems" in opened) throw new ManifestError(path, opened.problems);
  const result = checkOpened(opened, surroundings, entry);
  if (!result.ok) throw new ManifestError(path, result.problems);
  const edited = addNode(text, entry, opened.document);
  if (Buffer.byteLength(edited) <= MANIFEST_BYTES_MAX) return edited;
  throw new Error(
    `Cannot change the manifest: with ${entry.name} it would be larger than ${MANIFEST_BYTES_MAX} bytes; make a second cluster`,
  );
}

/**
 * The same for a manifest that is known, with all that is known of it afterwards, and without reading it again.
 * `undefined` when something is wrong: `addNodeToManifest` says what.
 */
export async function extendLoaded(
  loaded: LoadedManifest,
  entry: NodeEntry,
): Promise<{ loaded: LoadedManifest; added: ManifestNode } | undefined> {
  const { surroundings } = await surroundingsOf(loaded.path, loaded.text, loaded.stateFolder);
  const extended = extendManifest(loaded, entry, surroundings);
  if (!extended) return undefined;
  const { added, ...known } = extended;
  return { loaded: { ...loaded, ...known }, added };
}

async function surroundingsOf(
  path: string,
  text: string,
  stateFolder: string | undefined,
): Promise<{ resolvePath: (path: string) => string; surroundings: ManifestSurroundings }> {
  const folder = dirname(resolve(path));
  const resolvePath = (given: string) => resolveFrom(folder, given);
  const surroundings = {
    fileExists: (given: string) => existsSync(resolvePath(given)),
    imageNames: await importedNames(stateFolder ?? stateFolderOf(stateDirIn(text), resolvePath)),
    ...subnetOfInterface(text),
  };
  return { resolvePath, surroundings };
}

async function importedNames(stateFolder: string): Promise<string[]> {
  const images = await new ImageStore({ stateDir: stateFolder }).list();
  return images.map((image) => image.name);
}

function subnetOfInterface(text: string): { interfaceSubnet?: string } {
  const name = /^\s+interface:\s*["']?([^"'#\s,}]+)/m.exec(text)?.[1];
  const found = interfaceAddresses().find((each) => each.interfaceName === name);
  if (!found) return {};
  const mask = ipv4ToNumber(found.netmask);
  const network = ipv4FromNumber((ipv4ToNumber(found.address) & mask) >>> 0);
  return { interfaceSubnet: `${network}/${prefixLength(mask)}` };
}

function prefixLength(mask: number): number {
  return mask.toString(2).replaceAll("0", "").length;
}
