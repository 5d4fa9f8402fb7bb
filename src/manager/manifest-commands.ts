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
}

/** `manifestPath` is the file that the caller means. Methods throw `ManifestError` and `RequestError`. */
export class ManifestCommands {
  readonly #options: ManifestCommandsOptions;

  constructor(options: ManifestCommandsOptions) {
    this.#options = options;
  }

  /** Reads the manifest again. What is wrong with it is the caller's to know; the running cluster goes on. */
  async reload(): Promise<{ nodes: number }> {
    const { manifest } = this.#options;
    await manifest.reload();
    return { nodes: manifest.loaded.manifest.nodes.length };
  }

  /** Adds a node to the manifest's file and serves it. */
  async addNode(entry: NodeEntry, manifestPath: string | undefined): Promise<{ node: string }> {
    this.#expectServing(`add ${entry.name}`);
    await this.#options.manifest.addNode(entry, manifestPath);
    return this.#served(entry.name);
  }

  /** Gives a node of the manifest another board. The old one is nobody when this resolves. */
  async replaceBoard(node: string, board: BoardIdentity, manifestPath: string | undefined): Promise<{ node: string }> {
    this.#expectServing(`replace the board of ${node}`);
    await this.#options.manifest.replaceBoard(node, board, manifestPath);
    return this.#served(node);
  }

  #expectServing(what: string): void {
    if (!this.#options.isServing()) throw new RequestError(503, `Cannot ${what} yet: the manager is still starting`);
  }

  #served(node: string): { node: string } {
    const refusal = this.#options.refusal(node);
    if (refusal === undefined) return { node };
    throw new RequestError(500, `Cannot serve ${node} yet, though it is in the manifest: ${refusal}`);
  }
}
