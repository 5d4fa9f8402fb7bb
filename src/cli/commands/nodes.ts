import type { Command } from "commander";
import type { NodeEntry } from "../../cluster/manifest-edit.ts";
import { apiOf, globalOptions, loadManifestOf, printJson } from "../context.ts";
import { addNode, removeNode } from "../manifest-changes.ts";
import { formatBytes, formatTable } from "../table.ts";
import { addBoardCommands } from "./node-boards.ts";
import { addLayerCommands } from "./node-layers.ts";

export function addNodesCommands(bramble: Command): void {
  const nodes = bramble
    .command("nodes")
    .description("list, add, adopt, replace, remove, reset, snapshot and clone nodes");
  nodes
    .command("list", { isDefault: true })
    .description("the nodes of the manifest")
    .action((_, command: Command) => listNodes(command));
  nodes
    .command("add <name>")
    .description("add a node to the manifest; a running manager takes it up at once")
    .option("--mac <address>", "its Ethernet address")
    .option("--serial <hex>", "its serial number")
    .option("--address <ipv4>", "the address to give it (dhcp: server)")
    .option("--model <model>", "4, 5, 3b+, cm4 …")
    .action(async (name: string, entry: Omit<NodeEntry, "name">, command: Command) => {
      const { mac, serial, address, model } = entry;
      const given = Object.entries({ mac, serial, address, model }).filter(([, value]) => value !== undefined);
      const isServed = await addNode(command, { name, ...Object.fromEntries(given) });
      console.log(
        `${name} is in the manifest${isServed ? " and is served" : ""}; what it writes will be kept apart from all others`,
      );
    });
  nodes
    .command("remove <name>")
    .description(
      "take a node out of the manifest; what it wrote stays for when it comes back: reset it first to drop that",
    )
    .action(async (name: string, _, command: Command) => {
      const wasMember = await removeNode(command, name);
      console.log(`${name} is no longer in the manifest`);
      if (wasMember) {
        console.log(
          `It was a member of the cluster: its work is taken away now, and the cluster forgets it when it is switched off ("bramble cluster status")`,
        );
      }
    });
  addBoardCommands(nodes);
  addLayerCommands(nodes);
  nodes
    .command("reset <name>")
    .description("drop everything the node wrote: it boots from the image as new")
    .action(async (name: string, _, command: Command) => {
      const { droppedBytes } = await apiOf(command).post<{ droppedBytes: number }>(
        `/v1/nodes/${encodeURIComponent(name)}/reset`,
      );
      if (globalOptions(command).json) printJson({ node: name, droppedBytes });
      else console.log(`${name} is as new: ${formatBytes(droppedBytes)} dropped. Restart it if it is running`);
    });
}

async function listNodes(command: Command): Promise<void> {
  const { manifest } = await loadManifestOf(command);
  if (globalOptions(command).json) {
    printJson(manifest.nodes);
    return;
  }
  const rows = manifest.nodes.map((node) => [
    node.name,
    node.mac ?? "-",
    node.serial ?? "-",
    node.model ?? "-",
    node.address ?? "-",
    node.root ?? manifest.root,
  ]);
  console.log(formatTable(["NAME", "MAC", "SERIAL", "MODEL", "ADDRESS", "ROOT"], rows));
}
