import type { ServedTree } from "../../boot/node-exports.ts";
import type { TreeCounters } from "../../nfs/tree-counters.ts";
import type { Clock } from "../../ports.ts";
import type { Layer } from "../../tree/layer.ts";
import { BusyPaths } from "./busy-files.ts";
import type { NodeActivity, ServedTreeActivity } from "./messages.ts";

/** Counting what a node has stored goes through all its files; that may take this part of the time. */
const COUNTING_SHARE = 1 / 200;

/** What trees and nodes did since somebody last asked. */
export class ActivityWatch {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #paths = new Map<number, BusyPaths>();
  readonly #toldBytes = new Map<string, number>();
  /** Nodes that were at work, and whose stored bytes were not counted since. */
  readonly #uncounted = new Set<string>();
  #countAgainAtMs = 0;
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
    for (const { node, kind, treeId, tree } of served) {
      const counters = countersOf(treeId);
      const activity = counters.takeActivity();
      if (activity === undefined) {
        if (this.#paths.has(treeId)) counters.takeHitters(passedMs);
        continue;
      }
      this.#uncounted.add(node);
      const paths = this.#paths.get(treeId) ?? new BusyPaths();
      this.#paths.set(treeId, paths);
      trees.push({ node, kind, treeId, activity, busy: paths.take(counters, tree.nodeLayer, passedMs) });
    }
    return { trees, nodes: this.#count(usedBytesOf) };
  }

  #count(usedBytesOf: (node: string) => number): NodeActivity[] {
    const counted: NodeActivity[] = [];
    for (const node of this.#uncounted) {
      const startMs = this.#clock.monotonicMs();
      if (startMs < this.#countAgainAtMs) break;
      this.#uncounted.delete(node);
      const usedBytes = usedBytesOf(node);
      if (this.#toldBytes.get(node) !== usedBytes) counted.push({ node, usedBytes });
      this.#toldBytes.set(node, usedBytes);
      const nowMs = this.#clock.monotonicMs();
      const tookMs = nowMs - startMs;
      this.#countAgainAtMs = tookMs < 1 ? 0 : nowMs + tookMs / COUNTING_SHARE;
    }
    return counted;
  }

  forget(node: string, treeIds: Iterable<number>): void {
    this.#uncounted.delete(node);
    this.#toldBytes.delete(node);
    for (const treeId of treeIds) this.#paths.delete(treeId);
  }
}
