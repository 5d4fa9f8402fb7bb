import type { ServedTree } from "../../boot/node-exports.ts";
import type { TreeCounters } from "../../nfs/tree-counters.ts";
import type { Clock } from "../../ports.ts";
import type { Layer } from "../../tree/layer.ts";
import { BusyPaths } from "./busy-files.ts";
import type { NodeActivity, ServedTreeActivity } from "./messages.ts";

/** What trees and nodes did since somebody last asked. */
export class ActivityWatch {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #paths = new Map<number, BusyPaths>();
  readonly #toldBytes = new Map<string, number>();
  #askedMs: number;

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
    this.#askedMs = clock.monotonicMs();
  }

  since(
    served: Iterable<ServedTree & { tree: { nodeLayer: Layer } }>,
    countersOf: (treeId: number) => TreeCounters,
    usedBytesOf: (node: string) => number,
  ): { trees: ServedTreeActivity[]; nodes: NodeActivity[] } {
    const nowMs = this.#clock.monotonicMs();
    const passedMs = Math.max(1, nowMs - this.#askedMs);
    this.#askedMs = nowMs;
    const trees: ServedTreeActivity[] = [];
    const active = new Set<string>();
    for (const { node, kind, treeId, tree } of served) {
      const counters = countersOf(treeId);
      const activity = counters.takeActivity();
      if (activity === undefined) {
        if (this.#paths.has(treeId)) counters.takeHitters(passedMs);
        continue;
      }
      active.add(node);
      const paths = this.#paths.get(treeId) ?? new BusyPaths();
      this.#paths.set(treeId, paths);
      trees.push({ node, kind, treeId, activity, busy: paths.take(counters, tree.nodeLayer, passedMs) });
    }
    return { trees, nodes: this.#changedUse(active, usedBytesOf) };
  }

  /** Nothing was done from when it was last asked until now. */
  begin(): void {
    this.#askedMs = this.#clock.monotonicMs();
  }

  /** Forgets what trees did lately. */
  rest(countersOf: (treeId: number) => TreeCounters): void {
    for (const treeId of this.#paths.keys()) countersOf(treeId).takeHitters(Number.POSITIVE_INFINITY);
    this.#paths.clear();
  }

  #changedUse(nodes: ReadonlySet<string>, usedBytesOf: (node: string) => number): NodeActivity[] {
    const changed: NodeActivity[] = [];
    for (const node of nodes) {
      const usedBytes = usedBytesOf(node);
      if (this.#toldBytes.get(node) !== usedBytes) changed.push({ node, usedBytes });
      this.#toldBytes.set(node, usedBytes);
    }
    return changed;
  }

  forget(node: string, treeIds: Iterable<number>): void {
    this.#toldBytes.delete(node);
    for (const treeId of treeIds) this.#paths.delete(treeId);
  }
}
