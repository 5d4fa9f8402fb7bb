/** `orchestrator:` of the manifest: which program makes one cluster of the nodes, and who is what in it. */
import { z } from "zod";
import { k3s, kubeadm } from "./manifest-kubernetes.ts";

const members = {
  managers: z.array(z.string()).min(1).exactOptional().describe("Names of nodes; the others are workers"),
};

const swarm = z.strictObject({ kind: z.literal("swarm"), ...members });

export const orchestrator = z
  .discriminatedUnion("kind", [swarm, k3s, kubeadm], { error: "Expected kind swarm, k3s or kubeadm" })
  .describe("What the nodes are joined to: Docker Swarm or Kubernetes");
