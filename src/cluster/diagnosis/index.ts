/**
 * From the feed of events to the name of what is wrong: a table of causes over facts. The first row whose evidence is
 * there is the diagnosis, so rows stand from the special to the general.
 */
import { type BootEvent, isUp } from "../event.ts";
import type { Diagnosis, LanCause, NodeCause, Surroundings } from "./cause.ts";
import { DHCP_CAUSES } from "./dhcp-causes.ts";
import type { Attempt, ClusterFacts, NodeFacts } from "./facts.ts";
import { FILE_CAUSES, SILENCE_CAUSES } from "./file-causes.ts";
import { KERNEL_CAUSES, RESTART_CAUSES } from "./kernel-causes.ts";
import { LAN_CAUSES } from "./lan-causes.ts";
import { foldEvents } from "./lan-reducer.ts";
import { OTHER_SERVER_CAUSES } from "./other-server-causes.ts";
import { ROOT_CAUSES } from "./root-causes.ts";
import { TRANSFER_CAUSES } from "./transfer-causes.ts";

export type { Diagnosis } from "./cause.ts";
export { LAN_CAUSES };

/** What one boot tells. What the plan says comes first: it is known before the board is. */
const PRESENT_CAUSES: readonly NodeCause[] = [...KERNEL_CAUSES, ...OTHER_SERVER_CAUSES, ...DHCP_CAUSES];
const LOADING_CAUSES: readonly NodeCause[] = [...TRANSFER_CAUSES, ...FILE_CAUSES];

const GENERAL_CAUSES: readonly NodeCause[] = [...RESTART_CAUSES, ...ROOT_CAUSES, ...SILENCE_CAUSES];

/** Of a node, in the order in which they are looked for. */
export const NODE_CAUSES: readonly NodeCause[] = [...PRESENT_CAUSES, ...LOADING_CAUSES, ...GENERAL_CAUSES];

/** The node's diagnosis, or with no name the network's, as far as these events tell. Pure. */
export function diagnose(events: Iterable<BootEvent>, nowMs: number, node?: string): Diagnosis | undefined {
  const facts = foldEvents(events);
  return node === undefined ? diagnoseLan(facts, nowMs) : diagnoseNode(facts, node, nowMs);
}

export function diagnoseNode(facts: ClusterFacts, name: string, nowMs: number): Diagnosis | undefined {
  const node = facts.nodes.get(name);
  if (node === undefined) return undefined;
  const seen: Surroundings = { nowMs, lan: facts.lan, nodes: facts.nodes };
  const find = (causes: readonly NodeCause[], facts = node) => first(causes, (cause) => cause.find(facts, seen));
  const { lastAttempt } = node;
  return (
    find(PRESENT_CAUSES) ??
    find(LOADING_CAUSES) ??
    (lastAttempt && !isFurther(node, lastAttempt)
      ? find(LOADING_CAUSES, { ...node, attempt: lastAttempt })
      : undefined) ??
    find(GENERAL_CAUSES)
  );
}

/** The boot under way has overtaken the one before: what that ended with is over. */
function isFurther({ attempt, status }: NodeFacts, last: Attempt): boolean {
  const loaded = ({ files }: Attempt) => [...files.values()].filter(({ complete }) => complete).length;
  return isUp(status.stage) || status.stage === "root" || loaded(attempt) > loaded(last);
}

export function diagnoseLan({ lan, nodes }: ClusterFacts, nowMs: number): Diagnosis | undefined {
  return first(LAN_CAUSES, (cause) => cause.find(lan, { nowMs, nodes }));
}

function first<Cause extends NodeCause | LanCause>(
  causes: readonly Cause[],
  find: (cause: Cause) => string | undefined,
): Diagnosis | undefined {
  for (const cause of causes) {
    const evidence = find(cause);
    if (evidence !== undefined) return { cause: cause.id, title: cause.title, evidence, remedy: cause.remedy };
  }
  return undefined;
}
