/** What is wrong with a manifest, with the place in its text, and the nearest thing that would be right. */
import { type Document, isMap, isPair, isScalar, type LineCounter, type Node } from "yaml";

export type ManifestPath = readonly (string | number)[];

export interface ManifestProblem {
  /** Both count from 1. */
  line: number;
  column: number;
  /** Where it is as data: `nodes[1].mac`; empty for the whole file. */
  path: string;
  message: string;
  /** What to do, when that is known. */
  hint?: string;
}

/** Problems found in data, to be given their places in the text. */
export interface LocatedProblem {
  path: ManifestPath;
  message: string;
  hint?: string;
  /** Point at the key instead of its value. */
  atKey?: boolean;
  /** The place that this one collides with; its line ends the message. */
  other?: ManifestPath;
}

function describePath(path: ManifestPath): string {
  return path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${part}`))
    .join("")
    .replace(/^\./, "");
}

export function locate(problem: LocatedProblem, document: Document, counter: LineCounter): ManifestProblem {
  const { path, message, hint, atKey, other } = problem;
  const offset = (atKey ? keyOffset(document, path) : undefined) ?? valueOffset(document, path);
  const { line, col } = counter.linePos(offset);
  return {
    line: Math.max(line, 1),
    column: Math.max(col, 1),
    path: describePath(path),
    message: other ? `${message} (line ${counter.linePos(valueOffset(document, other)).line})` : message,
    ...(hint && { hint }),
  };
}

/** The value at the path, else what is nearest above it (a missing key is reported at its map). */
function valueOffset(document: Document, path: ManifestPath): number {
  for (let length = path.length; length >= 0; length--) {
    const node = nodeAt(document, path.slice(0, length));
    if (node?.range) return node.range[0];
  }
  return 0;
}

function keyOffset(document: Document, path: ManifestPath): number | undefined {
  const parent = nodeAt(document, path.slice(0, -1));
  if (!isMap(parent)) return undefined;
  const pair = parent.items.find((item) => isPair(item) && isScalar(item.key) && item.key.value === path.at(-1));
  return isScalar(pair?.key) ? pair.key.range?.[0] : undefined;
}

function nodeAt(document: Document, path: ManifestPath): Node | undefined {
  return path.length === 0 ? (document.contents ?? undefined) : (document.getIn(path, true) as Node | undefined);
}

/** "Did you mean …?", when a candidate is close enough to be a slip of the finger. */
export function suggest(word: string, candidates: readonly string[]): string | undefined {
  const distances = candidates.map((candidate) => ({
    candidate,
    distance: editDistance(word.toLowerCase(), candidate.toLowerCase()),
  }));
  const nearest = distances.sort((a, b) => a.distance - b.distance)[0];
  const close = nearest && nearest.distance <= Math.max(1, Math.floor(nearest.candidate.length / 3));
  return close ? `Did you mean "${nearest.candidate}"?` : undefined;
}

/** Levenshtein's: how many single characters to add, drop or change. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
