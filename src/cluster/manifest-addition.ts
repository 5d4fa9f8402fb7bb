/** One node more in a manifest that is known to be right, at the cost of that node. */
import { MANIFEST_BYTES_MAX } from "../limits.ts";
import { type Manifest, type ManifestNode, type ManifestSurroundings, withNode } from "./manifest.ts";
import { checkManifest } from "./manifest-checks.ts";
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
}

/**
 * What reading the edited text would give, without reading it as YAML. `undefined` when something is wrong with it: what,
 * and in which line, only the text can tell.
 */
export function extendManifest(
  { text, manifest, data, nextNode }: CheckedManifest,
  entry: NodeEntry,
  surroundings: ManifestSurroundings,
): (CheckedManifest & { added: ManifestNode }) | undefined {
  const node = nodeSchema.safeParse(entry);
  if (!node.success || !nextNode) return undefined;
  const extended = withNode(data, entry);
  // Of all nodes: one that is fine by itself may collide with any other, or lack a file since.
  if (checkManifest(extended, surroundings).length > 0) return undefined;
  const edited = putNode(text, entry, nextNode);
  if (Buffer.byteLength(edited.text) > MANIFEST_BYTES_MAX) return undefined;
  return {
    text: edited.text,
    manifest: { ...manifest, nodes: [...manifest.nodes, node.data] },
    data: extended,
    nextNode: edited.next,
    added: node.data,
  };
}
