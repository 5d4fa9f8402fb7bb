/** Labels that Bramble gives to nodes of a Swarm: for `docker service create --constraint node.labels.bramble.model==4`. */
import type { DesiredMember } from "../orchestrator.ts";
import { NODE_LABEL, type SwarmEntry } from "./observed.ts";

const PREFIX = "bramble.";
/** Who drained it: what somebody else did is left as it is. */
export const DRAINED_LABEL = "bramble.drained";

/** What must change, with `undefined` for what goes; others' labels are left alone. */
export function labelChanges(member: DesiredMember, entry: SwarmEntry): Record<string, string | undefined> {
  const wanted = labelsOf(member, entry);
  const gone = Object.keys(entry.labels).filter((key) => key.startsWith(PREFIX) && wanted[key] === undefined);
  const changed = Object.entries(wanted).filter(([key, value]) => entry.labels[key] !== value);
  return Object.fromEntries([...changed, ...gone.map((key) => [key, undefined] as const)]);
}

function labelsOf({ name, wish, facts: { model, serial, role } }: DesiredMember, { memoryBytes }: SwarmEntry) {
  const labels: Record<string, string> = {
    [NODE_LABEL]: name,
    ...(model !== undefined && { [`${PREFIX}model`]: model }),
    ...(serial !== undefined && { [`${PREFIX}serial`]: serial }),
    ...(role !== undefined && { [`${PREFIX}role`]: role }),
    ...(memoryBytes !== undefined && { [`${PREFIX}memory`]: memorySize(memoryBytes) }),
    ...(wish === "drained" && { [DRAINED_LABEL]: "yes" }),
  };
  return labels;
}

/** As boards are sold: what Linux has is less by what the kernel and the firmware keep. */
export function memorySize(bytes: number): string {
  const mib = 2 ** Math.ceil(Math.log2(bytes / 1024 / 1024));
  return mib >= 1024 ? `${mib / 1024}GiB` : `${mib}MiB`;
}
