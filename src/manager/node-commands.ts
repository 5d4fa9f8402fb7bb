/** What is asked of one node of a manager that serves: its plan, and to drop what it wrote. */
import { planToJson } from "../cluster/plan-json.ts";
import type { LiveManifest } from "./live-manifest.ts";
import { RequestError } from "./request-error.ts";
import type { Serving } from "./serving.ts";

/** Rejects with `RequestError` when there is no such node. */
export async function planOf(name: string, { nodes }: Serving): Promise<unknown> {
  const plan = nodes.plan(name);
  if (!plan) throw new RequestError(404, `Cannot show the plan of ${name}: the manifest has no node of that name`);
  return { ...planToJson(plan), changedByNode: await nodes.overriddenPaths(name) };
}

/** Rejects with `RequestError` when there is no such node. */
export async function resetNode(
  name: string,
  { nodes, layers }: Serving,
  manifest: LiveManifest,
): Promise<{ droppedBytes: number }> {
  if (!nodes.plan(name)) throw new RequestError(404, `Cannot reset ${name}: the manifest has no node of that name`);
  return manifest.inTurn(async () => {
    const dropped = await layers.reset(name);
    // An image that the node could not be moved to, because of what it had written, fits now.
    await nodes.apply(manifest.loaded);
    return dropped;
  });
}
