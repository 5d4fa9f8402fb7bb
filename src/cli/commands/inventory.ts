import { type Command, Option } from "commander";
import type { ManagerStatusView, NodeStatusView } from "../../manager/status-view.ts";
import type { HostVariables, Inventory } from "../../provision/inventory.ts";
import { UnreachableError } from "../api-client.ts";
import { apiOf, loadManifestOf, printJson } from "../context.ts";
import { UserError } from "../user-error.ts";

interface InventoryOptions {
  list?: boolean;
  host?: string;
}

export function addInventory(bramble: Command): void {
  bramble
    .command("inventory")
    .description("the nodes as an inventory for Ansible: what a dynamic inventory script prints (docs/CLUSTER.md)")
    .option("--list", "all groups and hosts; so also without an option")
    .addOption(new Option("--host <node>", "the variables of one node").conflicts("list"))
    .action((options: InventoryOptions, command: Command) => printInventory(options, command));
}

async function printInventory({ host }: InventoryOptions, command: Command): Promise<void> {
  const { manifest, stateFolder, resolvePath } = await loadManifestOf(command);
  const { inventoryList, inventoryOf } = await import("../../provision/inventory.ts");
  const { sshPaths } = await import("../../manager/secrets.ts");
  const inventory = inventoryOf(manifest, await knownNodes(command), sshPaths(stateFolder));
  const { configurationOf } = await import("../../provision/configuration.ts");
  const variables = configurationOf(manifest, resolvePath)?.variables;
  for (const warning of inventory.warnings) console.error(`bramble: ${warning}`);
  printJson(host === undefined ? inventoryList(inventory, variables) : variablesOf(host, inventory));
}

function variablesOf(host: string, { hosts }: Inventory): HostVariables {
  const variables = hosts.get(host);
  if (variables) return variables;
  throw new UserError(
    `Cannot give the variables of ${host}: the manifest has no node of that name; "bramble nodes list" shows them`,
  );
}

/** None without a manager: Ansible then still gets every node, but whom it can reach is not known. */
async function knownNodes(command: Command): Promise<readonly NodeStatusView[]> {
  try {
    return (await apiOf(command).get<ManagerStatusView>("/v1/status")).nodes;
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
    console.error(`bramble: The group "up" is empty, and addresses are the manifest's: ${error.message}`);
    return [];
  }
}
