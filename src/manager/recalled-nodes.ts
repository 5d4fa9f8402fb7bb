import type { NodeDirectory } from "../boot/node-directory.ts";
import type { ClusterStatus } from "../cluster/status.ts";

/** What was known of the nodes when the last manager ended: they may have been running ever since. */
export function recallNodes(directory: NodeDirectory, { nodes }: ClusterStatus): void {
  for (const node of directory.nodes) {
    const address = nodes.get(node.name)?.address;
    // Weak, since the address may be somebody else's by now: what is learned from MACs displaces it.
    if (address) directory.learnAddress(address, node, "serial");
  }
}
