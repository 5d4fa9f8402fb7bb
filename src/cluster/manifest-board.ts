/**
 * Gives a node of a manifest another board: its `mac`, `serial` and `model` are changed in the text where they stand, and
 * everything else, comments and order too, stays to the byte.
 */
import { isDeepStrictEqual } from "node:util";
import { type Document, isMap, isScalar, isSeq, type Node, type Pair, stringify, type YAMLMap } from "yaml";
import { lineEnd, lineStart, openDocument, rangeOf } from "./manifest-edit.ts";

/** What tells a board from others; at least one of `mac` and `serial`. */
export interface BoardIdentity {
  mac?: string;
  serial?: string;
  /** Absent: what the manifest says of it stays. */
  model?: string;
}

const IDENTITY_KEYS = ["mac", "serial"] as const;

interface Edit {
  from: number;
  to: number;
  text: string;
}

/**
 * `undefined` when there is no node of this name. Throws when it is written in a way that cannot be changed. What `board`
 * does not name of `mac` and `serial` goes: it was the old board's.
 */
export function replaceBoard(text: string, name: string, board: BoardIdentity): string | undefined {
  const document = openDocument(text);
  const expected = wanted(document, name, board);
  if (!expected) return undefined;
  const node = findNode(document, name);
  const edited = node && applyEdits(text, editsOf(text, node, board));
  if (edited !== undefined && isDeepStrictEqual(dataOf(edited), expected)) return edited;
  throw new Error(
    `Cannot change the manifest: ${name} is written with aliases or in another way that cannot be edited; change its mac, serial and model by hand`,
  );
}

function findNode(document: Document, name: string): YAMLMap<Node, Node | null> | undefined {
  const nodes = document.get("nodes", true);
  const found = isSeq(nodes) ? nodes.items.find((item) => isMap(item) && item.get("name") === name) : undefined;
  return found as YAMLMap<Node, Node | null> | undefined;
}

/** What the edited text is to say; `undefined` when there is no node of this name. */
function wanted(document: Document, name: string, { mac, serial, model }: BoardIdentity): unknown {
  const data: unknown = document.toJS();
  if (!isPlain(data) || !Array.isArray(data.nodes)) return undefined;
  const isMeant = (node: unknown) => isPlain(node) && node.name === name;
  if (!data.nodes.some(isMeant)) return undefined;
  const nodes = data.nodes.map((node) => {
    if (!isMeant(node)) return node;
    const { mac: _oldMac, serial: _oldSerial, ...rest } = node;
    return { ...rest, ...(mac && { mac }), ...(serial && { serial }), ...(model && { model }) };
  });
  return { ...data, nodes };
}

function dataOf(text: string): unknown {
  try {
    return openDocument(text).toJS();
  } catch {
    // What was taken out had a name that is used elsewhere.
    return undefined;
  }
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

type NodePair = Pair<Node, Node | null>;

function editsOf(text: string, node: YAMLMap<Node, Node | null>, board: BoardIdentity): Edit[] {
  const pairOf = (key: string) => node.items.find((pair) => isScalar(pair.key) && pair.key.value === key);
  const gone = IDENTITY_KEYS.filter((key) => board[key] === undefined && pairOf(key)).map((key) => pairOf(key)!);
  const edits: Edit[] = [];
  for (const key of [...IDENTITY_KEYS, "model"] as const) {
    const value = board[key];
    if (value === undefined) continue;
    const pair = pairOf(key) ?? (key === "model" ? undefined : gone.shift());
    if (pair) edits.push({ ...spanOf(pair), text: pairText(key, value) });
    else edits.push(insertion(text, node, pairText(key, value)));
  }
  return [...edits, ...gone.map((pair) => removal(text, node, pair))];
}

function pairText(key: string, value: string): string {
  return `${key}: ${stringify(value, { lineWidth: 0 }).trimEnd()}`;
}

function spanOf({ key, value }: NodePair): { from: number; to: number } {
  return { from: rangeOf(key)[0], to: rangeOf(value ?? key)[1] };
}

/** Behind the name, in the style of the node. */
function insertion(text: string, node: YAMLMap<Node, Node | null>, pair: string): Edit {
  const name = node.items.find(({ key }) => isScalar(key) && key.value === "name")!;
  const { from, to } = spanOf(name);
  if (node.flow) return { from: to, to, text: `, ${pair}` };
  const end = lineEnd(text, to);
  const newline = text.slice(0, end).endsWith("\n") ? "" : "\n";
  const indent = " ".repeat(from - lineStart(text, from));
  return { from: end, to: end, text: `${newline}${indent}${pair}\n` };
}

function removal(text: string, { items, flow }: YAMLMap<Node, Node | null>, pair: NodePair): Edit {
  const index = items.indexOf(pair);
  const { from, to } = spanOf(pair);
  const next = items[index + 1];
  // The first pair shares its line with the dash or the bracket, which the next one takes over.
  if (index === 0 && next) return { from, to: spanOf(next).from, text: "" };
  const before = items[index - 1];
  if (flow && before) return { from: spanOf(before).to, to, text: "" };
  return { from: lineStart(text, from), to: lineEnd(text, to), text: "" };
}

function applyEdits(text: string, edits: readonly Edit[]): string {
  // What is taken out at a place goes before what is put in there, or it would take that.
  const lastFirst = edits.toSorted((a, b) => b.from - a.from || b.to - a.to);
  return lastFirst.reduce((edited, { from, to, text: put }) => edited.slice(0, from) + put + edited.slice(to), text);
}
