/** What to do when no manager lists members: there is no swarm, or it is lost, or its managers are off. */
import type { Draft } from "./draft.ts";
import { managersAbsent, quorumLost } from "./problems.ts";

/** After a power cut managers come up one after the other: so long nothing is wrong. */
const STARTING_S = 600;

export function planFounding(draft: Draft): void {
  const swarms = draft.members.flatMap((member) => {
    const local = draft.usableSwarm(member);
    return local ? [{ member, local }] : [];
  });
  for (const { member, local } of swarms) {
    if (member.wish === "out" && local.state !== "inactive") draft.leave(member, local);
  }
  const wanted = swarms.filter(({ member }) => member.wish !== "out");
  const { managers } = draft;
  const [first] = managers;
  if (first === undefined) return;
  const alone = wanted.filter(({ local }) => local.isManager);
  if (alone.length > 0) {
    const words = alone.find(({ local }) => local.words)?.local.words ?? "";
    const names = alone.map(({ member }) => member.name);
    if (isStarting(draft)) {
      draft.waiting.push(`${names.join(", ")} of the swarm's managers are up, which are not more than half`);
    } else if (names.length > managers.length / 2) {
      // Seen with Docker 20.10: for half a minute after the leader lost its power, and longer where they are slow.
      const remedy = `if that lasts for minutes, "docker node ls" on ${names[0]} says why`;
      draft.waiting.push(`${names.join(", ")} choose a new leader of the swarm${words && ` (${words})`}; ${remedy}`);
    } else {
      draft.problems.push(quorumLost(managers, names, words));
    }
    return;
  }
  const answering = new Set(wanted.map(({ member }) => member.name));
  const absent = managers.filter(({ name, hasJoined }) => hasJoined && !answering.has(name)).map(({ name }) => name);
  if (absent.length > 0) {
    if (isStarting(draft)) draft.waiting.push(`${absent.join(", ")}, which managed the swarm, cannot be asked yet`);
    else draft.problems.push(managersAbsent(absent));
    return;
  }
  const founder = wanted.find(({ member }) => member === first);
  if (founder === undefined) {
    draft.waiting.push(`the swarm is made by ${first.name}, its first manager, which is not ready for that`);
    return;
  }
  for (const { member, local } of wanted) {
    if (local.state !== "inactive") draft.leaveForeign(member, local);
  }
  const { name, address } = first;
  if (founder.local.state !== "inactive" || address === undefined) return;
  draft.add({ kind: "init", node: name, title: `make a swarm with ${name} as its first manager`, address });
}

function isStarting({ observed }: Draft): boolean {
  return [...observed.hosts.values()].every((host) => host.kind === "silent" || host.uptimeS < STARTING_S);
}
