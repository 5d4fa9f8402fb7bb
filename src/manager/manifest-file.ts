/** The manifest as a file: where it lies, what its relative paths mean, and where its state goes. */
import { accessSync, constants, existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { ipv4FromNumber, ipv4ToNumber } from "../bytes/addresses.ts";
import {
  checkOpened,
  formatProblem,
  type Manifest,
  type ManifestProblem,
  type ManifestSurroundings,
  openManifest,
  parseManifest,
} from "../cluster/manifest.ts";
import { addNode, type NodeEntry } from "../cluster/manifest-edit.ts";
import { interfaceAddresses } from "../system/network-interfaces.ts";
import { ImageStore } from "./image-store.ts";

export interface LoadedManifest {
  path: string;
  text: string;
  manifest: Manifest;
  stateFolder: string;
  /** Makes a path of the manifest absolute: `~` is the home folder, relative ones start at the manifest. */
  resolvePath(path: string): string;
}

/** Everything that is wrong with a manifest, at once. */
export class ManifestError extends Error {
  readonly problems: readonly ManifestProblem[];

  constructor(path: string, problems: readonly ManifestProblem[]) {
    super(problems.map((problem) => formatProblem(path, problem)).join("\n"));
    this.name = "ManifestError";
    this.problems = problems;
  }
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
  const result = parseManifest(text, surroundings);
  if (!result.ok) throw new ManifestError(path, result.problems);
  const { manifest } = result;
  return {
    path,
    text,
    manifest,
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
  return addNode(text, entry, opened.document);
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

/** Where state goes: `stateDir` of the manifest, else the place the system has for it. */
export function stateFolderOf(stateDir: string | undefined, resolvePath: (path: string) => string): string {
  if (stateDir !== undefined) return resolvePath(stateDir);
  if (process.getuid?.() === 0) return "/var/lib/bramble";
  return join(process.env.XDG_STATE_HOME ?? join(homedir(), ".local/state"), "bramble");
}

/** The same without asking whether the manifest is right: what is there can be looked at while somebody edits it. */
export function stateFolderAt(path: string): string {
  return stateFolderOf(stateDirIn(readManifestText(path)), (given) => resolveFrom(dirname(resolve(path)), given));
}

/** Makes the state folder if it is not there. Throws when the manager could not keep its state and its socket in it. */
export function prepareStateFolder(stateFolder: string): void {
  socketPathOf(stateFolder);
  try {
    makeFolder(stateFolder);
    accessSync(stateFolder, constants.W_OK | constants.X_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = FOLDER_ERRORS[code ?? ""] ?? `the system says ${code}`;
    throw new Error(
      `Cannot keep state in ${stateFolder}: ${why}; set stateDir in the manifest, or --state, to another folder`,
      { cause: error },
    );
  }
}

const FOLDER_ERRORS: Readonly<Record<string, string>> = {
  EACCES: "this user may not write there",
  EEXIST: "it is not a folder",
  ENOENT: "no folder can be made there",
  ENOSPC: "the disk is full",
  ENOTDIR: "what is above it is not a folder",
  EPERM: "no folder can be made there",
  EROFS: "that file system is read-only",
};

/** Not `recursive`: Node 20 then never returns where a folder cannot be made, as below /proc. */
function makeFolder(folder: string): void {
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return;
  makeFolder(dirname(folder));
  mkdirSync(folder);
}

/** `sun_path` of unix(7) without its closing zero; the system cuts off what is longer, without an error. */
const SOCKET_PATH_BYTES_MAX = 107;

/** Where the manager listens. Throws when the system cannot take so long a path. */
export function socketPathOf(stateFolder: string): string {
  const path = join(stateFolder, "manager.sock");
  const lengthBytes = Buffer.byteLength(path);
  if (lengthBytes <= SOCKET_PATH_BYTES_MAX) return path;
  throw new Error(
    `Cannot keep the manager's socket in ${stateFolder}: its path would have ${lengthBytes} bytes, and Linux takes ` +
      `${SOCKET_PATH_BYTES_MAX}; set stateDir in the manifest, or --state, to a folder with a shorter path`,
  );
}

const READ_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file; make one with "bramble init", or name one with --manifest',
  EACCES: "this user may not read it",
  EISDIR: "it is a folder; name the file in it with --manifest",
};

/** Throws an `Error` that says why the file cannot be read. */
export function readManifestText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = READ_ERRORS[code ?? ""] ?? `the system says ${code}`;
    throw new Error(`Cannot read the manifest ${path}: ${why}`, { cause: error });
  }
}

function resolveFrom(folder: string, path: string): string {
  if (path === "~" || path.startsWith("~/")) return join(homedir(), path.slice(1));
  return isAbsolute(path) ? path : resolve(folder, path);
}

/** Read before the manifest is known to be good: the check needs the names, and the names lie where it says. */
function stateDirIn(text: string): string | undefined {
  return /^stateDir:\s*["']?([^"'#\n]+?)["']?\s*(#.*)?$/m.exec(text)?.[1];
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
