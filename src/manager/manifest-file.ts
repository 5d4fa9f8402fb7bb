/** The manifest as a file: where it lies, what its relative paths mean, and where its state goes. */
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { ipv4FromNumber, ipv4ToNumber } from "../bytes/addresses.ts";
import { formatProblem, type Manifest, type ManifestProblem, parseManifest } from "../cluster/manifest.ts";
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
  const text = readText(path);
  const folder = dirname(resolve(path));
  const resolvePath = (given: string) => resolveFrom(folder, given);
  const result = parseManifest(text, {
    fileExists: (given) => existsSync(resolvePath(given)),
    imageNames: await importedNames(stateFolder ?? stateFolderOf(stateDirIn(text), resolvePath)),
    ...subnetOfInterface(text),
  });
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

/** Where state goes: `stateDir` of the manifest, else the place the system has for it. */
export function stateFolderOf(stateDir: string | undefined, resolvePath: (path: string) => string): string {
  if (stateDir !== undefined) return resolvePath(stateDir);
  if (process.getuid?.() === 0) return "/var/lib/bramble";
  return join(process.env.XDG_STATE_HOME ?? join(homedir(), ".local/state"), "bramble");
}

/** Where the manager listens. Linux allows 107 bytes, which deep folders exceed: the error then says so. */
export function socketPathOf(stateFolder: string): string {
  return join(stateFolder, "manager.sock");
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why =
      code === "ENOENT" ? 'there is no such file; make one with "bramble init", or name one with --manifest' : code;
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
