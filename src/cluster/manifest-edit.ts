/**
 * Changes the text of a manifest as its owner would: only the lines concerned, so that comments, order and style of
 * everything else stay to the byte.
 */
import {
  type Document,
  isMap,
  isScalar,
  isSeq,
  type Node,
  parseDocument,
  stringify,
  YAMLMap,
  type YAMLSeq,
} from "yaml";

export interface NodeEntry {
  name: string;
  mac?: string;
  serial?: string;
  address?: string;
  model?: string;
}

/**
 * Where in a text the next node of its list goes, and how it is written there. It follows from the text alone, and after
 * a node was put there, from what was put: so a list of a thousand is not read again for one more.
 */
export interface NodePlace {
  /** What stands between these offsets makes way. */
  from: number;
  to: number;
  /** What is written before the node. */
  lead: string;
  style: "line" | "block" | "brackets";
  indent: string;
}

/**
 * Adds a node at the end of the list, in the style of the last one there. The text must be valid YAML; `document` is it
 * as it was read before, if it was. Throws when the list is written in a way that cannot be added to.
 */
export function addNode(text: string, entry: NodeEntry, document = openDocument(text)): string {
  const place = placeForNode(text, document);
  if (place) return putNode(text, entry, place).text;
  throw new Error(
    "Cannot change the manifest: its nodes are not written as a list of their own that a line can be added to; add the node by hand",
  );
}

/** `undefined` where the list stands elsewhere (an alias), or there is none yet and no line can begin one. */
export function placeForNode(text: string, document: Document): NodePlace | undefined {
  const nodes = document.get("nodes", true);
  const isInBraces = isMap(document.contents) && document.contents.flow === true;
  if (!document.has("nodes")) {
    const lead = `${text === "" || text.endsWith("\n") ? "" : "\n"}nodes:\n`;
    // Behind "..." it would be another document.
    const cannot = isInBraces || document.directives?.docEnd === true;
    return cannot ? undefined : { from: text.length, to: text.length, lead, style: "line", indent: "  " };
  }
  const last = isSeq(nodes) ? nodes.items.at(-1) : undefined;
  if (isSeq(nodes) && isMap(last)) return placeAfter(text, nodes, last);
  const isEmpty = isSeq(nodes) ? nodes.items.length === 0 : isScalar(nodes) && nodes.value === null;
  if (!isEmpty || isInBraces) return undefined;
  const [from, to] = rangeOf(nodes as Node);
  // An empty value lies right behind its colon, an empty list one space further on.
  const key = text.slice(0, from).trimEnd();
  const restOfLine = /^[ \t]*\n/.exec(text.slice(to))?.[0].length ?? 0;
  return { from: key.length, to: to + restOfLine, lead: "\n", style: "line", indent: "  " };
}

function placeAfter(text: string, nodes: YAMLSeq, last: YAMLMap): NodePlace {
  const [, to] = rangeOf(last);
  if (nodes.flow) return { from: to, to, lead: ", ", style: "brackets", indent: "" };
  const end = lineEnd(text, to);
  // The list begins at its first dash, an item maybe on the line after its own.
  const indent = /^[ \t]*/.exec(text.slice(lineStart(text, rangeOf(nodes)[0])))![0];
  const lead = text.slice(0, end).endsWith("\n") ? "" : "\n";
  return { from: end, to: end, lead, style: last.flow ? "line" : "block", indent };
}

/** The text with the node in its place, and the place of the next one. */
export function putNode(text: string, entry: NodeEntry, place: NodePlace): { text: string; next: NodePlace } {
  const { from, to, lead, style, indent } = place;
  const written = item(entry, indent, style !== "block");
  const before = `${text.slice(0, from)}${lead}${style === "brackets" ? written.slice("- ".length, -1) : written}`;
  const next = { from: before.length, to: before.length, lead: style === "brackets" ? lead : "", style, indent };
  return { text: before + text.slice(to), next };
}

/** Removes the node of this name; `undefined` when there is none. */
export function removeNode(text: string, name: string): string | undefined {
  const document = openDocument(text);
  const nodes = document.get("nodes", true);
  if (!isSeq(nodes)) return undefined;
  const index = nodes.items.findIndex((candidate) => isMap(candidate) && candidate.get("name") === name);
  if (index < 0) return undefined;
  const [from, to] = rangeOf(nodes.items[index] as Node);
  if (!nodes.flow) {
    // Without any item the key would stand for nothing instead of a list.
    const colon = nodes.items.length > 1 ? undefined : colonOf(document, text, "nodes");
    const before = text.slice(0, lineStart(text, from));
    const emptied = colon === undefined ? before : `${before.slice(0, colon)} []${before.slice(colon)}`;
    return emptied + text.slice(lineEnd(text, to));
  }
  const comma = index === 0 ? /^\s*,\s*/.exec(text.slice(to)) : undefined;
  const before = text.slice(0, from);
  return index === 0
    ? before + text.slice(to + (comma?.[0].length ?? 0))
    : before.replace(/,\s*$/, "") + text.slice(to);
}

/** Behind the colon of a key at the top. */
function colonOf(document: Document, text: string, key: string): number {
  const { items } = document.contents as YAMLMap<Node>;
  const pair = items.find((candidate) => isScalar(candidate.key) && candidate.key.value === key)!;
  return text.indexOf(":", rangeOf(pair.key)[1]) + 1;
}

/** `- { name: … }`, or with a line for each key, ended by a newline. */
function item(entry: NodeEntry, indent: string, oneLine: boolean): string {
  const map = new YAMLMap();
  for (const [key, value] of Object.entries(entry)) map.set(key, value);
  map.flow = oneLine;
  return stringify([map], { lineWidth: 0 }).replace(/^(?=.)/gm, indent);
}

export function rangeOf(node: Node): [number, number] {
  return [node.range![0], node.range![1]];
}

export function lineStart(text: string, offset: number): number {
  return text.lastIndexOf("\n", offset - 1) + 1;
}

/** Behind the newline of the line in which a value ends; the value's range may hold that newline already. */
export function lineEnd(text: string, offset: number): number {
  if (text[offset - 1] === "\n") return offset;
  const newline = text.indexOf("\n", offset);
  return newline < 0 ? text.length : newline + 1;
}

export function openDocument(text: string): Document {
  const document = parseDocument(text);
  const [error] = document.errors;
  if (error) throw new Error(`Cannot change the manifest: it is not valid YAML: ${error.message}`);
  return document;
}
