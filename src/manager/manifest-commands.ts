/** What can be asked of the manifest of a running manager: changes of its file, which take effect when they are answered. */
import type { BoardIdentity } from "../cluster/manifest-board.ts";
import type { NodeEntry } from "../cluster/manifest-edit.ts";
import type { LiveManifest } from "./live-manifest.ts";
import { RequestError } from "./request-error.ts";

export interface ManifestCommandsOptions {
  manifest: LiveManifest;
  isServing(): boolean;
  /** Why a node of the manifest is not served as the manifest says. */
  refusal(node: string): string | undefined;
  /** Whether it has joined the cluster that an orchestrator makes. */
  hasJoined(node: string): boolean;
}

/** What was done for a node. While the manager starts, that is the file alone; it serves what stands there when it is done. */
export interface ManifestChange {
  node: string;
  isServed: boolean;
  /** It was a member of the cluster that an orchestrator makes, and is to be none. */
  wasMember?: true;
}

/** `manifestPath` is the file that the caller means. Methods throw `ManifestError` and `RequestError`. */
export class ManifestCommands {
  readonly #options: ManifestCommandsOptions;

  constructor(options: ManifestCommandsOptions) {
    this.#options = options;
  }

  /** Reads the manifest again. What is wrong with it is the caller's to know; the running cluster goes on. */
  async reload(): Promise<{ nodes: number }> {
    const { manifest, isServing } = this.#options;
    if (!isServing()) throw new RequestError(503, "Cannot read the manifest again yet: the manager is still starting");
    await manifest.reload();
    return { nodes: manifest.loaded.manifest.nodes.length };
  }

  /** Adds a node to the manifest's file and serves it. */
  async addNode(entry: NodeEntry, manifestPath: string | undefined): Promise<ManifestChange> {
    return this.#served(entry.name, await this.#options.manifest.addNode(entry, manifestPath));
  }

  /** Gives a node of the manifest another board. The old one is nobody when this resolves. */
  async replaceBoard(node: string, board: BoardIdentity, manifestPath: string | undefined): Promise<ManifestChange> {
    return this.#served(node, await this.#options.manifest.replaceBoard(node, board, manifestPath));
  }

  /** Takes a node out of the manifest. Its board is nobody when this resolves. */
  async removeNode(node: string, manifestPath: string | undefined): Promise<ManifestChange> {
    await this.#options.manifest.removeNode(node, manifestPath);
    return { node, isServed: false, ...(this.#options.hasJoined(node) && { wasMember: true }) };
  }

  #served(node: string, isServed: boolean): ManifestChange {
    const refusal = isServed ? this.#options.refusal(node) : undefined;
    if (refusal === undefined) return { node, isServed };
    throw new RequestError(500, `Cannot serve ${node} yet, though it is in the manifest: ${refusal}`);
  }
}
