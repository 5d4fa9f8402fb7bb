/**
 * Changes the text of a manifest as its owner would: only the lines concerned, so that comments, order and style of
 * everything else stay to the byte.
 */
import { type Document, isMap, isScalar, isSeq, type Node, parseDocument, stringify, YAMLMap } from "yaml";

export interface NodeEntry {
  name: string;
  mac?: string;
  serial?: string;
  address?: string;
  model?: string;
}

/**
 * Adds a node at the end of the list, in the style of the last one there. The text must be valid YAML; `document` is it
 * as it was read before, if it was.
 */
export function addNode(text: string, entry: NodeEntry, document = open(text)): string {
  const nodes = document.get("nodes", true);
  if (!document.has("nodes"))
    return `${text}${text === "" || text.endsWith("\n") ? "" : "\n"}nodes:\n${item(entry, "  ", true)}`;
  const last = isSeq(nodes) ? nodes.items.at(-1) : undefined;
  if (!isSeq(nodes) || !isMap(last)) {
    const [from, to] = rangeOf(nodes as Node);
    // An empty value lies right behind its colon, an empty list one space further on.
    return `${text.slice(0, from).trimEnd()}\n${item(entry, "  ", true)}${text.slice(to).replace(/^[ \t]*\n/, "")}`;
  }
  const [from, to] = rangeOf(last);
  if (nodes.flow) return `${text.slice(0, to)}, ${item(entry, "", true).slice("- ".length, -1)}${text.slice(to)}`;
  const end = lineEnd(text, to);
  const before = text.slice(0, end);
  const indent = /^[ \t]*/.exec(text.slice(lineStart(text, from)))![0];
  return `${before}${before.endsWith("\n") ? "" : "\n"}${item(entry, indent, last.flow ?? false)}${text.slice(end)}`;
}

/** Removes the node of this name; `undefined` when there is none. */
export function removeNode(text: string, name: string): string | undefined {
  const document = open(text);
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

function rangeOf(node: Node): [number, number] {
  return [node.range![0], node.range![1]];
}

function lineStart(text: string, offset: number): number {
  return text.lastIndexOf("\n", offset - 1) + 1;
}

/** Behind the newline of the line in which a value ends; the value's range may hold that newline already. */
function lineEnd(text: string, offset: number): number {
  if (text[offset - 1] === "\n") return offset;
  const newline = text.indexOf("\n", offset);
  return newline < 0 ? text.length : newline + 1;
}

function open(text: string): Document {
  const document = parseDocument(text);
  const [error] = document.errors;
  if (error) throw new Error(`Cannot change the manifest: it is not valid YAML: ${error.message}`);
  return document;
}
