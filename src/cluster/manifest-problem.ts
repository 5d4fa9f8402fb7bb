/** What is wrong with a manifest, as a line for people, and the nearest thing that would be right. */

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

/** One problem as a line for people: `bramble.yaml:7:12: nodes[0].mac: Expected …`. */
export function formatProblem(fileName: string, { line, column, path, message, hint }: ManifestProblem): string {
  return `${fileName}:${line}:${column}: ${path ? `${path}: ` : ""}${message}${hint ? `. ${hint}` : ""}`;
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
