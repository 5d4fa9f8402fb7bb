/** What `bramble top` shows. Made to be read in 80 columns. */
import type { ClusterActivityView, NodeActivityDetail, NodeActivityView } from "../manager/cluster-activity.ts";
import { coloured, formatBytes, formatCount, formatTable } from "./table.ts";

export interface TopSpace {
  columns: number;
  /** Lines of text in all. */
  rows: number;
}

/** Below this a path says nothing any more. */
const PATH_COLUMNS_MIN = 12;
const NONE = "-";
/** Bytes or calls; less is what has faded. */
const SHOWN_PER_S_MIN = 0.5;

/** All nodes, the busiest first. */
export function topTable({ nodes, windowMs }: ClusterActivityView, space: TopSpace): string {
  const sorted = nodes.toSorted((one, other) => other.operationsPerS - one.operationsPerS);
  // The sum, the header, and a last line for those that have no place.
  const places = Math.max(1, space.rows - 3);
  const shown = sorted.slice(0, sorted.length === places + 1 ? places + 1 : places);
  const sum = (rate: (node: NodeActivityView) => number) => nodes.reduce((total, node) => total + rate(node), 0);
  const summary = [
    formatCount(nodes.length, "node"),
    `${formatRate(sum((node) => node.operationsPerS))} op/s`,
    `read ${formatBytes(sum((node) => node.readBytesPerS))}/s`,
    `written ${formatBytes(sum((node) => node.writtenBytesPerS))}/s`,
    coloured(`means of ${windowMs / 1000} s`, "dim"),
  ].join(" · ");
  const cells = shown.map(nodeCells);
  const header = ["NODE", "OP/S", "READ/S", "WRITTEN/S", "P50 ms", "P99 ms", "FAILED"];
  const numbers = header.map((_, column) => column).slice(1);
  const plain = formatTable(header, cells, numbers).split("\n");
  const pathColumns = Math.max(PATH_COLUMNS_MIN, space.columns - 3 - Math.max(...plain.map((line) => line.length)));
  const rows = shown.map((node, index) => decorate(node, cells[index]!, cutPath(node.busiestFile ?? "", pathColumns)));
  const left = nodes.length - shown.length;
  return [
    summary,
    formatTable([...header, "BUSIEST FILE"], rows, numbers),
    ...(left > 0 ? [coloured(`and ${formatCount(left, "node")} more, less busy`, "dim")] : []),
  ].join("\n");
}

function nodeCells(node: NodeActivityView): string[] {
  return [
    node.node,
    orNone(node.operationsPerS, formatRate),
    orNone(node.readBytesPerS, formatBytes),
    orNone(node.writtenBytesPerS, formatBytes),
    formatMs(node.p50Ms),
    formatMs(node.p99Ms),
    orNone(node.totals.failures, formatNumber),
  ];
}

function decorate(node: NodeActivityView, cells: string[], path: string): string[] {
  if (node.operationsPerS === 0) return [...cells, path].map((cell) => coloured(cell, "dim"));
  return [...cells.slice(0, -1), node.totals.failures > 0 ? coloured(cells.at(-1)!, "red") : cells.at(-1)!, path];
}

/** One node: by procedure, its busiest files, its refusals. */
export function nodeTopTable(node: NodeActivityDetail, { columns }: TopSpace): string {
  const { totals, busy } = node;
  const failures = `${formatCount(totals.failures, "failure")}`;
  const lately = [
    `${formatRate(node.operationsPerS)} op/s`,
    `read ${formatBytes(node.readBytesPerS)}/s`,
    `written ${formatBytes(node.writtenBytesPerS)}/s`,
    coloured(`means of ${node.windowMs / 1000} s`, "dim"),
  ];
  const latency = node.p50Ms === undefined ? [] : [`p50 ${formatMs(node.p50Ms)} ms · p99 ${formatMs(node.p99Ms)} ms`];
  const sinceStart = [
    `${formatNumber(totals.operations)} op`,
    `read ${formatBytes(totals.readBytes)}`,
    `written ${formatBytes(totals.writtenBytes)}`,
    totals.failures > 0 ? coloured(failures, "red") : failures,
  ];
  const procedures = node.procedures.map((each) => [
    each.name,
    orNone(each.callsPerS, formatRate),
    formatMs(each.p50Ms),
    formatMs(each.p99Ms),
    formatNumber(each.calls),
  ]);
  return [
    `${coloured(node.node, "bold")}   ${lately.join(" · ")}`,
    ...latency,
    coloured(`since the start: ${sinceStart.join(" · ")}`, "dim"),
    ...section(formatTable(["PROCEDURE", "CALLS/S", "P50 ms", "P99 ms", "CALLS"], procedures, [1, 2, 3, 4])),
    ...files("READ/S", busy.read, formatBytes, columns),
    ...files("WRITTEN/S", busy.written, formatBytes, columns),
    ...files("CALLS/S", busy.called, formatRate, columns),
    ...listed(
      "written by",
      busy.writers.map(({ uid, perS }) => `uid ${uid}: ${formatBytes(perS)}/s`),
    ),
    ...listed(
      "refused",
      node.refusals.map(({ status, count }) => `${status} ${formatNumber(count)}`),
    ),
  ].join("\n");
}

function section(text: string): string[] {
  return ["", text];
}

function files(
  header: string,
  list: readonly { path: string; perS: number }[],
  format: (perS: number) => string,
  columns: number,
): string[] {
  const shown = list.filter(({ perS }) => perS >= SHOWN_PER_S_MIN);
  if (shown.length === 0) return [];
  const rates = shown.map(({ perS }) => format(perS));
  const width = Math.max(header.length, ...rates.map((rate) => rate.length));
  const rows = shown.map(({ path }, index) => [rates[index]!, cutPath(path, columns - width - 3)]);
  return section(formatTable([header, "FILE, IN THE LAST 10 s"], rows, [0]));
}

function listed(title: string, items: readonly string[]): string[] {
  return items.length === 0 ? [] : ["", `${title}   ${items.join(" · ")}`];
}

function orNone(value: number, format: (value: number) => string): string {
  return value === 0 ? NONE : format(value);
}

/** The end of a path says more than its beginning. */
export function cutPath(path: string, columns: number): string {
  const characters = [...path];
  return characters.length <= columns ? path : `…${characters.slice(characters.length - columns + 1).join("")}`;
}

/** Two or three digits that matter. */
export function formatRate(perS: number): string {
  return perS > 0 && perS < 9.95 ? perS.toFixed(1) : formatNumber(perS);
}

function formatNumber(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

function formatMs(ms: number | undefined): string {
  if (ms === undefined) return NONE;
  return ms < 9.995 ? ms.toFixed(2) : ms < 99.95 ? ms.toFixed(1) : formatNumber(ms);
}
