/** Where the manager keeps its state and its socket: known without reading the manifest as YAML. */
import { accessSync, constants, mkdirSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { readManifestText } from "./manifest-text.ts";

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

/** Read before the manifest is known to be good: the check needs the names, and the names lie where it says. */
export function stateDirIn(text: string): string | undefined {
  return /^stateDir:\s*["']?([^"'#\n]+?)["']?\s*(#.*)?$/m.exec(text)?.[1];
}

/** A path of the manifest made absolute: `~` is the home folder, relative ones start at the manifest's. */
export function resolveFrom(folder: string, path: string): string {
  if (path === "~" || path.startsWith("~/")) return join(homedir(), path.slice(1));
  return isAbsolute(path) ? path : resolve(folder, path);
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
