/** What a node has stored in all layers of its trees, and how much it may. */
import { VolumeError } from "../nfs/volume.ts";
import { usedBytes } from "./layer-usage.ts";
import type { NodeLayer } from "./node-layer.ts";
import { DEFAULT_RULES, type StorageRules, type TreeKind } from "./tree-description.ts";

interface AccountedTree {
  active: NodeLayer;
  frozenBytes: number;
}

export class NodeAccount {
  rules: StorageRules = DEFAULT_RULES;
  readonly #trees = new Map<TreeKind, AccountedTree>();

  /** The layers that a tree of the node consists of from now on. */
  place(kind: TreeKind, tree: AccountedTree): void {
    this.#trees.set(kind, tree);
  }

  /** Bytes, also of what is not durable yet. */
  get usedBytes(): number {
    return this.#sum((active) => active.contents.unstableGrowthBytes());
  }

  #sum(unstableBytes: (active: NodeLayer) => number): number {
    let bytes = 0;
    for (const { active, frozenBytes } of this.#trees.values()) {
      bytes += frozenBytes + usedBytes(active.usage) + unstableBytes(active);
    }
    return bytes;
  }

  /** Throws NFS3ERR_DQUOT when the node may not store as much more. */
  demand(growthBytes: number): void {
    const { quotaBytes } = this.rules;
    if (quotaBytes === undefined || growthBytes <= 0) return;
    // Nearly always this is enough, and it takes no look at every file.
    if (this.#sum((active) => active.contents.unstableStoredBytes) + growthBytes <= quotaBytes) return;
    if (this.usedBytes + growthBytes > quotaBytes) throw new VolumeError("NFS3ERR_DQUOT");
  }
}
