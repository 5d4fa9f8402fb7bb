/** Where a problem of a manifest stands in its text. */
import { type Document, isMap, isPair, isScalar, type LineCounter, type Node } from "yaml";
import type { LocatedProblem, ManifestPath, ManifestProblem } from "./manifest-problem.ts";

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
