/** The orchestrator that a manifest names, ready to go round with. */
import type { Manifest } from "../cluster/manifest.ts";
import type { Clock, RemoteShell } from "../ports.ts";
import { type ClusterRounds, Rounds } from "./rounds.ts";
import { Swarm } from "./swarm/swarm.ts";

/** `undefined`: none, or one of which only the preparation of nodes is there. */
export function roundsFor(
  { orchestrator }: Pick<Manifest, "orchestrator">,
  shell: RemoteShell,
  clock: Pick<Clock, "unixMs" | "monotonicMs">,
): ClusterRounds | undefined {
  switch (orchestrator?.kind) {
    case "swarm":
      return new Rounds(new Swarm(clock), shell, clock);
    case "k3s":
    case "kubeadm":
    case undefined:
      return undefined;
  }
}
