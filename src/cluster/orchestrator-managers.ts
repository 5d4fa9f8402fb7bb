/** Which nodes manage the cluster that an orchestrator makes, where the manifest does not say. */
import type { Manifest } from "./manifest-schema.ts";

/** One that fails takes the cluster with it; two are worse than one, for both must run; of three one may fail. */
const MANAGERS_DEFAULT = 3;

/** Names, in the manifest's order. Empty without an orchestrator. */
export function managersOf(manifest: Pick<Manifest, "orchestrator" | "nodes" | "root" | "storage">): readonly string[] {
  if (manifest.orchestrator === undefined) return [];
  const { managers } = manifest.orchestrator;
  if (managers !== undefined) return managers;
  const able = manifest.nodes.filter((node) => keepsItsState(manifest, node)).map(({ name }) => name);
  return able.slice(0, able.length < MANAGERS_DEFAULT ? 1 : MANAGERS_DEFAULT);
}

/** Whether what a node knows as a manager outlives its next boot. Works on plain data, too, that may have any shape. */
export function keepsItsState(manifest: StateKeeping, node: StateKeeping): boolean {
  const storage = node.storage ?? manifest.storage;
  const isInMemory = typeof storage === "object" && storage !== null && "kind" in storage && storage.kind === "memory";
  return (node.root ?? manifest.root ?? "persistent") === "persistent" && !isInMemory;
}

interface StateKeeping {
  root?: unknown;
  storage?: unknown;
}
