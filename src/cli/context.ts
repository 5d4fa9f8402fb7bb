import { resolve } from "node:path";
import type { Command } from "commander";
import type { LoadedManifest } from "../manager/manifest-file.ts";
import { socketPathOf, stateFolderAt } from "../manager/state-folder.ts";
import { ApiClient } from "./api-client.ts";

export interface GlobalOptions {
  manifest: string;
  /** Instead of the manifest's `stateDir`. */
  state?: string;
  json?: boolean;
}

export function globalOptions(command: Command): GlobalOptions {
  return command.optsWithGlobals<GlobalOptions>();
}

/** Rejects with `ManifestError`. */
export async function loadManifestOf(command: Command): Promise<LoadedManifest> {
  const { manifest, state } = globalOptions(command);
  const { loadManifest } = await import("../manager/manifest-file.ts");
  return loadManifest(manifest, state);
}

/** A client of the manager that runs this manifest, also while somebody edits it. */
export function apiOf(command: Command): ApiClient {
  return new ApiClient(socketPathOf(stateFolderFor(command)));
}

export function stateFolderFor(command: Command): string {
  const { manifest, state } = globalOptions(command);
  return resolve(state ?? stateFolderAt(manifest));
}

export function printJson(value: unknown): void {
  console.log(JSON.stringify(value, null, 2));
}
