/**
 * The manifest of a running manager. It is read again when its file has changed, and edited when somebody asks: one after
 * the other, and what is known of it is kept, so that one more of a thousand nodes costs one node.
 */
import type { Manifest, ManifestNode } from "../cluster/manifest.ts";
import type { BoardIdentity } from "../cluster/manifest-board.ts";
import type { NodeEntry } from "../cluster/manifest-edit.ts";
import { Turn } from "../order/turns.ts";
import {
  addNodeToFile,
  type ManifestPlace,
  removeNodeFromFile,
  replaceBoardInFile,
  whileNobodyEdits,
} from "./manifest-editing.ts";
import { extendLoaded, type LoadedManifest, loadManifestText } from "./manifest-file.ts";
import { readManifestText, realManifestPath, replaceManifestText } from "./manifest-text.ts";
import { RequestError } from "./request-error.ts";

export interface ManifestUser {
  /** Before that there is no cluster to change, and what is edited goes into the file alone: `reloadIfChanged` finds it. */
  isServing(): boolean;
  /** Makes the cluster what the manifest says. `added` is the one node that the manifest before did not have, if that is all. */
  take(loaded: LoadedManifest, added?: ManifestNode): Promise<void>;
  /** Makes durable what a node needs that will be added: it may be, while the manifest is. */
  prepareNode(name: string): Promise<void>;
}

export class LiveManifest {
  readonly #user: ManifestUser;
  #loaded: LoadedManifest;
  /** As it last was in the file, whether it was taken or refused. */
  #seenText: string;
  readonly #turn = new Turn();

  constructor(loaded: LoadedManifest, user: ManifestUser) {
    this.#loaded = loaded;
    this.#seenText = loaded.text;
    this.#user = user;
  }

  /** As it was last taken. */
  get loaded(): LoadedManifest {
    return this.#loaded;
  }

  /** Runs when no reload or edit is under way; the next one waits for it. */
  inTurn<Result>(run: () => Promise<Result>): Promise<Result> {
    return this.#turn.run(run);
  }

  /** Reads the file again, and the files that it names. Rejects with what is wrong; the old one goes on then. */
  reload(): Promise<void> {
    return this.inTurn(() => this.#read(readManifestText(this.#loaded.path)));
  }

  /** The same, but nothing for a text that is known. */
  reloadIfChanged(): Promise<void> {
    return this.inTurn(async () => {
      const text = readManifestText(this.#loaded.path);
      if (text !== this.#seenText) await this.#read(text);
    });
  }

  /**
   * Adds a node to the file, then to the cluster. When this resolves with true, both have it; killed in between, a manager
   * finds it in the file when it starts again. Rejects with `ManifestError` or `RequestError`, and nothing is changed then.
   * `manifestPath` is the file that the caller means.
   */
  addNode(entry: NodeEntry, manifestPath?: string): Promise<boolean> {
    return this.#asked(`add ${entry.name} to`, manifestPath, (isServing) => this.#add(entry, isServing));
  }

  /** The same for a node that gets another board. */
  replaceBoard(node: string, board: BoardIdentity, manifestPath?: string): Promise<boolean> {
    return this.#asked(`replace the board of ${node} in`, manifestPath, (isServing) =>
      this.#edit((place) => replaceBoardInFile(place, node, board), isServing),
    );
  }

  /** The same for a node that is taken out. */
  removeNode(node: string, manifestPath?: string): Promise<boolean> {
    return this.#asked(`remove ${node} from`, manifestPath, (isServing) =>
      this.#edit((place) => removeNodeFromFile(place, node), isServing),
    );
  }

  #asked(
    what: string,
    manifestPath: string | undefined,
    change: (isServing: boolean) => Promise<void>,
  ): Promise<boolean> {
    return this.inTurn(async () => {
      this.#expectOwn(manifestPath, what);
      // If it is soon: then the file is looked at after this.
      const isServing = this.#user.isServing();
      await change(isServing);
      return isServing;
    });
  }

  #expectOwn(manifestPath: string | undefined, what: string): void {
    const { path } = this.#loaded;
    const [theirs, ours] = [manifestPath ?? path, path].map(realManifestPath);
    if (theirs !== ours) throw new RequestError(409, `Cannot ${what} ${theirs}: the manager serves ${ours}`);
  }

  /**
   * Adds the node that `choose` makes of the manifest as it is when nobody else changes it, if it makes one. Resolves with
   * it, and rejects, as `addNode` does.
   */
  addChosen(choose: (manifest: Manifest) => NodeEntry | undefined): Promise<NodeEntry | undefined> {
    return this.inTurn(async () => {
      const entry = choose(this.#loaded.manifest);
      if (entry) await this.#add(entry, true);
      return entry;
    });
  }

  async #add(entry: NodeEntry, isServing: boolean): Promise<void> {
    const { path } = this.#loaded;
    const extended = await whileNobodyEdits(path, async () => {
      const isKnown = isServing && readManifestText(path) === this.#loaded.text;
      const found = isKnown ? await extendLoaded(this.#loaded, entry) : undefined;
      if (!found) return undefined;
      // What fails for the node is tried again, and reported, when it is planned.
      const prepared = this.#user.prepareNode(entry.name).catch(() => {});
      await Promise.all([replaceManifestText(path, found.loaded.text), prepared]);
      return found;
    });
    if (!extended) return this.#edit((place) => addNodeToFile(place, entry), isServing);
    this.#seenText = extended.loaded.text;
    await this.#user.take(extended.loaded, extended.added);
    this.#loaded = extended.loaded;
  }

  async #edit(edit: (place: ManifestPlace) => Promise<void>, isServing: boolean): Promise<void> {
    const { path, stateFolder } = this.#loaded;
    await edit({ path, stateFolder });
    if (isServing) await this.#read(readManifestText(path));
  }

  async #read(text: string): Promise<void> {
    this.#seenText = text;
    const { path, stateFolder } = this.#loaded;
    const loaded = await loadManifestText(path, text, stateFolder);
    await this.#user.take(loaded);
    this.#loaded = loaded;
  }
}
