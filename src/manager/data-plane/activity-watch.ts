import type { ServedTree } from "../../boot/node-exports.ts";
import type { TreeCounters } from "../../nfs/observation.ts";
import type { Clock } from "../../ports.ts";
import type { NodeActivity, TreeActivity } from "./messages.ts";

/** Counting what a node has stored goes through all its files; that may take this part of the time. */
const COUNTING_SHARE = 1 / 200;

/** What trees and nodes did since somebody last asked. */
export class ActivityWatch {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #toldOperations = new Map<number, number>();
  readonly #toldBytes = new Map<string, number>();
  /** Nodes that were at work, and whose stored bytes were not counted since. */
  readonly #uncounted = new Set<string>();
  #countAgainAtMs = 0;

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  since(
    served: Iterable<ServedTree>,
    countersOf: (treeId: number) => Readonly<TreeCounters>,
    usedBytesOf: (node: string) => number,
  ): { trees: TreeActivity[]; nodes: NodeActivity[] } {
    const trees: TreeActivity[] = [];
    for (const { node, kind, treeId } of served) {
      const counters = countersOf(treeId);
      if (counters.operations === (this.#toldOperations.get(treeId) ?? 0)) continue;
      this.#toldOperations.set(treeId, counters.operations);
      this.#uncounted.add(node);
      trees.push({ node, kind, treeId, counters: { ...counters } });
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

  forget(node: string): void {
    this.#uncounted.delete(node);
    this.#toldBytes.delete(node);
  }
}
