/** What the nodes do, as `bramble top` shows it: rates over the last seconds, and totals since the manager started. */
import { type LatencyCounts, latencyQuantileMs, mergeLatencies } from "../nfs/latency-histogram.ts";
import { NFS_PROCEDURES } from "../nfs/procedures/table.ts";
import type { ProcedureActivity, TreeActivity, TreeTotals } from "../nfs/tree-counters.ts";
import type { NfsStatus } from "../nfs/volume.ts";
import type { Clock } from "../ports.ts";
import type { BusyFile, BusyFiles } from "./data-plane/busy-files.ts";
import type { ServedTreeActivity } from "./data-plane/messages.ts";
import { RequestError } from "./request-error.ts";

/** Rates are means over this. */
const WINDOW_MS = 5000;

/** Refusals that say the manager, its disk or its limits are in the way. A local disk gives the others just as well. */
const FAILURES: ReadonlySet<NfsStatus> = new Set([
  "NFS3ERR_IO",
  "NFS3ERR_NOSPC",
  "NFS3ERR_DQUOT",
  "NFS3ERR_ROFS",
  "NFS3ERR_STALE",
  "NFS3ERR_SERVERFAULT",
  "NFS3ERR_JUKEBOX",
]);

export function countFailures(refusals: Iterable<readonly [NfsStatus, number]>): number {
  let failures = 0;
  for (const [status, count] of refusals) if (FAILURES.has(status)) failures += count;
  return failures;
}

/** The same, one by one. */
export function failuresByStatus(refusals: Iterable<readonly [NfsStatus, number]>): Partial<Record<NfsStatus, number>> {
  const failures: Partial<Record<NfsStatus, number>> = {};
  for (const [status, count] of refusals) {
    if (FAILURES.has(status)) failures[status] = (failures[status] ?? 0) + count;
  }
  return failures;
}

export interface NodeActivityView {
  node: string;
  operationsPerS: number;
  readBytesPerS: number;
  writtenBytesPerS: number;
  /** Absent when nothing was done lately. */
  p50Ms?: number;
  p99Ms?: number;
  /** The file with the most bytes read or written lately; without any, the one most calls were for. */
  busiestFile?: string;
  /** Since the manager started. */
  totals: TreeTotals & { failures: number };
}

export interface ClusterActivityView {
  windowMs: number;
  nodes: NodeActivityView[];
}

export interface ProcedureView {
  name: string;
  callsPerS: number;
  p50Ms?: number;
  p99Ms?: number;
  /** Since the manager started. */
  calls: number;
}

export interface NodeActivityDetail extends NodeActivityView {
  windowMs: number;
  procedures: ProcedureView[];
  /** Since the manager started. */
  refusals: { status: NfsStatus; count: number }[];
  busy: BusyFiles;
}

interface NodeRecord {
  /** Oldest first. */
  recent: { atMs: number; activity: TreeActivity }[];
  busy: Map<number, { atMs: number; busy: BusyFiles }>;
  totals: TreeTotals;
  calls: Map<number, number>;
  refusals: Map<NfsStatus, number>;
}

const NOTHING_BUSY: BusyFiles = { called: [], read: [], written: [], writers: [] };

export class ClusterActivity {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #listed: () => readonly { name: string }[];
  readonly #nodes = new Map<string, NodeRecord>();

  /** `listed` are the nodes of the manifest: those that are shown. */
  constructor(clock: Pick<Clock, "monotonicMs">, listed: () => readonly { name: string }[]) {
    this.#clock = clock;
    this.#listed = listed;
  }

  take(trees: readonly ServedTreeActivity[]): void {
    const atMs = this.#clock.monotonicMs();
    for (const { node, kind, treeId, activity, busy } of trees) {
      const record = this.#nodes.get(node) ?? newRecord();
      this.#nodes.set(node, record);
      record.recent = record.recent.filter((each) => atMs - each.atMs < WINDOW_MS);
      record.recent.push({ atMs, activity });
      record.busy.set(treeId, { atMs, busy: kind === "root" ? busy : ofBootTree(busy) });
      addTo(record, activity);
    }
  }

  view(): ClusterActivityView {
    const nodes = this.#listed().map(({ name }) => name);
    const isListed = new Set(nodes);
    for (const node of this.#nodes.keys()) if (!isListed.has(node)) this.#nodes.delete(node);
    return { windowMs: WINDOW_MS, nodes: nodes.map((node) => this.#view(node, this.#recent(node), this.#busy(node))) };
  }

  /** Throws `RequestError` when there is no such node. */
  detail(node: string): NodeActivityDetail {
    if (!this.#listed().some(({ name }) => name === node)) {
      throw new RequestError(404, `Cannot show what ${node} does: the manifest has no node of that name`);
    }
    const recent = this.#recent(node);
    const busy = this.#busy(node);
    const record = this.#nodes.get(node) ?? newRecord();
    return {
      windowMs: WINDOW_MS,
      ...this.#view(node, recent, busy),
      procedures: proceduresOf(record, recent),
      refusals: [...record.refusals].map(([status, count]) => ({ status, count })).sort(byCount),
      busy,
    };
  }

  #recent(node: string): TreeActivity[] {
    const nowMs = this.#clock.monotonicMs();
    const recent = this.#nodes.get(node)?.recent ?? [];
    return recent.filter(({ atMs }) => nowMs - atMs < WINDOW_MS).map(({ activity }) => activity);
  }

  #busy(node: string): BusyFiles {
    const nowMs = this.#clock.monotonicMs();
    const told = [...(this.#nodes.get(node)?.busy.values() ?? [])].filter(({ atMs }) => nowMs - atMs < WINDOW_MS);
    return told.length > 0 ? mergeBusy(told.map(({ busy }) => busy)) : NOTHING_BUSY;
  }

  #view(node: string, recent: readonly TreeActivity[], busy: BusyFiles): NodeActivityView {
    const { totals, refusals } = this.#nodes.get(node) ?? newRecord();
    const perS = (total: keyof TreeTotals) => recent.reduce((sum, each) => sum + each[total], 0) / (WINDOW_MS / 1000);
    const latency = recent.flatMap(({ procedures }) => procedures.map((each) => each.latency));
    const busiest = busiestOf(busy);
    return {
      node,
      operationsPerS: perS("operations"),
      readBytesPerS: perS("readBytes"),
      writtenBytesPerS: perS("writtenBytes"),
      ...quantiles(latency),
      ...(busiest !== undefined && { busiestFile: busiest }),
      totals: { ...totals, failures: countFailures(refusals) },
    };
  }
}

function newRecord(): NodeRecord {
  const totals = { operations: 0, readBytes: 0, writtenBytes: 0 };
  return { recent: [], busy: new Map(), totals, calls: new Map(), refusals: new Map() };
}

function addTo({ totals, calls, refusals }: NodeRecord, activity: TreeActivity): void {
  totals.operations += activity.operations;
  totals.readBytes += activity.readBytes;
  totals.writtenBytes += activity.writtenBytes;
  for (const { procedure, calls: count } of activity.procedures) {
    calls.set(procedure, (calls.get(procedure) ?? 0) + count);
  }
  for (const [status, count] of activity.refusals) refusals.set(status, (refusals.get(status) ?? 0) + count);
}

function proceduresOf({ calls }: NodeRecord, recent: readonly TreeActivity[]): ProcedureView[] {
  return [...calls]
    .map(([procedure, count]): ProcedureView => {
      const isSame = (each: ProcedureActivity) => each.procedure === procedure;
      const lately = recent.flatMap(({ procedures }) => procedures.filter(isSame));
      return {
        name: NFS_PROCEDURES[procedure]?.name ?? String(procedure),
        callsPerS: lately.reduce((sum, each) => sum + each.calls, 0) / (WINDOW_MS / 1000),
        ...quantiles(lately.map(({ latency }) => latency)),
        calls: count,
      };
    })
    .sort((one, other) => other.callsPerS - one.callsPerS || other.calls - one.calls);
}

function quantiles(latencies: readonly LatencyCounts[]): { p50Ms?: number; p99Ms?: number } {
  const latency = mergeLatencies(latencies);
  const p50Ms = latencyQuantileMs(latency, 0.5);
  const p99Ms = latencyQuantileMs(latency, 0.99);
  return p50Ms === undefined || p99Ms === undefined ? {} : { p50Ms, p99Ms };
}

/** What stands in the node's boot tree it sees below where it has mounted that, which is the image's to say. */
function ofBootTree(busy: BusyFiles): BusyFiles {
  const named = (files: readonly BusyFile[]) => files.map(({ path, perS }) => ({ path: `boot:${path}`, perS }));
  return { called: named(busy.called), read: named(busy.read), written: named(busy.written), writers: busy.writers };
}

function mergeBusy(all: readonly BusyFiles[]): BusyFiles {
  const files = (kind: "called" | "read" | "written") => all.flatMap((busy) => busy[kind]).sort(byRate);
  const writers = new Map<number, number>();
  for (const { uid, perS } of all.flatMap((busy) => busy.writers)) writers.set(uid, (writers.get(uid) ?? 0) + perS);
  return {
    called: files("called"),
    read: files("read"),
    written: files("written"),
    writers: [...writers].map(([uid, perS]) => ({ uid, perS })).sort(byRate),
  };
}

function busiestOf({ called, read, written }: BusyFiles): string | undefined {
  const [most] = [...read.slice(0, 1), ...written.slice(0, 1)].sort(byRate);
  return (most ?? called[0])?.path;
}

function byRate(one: { perS: number }, other: { perS: number }): number {
  return other.perS - one.perS;
}

function byCount(one: { count: number }, other: { count: number }): number {
  return other.count - one.count;
}
