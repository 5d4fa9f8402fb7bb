/** Who the node is: its name and its machine id. */
import type { GeneratedFile } from "../generated-file.ts";
import { networkOfNode } from "../node-network.ts";
import { type GenerationInput, imageLines, symlink, textFile } from "./placing.ts";

const REASON = "node identity";
const DEFAULT_HOSTS = ["127.0.0.1\tlocalhost", "::1\t\tlocalhost ip6-localhost ip6-loopback"];

export function identityFiles(input: GenerationInput): GeneratedFile[] {
  const { node, root, secrets } = input;
  const machineId = textFile("/etc/machine-id", `${secrets.machineId}\n`, REASON, { mode: 0o444 });
  // A copy of its own, left over from the image's making, would make all nodes the same to D-Bus.
  const dbus = root.exists("/var/lib/dbus/machine-id")
    ? [symlink("/var/lib/dbus/machine-id", "/etc/machine-id", REASON)]
    : [];
  return [
    textFile("/etc/hostname", `${node.name}\n`, REASON),
    textFile("/etc/hosts", hosts(input), REASON),
    machineId,
    ...dbus,
  ];
}

/**
 * hosts(5): the image's own lines, and this node at 127.0.1.1. Other nodes are left to DNS: their names here would make
 * every node's plan change with every node added.
 */
function hosts({ manifest, node, root }: GenerationInput): string {
  const { domain } = networkOfNode(manifest, node);
  const names = domain ? `${node.name}.${domain} ${node.name}` : node.name;
  const lines = imageLines(root, "/etc/hosts");
  const kept = (lines.length > 0 ? lines : DEFAULT_HOSTS).filter((line) => !/^\s*127\.0\.1\.1\s/.test(line));
  return [...kept, `127.0.1.1\t${names}`, ""].join("\n");
}
