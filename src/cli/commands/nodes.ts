import { realpathSync, statSync } from "node:fs";
import type { Command } from "commander";
import { type NodeEntry, removeNode } from "../../cluster/manifest-edit.ts";
import { addNodeToManifest, loadManifestText, ManifestError, readManifestText } from "../../manager/manifest-file.ts";
import { writeFileAtomically } from "../../system/atomic-file.ts";
import { apiOf, globalOptions, loadManifestOf, printJson } from "../context.ts";
import { formatBytes, formatTable } from "../table.ts";
import { UserError } from "../user-error.ts";

export function addNodesCommands(bramble: Command): void {
  const nodes = bramble.command("nodes").description("list, add, remove and reset nodes");
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
      await editManifest(command, `add ${name}`, (path, text, state) =>
        addNodeToManifest(path, text, { name, ...Object.fromEntries(given) }, state),
      );
      console.log(`${name} is in the manifest; what it writes will be kept apart from all others`);
    });
  nodes
    .command("remove <name>")
    .description(
      "take a node out of the manifest; what it wrote stays for when it comes back: reset it first to drop that",
    )
    .action(async (name: string, _, command: Command) => {
      await editManifest(command, `remove ${name}`, async (path, text, state) => {
        const edited = removeNode(text, name);
        if (edited === undefined) throw new UserError(`Cannot remove ${name}: the manifest has no node of that name`);
        await loadManifestText(path, edited, state);
        return edited;
      });
      console.log(`${name} is no longer in the manifest`);
    });
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

/** Writes the text that `edit` resolves with, which it has checked, so that a slip cannot break a running cluster. */
async function editManifest(
  command: Command,
  what: string,
  edit: (path: string, text: string, state: string | undefined) => Promise<string>,
): Promise<void> {
  const { manifest: path, state } = globalOptions(command);
  const text = readManifestText(path);
  let edited: string;
  try {
    edited = await edit(path, text, state);
  } catch (error) {
    // If the text was wrong before, its own problems have lines that can be looked up.
    await loadManifestText(path, text, state);
    if (!(error instanceof ManifestError)) throw error;
    const reasons = error.problems.map(({ message, hint }) => (hint ? `${message}. ${hint}` : message));
    throw new UserError(`Cannot ${what}: ${reasons.join("; ")}`);
  }
  // The file itself, where its name is a symbolic link to it.
  writeFileAtomically(realpathSync(path), edited, statSync(path).mode & 0o777);
}
