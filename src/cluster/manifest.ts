/** Reads `bramble.yaml`: all problems at once, each with its line, column and a hint. */
import { type Document, isScalar, LineCounter, parseDocument, visit } from "yaml";
import type { z } from "zod";
import { MANIFEST_BYTES_MAX } from "../limits.ts";
import { checkManifest, type ManifestSurroundings } from "./manifest-checks.ts";
import { locate } from "./manifest-place.ts";
import { type LocatedProblem, type ManifestPath, type ManifestProblem, suggest } from "./manifest-problem.ts";
import { type Manifest, manifestJsonSchema, manifestSchema } from "./manifest-schema.ts";

export { isPublicKey, type ManifestSurroundings } from "./manifest-checks.ts";
export { parseSubnet } from "./manifest-plain.ts";
export { formatProblem, type ManifestProblem } from "./manifest-problem.ts";
export {
  type ImageReference,
  type Manifest,
  type ManifestFile,
  type ManifestNode,
  manifestJsonSchema,
  type RootMode,
} from "./manifest-schema.ts";

/** `data` is what the text says, before defaults and normal forms. */
export type ManifestResult =
  | { ok: true; manifest: Manifest; data: unknown }
  | { ok: false; problems: ManifestProblem[] };

/** Values that are text even when they look like numbers: a serial of digits only, permissions in octal. */
const TEXT_KEYS = new Set(["cluster", "name", "mac", "serial", "model", "mode", "content", "sha256"]);

/** A manifest's text, read as YAML: to be checked, and to be edited, without being read again. */
export interface OpenedManifest {
  text: string;
  document: Document;
  counter: LineCounter;
}

export function parseManifest(text: string, surroundings: ManifestSurroundings): ManifestResult {
  const opened = openManifest(text);
  return "problems" in opened ? refuse(opened.problems) : checkOpened(opened, surroundings);
}

export function openManifest(text: string): OpenedManifest | { problems: ManifestProblem[] } {
  if (Buffer.byteLength(text) > MANIFEST_BYTES_MAX) {
    return { problems: [wholeFile(`The manifest is larger than ${MANIFEST_BYTES_MAX} bytes`)] };
  }
  const counter = new LineCounter();
  const document = parseDocument(text, { lineCounter: counter, prettyErrors: false, logLevel: "error" });
  if (document.errors.length > 0) {
    const problems = document.errors.map((error) => {
      const { line, col } = counter.linePos(error.pos[0]);
      return { line, column: col, path: "", message: `Not valid YAML: ${error.message}` };
    });
    return { problems };
  }
  keepText(document);
  return { text, document, counter };
}

/** With `added`: as it will be with this node at the end of its list. Problems of that node are shown at the list. */
export function checkOpened(
  { document, counter }: OpenedManifest,
  surroundings: ManifestSurroundings,
  added?: object,
): ManifestResult {
  const data = toData(document);
  if (data.problem) return refuse([data.problem]);
  const value = added ? withNode(data.value, added) : data.value;
  const shape = manifestSchema.safeParse(value ?? {}, { reportInput: true });
  const found = [
    ...(shape.success ? [] : shape.error.issues.flatMap((issue) => fromIssue(issue, []))),
    ...checkManifest(value, surroundings),
  ];
  if (shape.success && found.length === 0) return { ok: true, manifest: shape.data, data: value };
  const problems = found.map((problem) => locate(problem, document, counter));
  return refuse(problems.sort((a, b) => a.line - b.line || a.column - b.column));
}

/** The data of a manifest with one node more. */
export function withNode(value: unknown, added: object): unknown {
  const manifest = typeof value === "object" ? value : {};
  const nodes = (manifest as { nodes?: unknown } | null)?.nodes;
  return { ...manifest, nodes: [...(Array.isArray(nodes) ? nodes : []), added] };
}

function refuse(problems: ManifestProblem[]): ManifestResult {
  return { ok: false, problems };
}

function wholeFile(message: string): ManifestProblem {
  return { line: 1, column: 1, path: "", message };
}

function keepText(document: Document): void {
  visit(document, {
    Pair(_, { key, value }) {
      // Numbers as keys (DHCP options) are found by their text, as in any map of keys.
      if (isScalar(key) && typeof key.value === "number" && key.source) key.value = key.source;
      const wanted = isScalar(key) && TEXT_KEYS.has(String(key.value));
      if (wanted && isScalar(value) && typeof value.value === "number" && value.source) value.value = value.source;
    },
  });
}

function toData(document: Document): { value?: unknown; problem?: ManifestProblem } {
  try {
    return { value: document.toJS() };
  } catch (error) {
    // Aliases that multiply beyond the parser's limit.
    return { problem: wholeFile(`Not valid YAML: ${(error as Error).message}`) };
  }
}

function fromIssue(issue: z.core.$ZodIssue, above: ManifestPath): LocatedProblem[] {
  const path = [...above, ...issue.path.map((part) => (typeof part === "symbol" ? String(part) : part))];
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => {
        const hint = suggest(key, knownKeys(path)) ?? `Known here: ${knownKeys(path).join(", ")}`;
        return { path: [...path, key], message: `Unknown key "${key}"`, hint, atKey: true };
      });
    case "invalid_value": {
      const values = issue.values.map(String);
      const hint = typeof issue.input === "string" ? suggest(issue.input, values) : undefined;
      return [{ path, message: `Expected one of ${values.join(", ")}`, ...(hint && { hint }) }];
    }
    case "invalid_type":
      return [{ path, message: issue.input === undefined ? missing(path) : wrongType(issue) }];
    case "invalid_union": {
      // The alternative that is wrong inside (an object with a bad key) says more than "none fits".
      const inner = issue.errors.find((issues) =>
        issues.some((candidate) => candidate.path.length > 0 || candidate.code === "unrecognized_keys"),
      );
      return inner ? inner.flatMap((candidate) => fromIssue(candidate, path)) : [{ path, message: issue.message }];
    }
    case "invalid_key":
      return [{ path, message: issue.issues[0]?.message ?? issue.message, atKey: true }];
    case "too_big":
    case "too_small":
      return [{ path, message: issue.message.startsWith("Expected") ? issue.message : outOfBounds(issue) }];
    default:
      return [{ path, message: issue.message }];
  }
}

function missing(path: ManifestPath): string {
  return `The key "${path.at(-1)}" is missing`;
}

const TYPE_WORDS: Readonly<Record<string, string>> = {
  string: "text",
  object: "a map of keys and values",
  record: "a map of keys and values",
  array: "a list",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
};

function wrongType(issue: z.core.$ZodIssueInvalidType): string {
  if (issue.message.startsWith("Expected")) return issue.message;
  return `Expected ${TYPE_WORDS[issue.expected] ?? issue.expected}`;
}

function outOfBounds(issue: z.core.$ZodIssueTooBig | z.core.$ZodIssueTooSmall): string {
  const bound = issue.code === "too_big" ? `at most ${issue.maximum}` : `at least ${issue.minimum}`;
  return `Expected ${bound}${issue.origin === "string" ? " characters" : ""}`;
}

interface SchemaNode {
  properties?: Record<string, SchemaNode>;
  items?: SchemaNode;
  anyOf?: SchemaNode[];
}

let jsonSchema: SchemaNode | undefined;

/** The keys that the schema knows at a place, from the same schema that editors get: made once, for it takes milliseconds. */
function knownKeys(path: ManifestPath): string[] {
  jsonSchema ??= manifestJsonSchema() as SchemaNode;
  let nodes: SchemaNode[] = [jsonSchema];
  for (const part of path) {
    const open = nodes.flatMap((node) => [node, ...(node.anyOf ?? [])]);
    nodes = open.flatMap((node) => (typeof part === "number" ? node.items : node.properties?.[part]) ?? []);
  }
  return nodes.flatMap((node) => [node, ...(node.anyOf ?? [])]).flatMap((node) => Object.keys(node.properties ?? {}));
}
