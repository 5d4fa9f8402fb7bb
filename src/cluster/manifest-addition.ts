/** One node more in a manifest that is known to be right, at the cost of that node. */
import { MANIFEST_BYTES_MAX } from "../limits.ts";
import { type Manifest, type ManifestNode, type ManifestSurroundings, withNode } from "./manifest.ts";
import { checkManifest, uniqueValues } from "./manifest-checks.ts";
import { type NodeEntry, type NodePlace, putNode } from "./manifest-edit.ts";
import { nodeSchema } from "./manifest-schema.ts";

/** A manifest without a problem, with what its next node needs. */
export interface CheckedManifest {
  text: string;
  manifest: Manifest;
  /** What the text says, before defaults and normal forms. */
  data: unknown;
  /** `undefined` where a node can only be added by hand. */
  nextNode: NodePlace | undefined;
  /** Made at the first addition, and then kept. */
  index?: NodeIndex;
}

/** What the check of one node more needs of all the others. */
interface NodeIndex {
  /** One too many only means that the text is read. */
  uniqueValues: Set<string>;
  /** Nodes that name files or images of their own, which may be gone since. */
  withFiles: readonly object[];
  /** That of the surroundings in which all were checked. */
  interfaceSubnet: string | undefined;
}

function indexOf({ nodes }: { nodes?: readonly object[] }, { interfaceSubnet }: ManifestSurroundings): NodeIndex {
  const all = nodes ?? [];
  return {
    uniqueValues: new Set(all.flatMap(uniqueValues)),
    withFiles: all.filter((node) => "files" in node || "image" in node),
    interfaceSubnet,
  };
}

/**
 * What reading the edited text would give, without reading it as YAML. `undefined` when something is wrong with it: what,
 * and in which line, only the text can tell.
 */
export function extendManifest(
  { text, manifest, data, nextNode, index }: CheckedManifest,
  entry: NodeEntry,
  surroundings: ManifestSurroundings,
): (CheckedManifest & { added: ManifestNode }) | undefined {
  const node = nodeSchema.safeParse(entry);
  if (!node.success || !nextNode) return undefined;
  // The data is that of a manifest which was found right, so its nodes are objects.
  const checked = data as { nodes?: readonly object[] };
  if (!index && checkManifest(withNode(data, entry), surroundings).length > 0) return undefined;
  const now = index ?? indexOf(checked, surroundings);
  if (now.interfaceSubnet !== surroundings.interfaceSubnet) return undefined;
  const values = uniqueValues(entry);
  if (values.some((value) => now.uniqueValues.has(value))) return undefined;
  if (checkManifest({ ...checked, nodes: [...now.withFiles, entry] }, surroundings).length > 0) return undefined;
  const edited = putNode(text, entry, nextNode);
  if (Buffer.byteLength(edited.text) > MANIFEST_BYTES_MAX) return undefined;
  for (const value of values) now.uniqueValues.add(value);
  return {
    text: edited.text,
    manifest: { ...manifest, nodes: [...manifest.nodes, node.data] },
    data: withNode(data, entry),
    nextNode: edited.next,
    index: now,
    added: node.data,
  };
}
