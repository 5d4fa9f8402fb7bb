/**
 * The part of the control interface that is about the cluster that an orchestrator makes.
 *
 *   GET  /v1/cluster                      its members, what stands in the way, what is waited for
 *   GET  /v1/cluster/plan                 what would be done, round by round; nodes are asked for it
 *   GET  /v1/cluster/kubeconfig           `{ kubeconfig }`: kubectl's file for the administrator
 *   POST /v1/cluster/apply                does it now; after `leave`, makes the cluster again
 *   POST /v1/cluster/leave                everybody leaves
 *   POST /v1/cluster/nodes/:node/drain    a member without work, until `join`
 *   POST /v1/cluster/nodes/:node/remove   no member, until `join`
 *   POST /v1/cluster/nodes/:node/join     a member again
 *
 * What changes something is answered when nothing more can be done for the moment: that may take minutes. 409: the manifest has no
 * orchestrator, or the cluster was dissolved.
 */
import type { FastifyInstance } from "fastify";
import type { MemberWish } from "../provision/orchestrator.ts";
import type { ClusterControl } from "./cluster-control.ts";

interface OfNode {
  Params: { node: string };
}

const WISHES: Record<string, MemberWish> = { drain: "drained", remove: "out", join: "in" };

export function addClusterApi(api: FastifyInstance, cluster: ClusterControl): void {
  api.get("/v1/cluster", async () => cluster.view());
  api.get("/v1/cluster/plan", () => cluster.plan());
  api.get("/v1/cluster/kubeconfig", async () => ({ kubeconfig: await cluster.kubeconfig() }));
  api.post("/v1/cluster/apply", () => cluster.apply());
  api.post("/v1/cluster/leave", () => cluster.dissolve());
  for (const [word, wish] of Object.entries(WISHES)) {
    api.post<OfNode>(`/v1/cluster/nodes/:node/${word}`, ({ params }) => cluster.setWish(params.node, wish));
  }
}
