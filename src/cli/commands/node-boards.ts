/** Which board a node is: Pis that ask to boot become nodes, and a node gets another board. */
import type { Command } from "commander";
import { findSeenPi, nodeOf, type SeenPi } from "../../cluster/adoption.ts";
import type { NodeEntry } from "../../cluster/manifest-edit.ts";
import type { UnknownPi } from "../../cluster/unknown-pis.ts";
import type { ManagerStatusView } from "../../manager/status-view.ts";
import { UnreachableError } from "../api-client.ts";
import { apiOf, globalOptions, loadManifestOf, printJson } from "../context.ts";
import { addNode, replaceBoard } from "../manifest-changes.ts";
import { formatDuration, formatTable } from "../table.ts";
import { UserError } from "../user-error.ts";

interface BoardOptions {
  mac?: string;
  serial?: string;
  model?: string;
}

export function addBoardCommands(nodes: Command): void {
  nodes
    .command("discovered")
    .description("Pis that asked to boot and are no nodes")
    .action((_, command: Command) => listDiscovered(command));
  nodes
    .command("adopt <board>")
    .description("make a node of a Pi that asked to boot, named by its serial number or MAC")
    .requiredOption("--name <name>", "what the node is to be called")
    .option("--model <model>", "4, 5, 3b+, cm4 …, where the Pi does not tell")
    .option("--address <ipv4>", "the address to give it (dhcp: server)")
    .action((board: string, options: AdoptOptions, command: Command) => adopt(board, options, command));
  nodes
    .command("replace <name> [board]")
    .description(
      "give a node another board, which keeps its files: one that asked to boot, or one named by --serial or --mac",
    )
    .option("--serial <hex>", "the serial number of the new board")
    .option("--mac <address>", "its Ethernet address")
    .option("--model <model>", "its model, if it is another")
    .action((name: string, board: string | undefined, options: BoardOptions, command: Command) =>
      replace(name, board, options, command),
    );
}

/** From the running manager, else from what the last one wrote down. */
async function discovered(command: Command): Promise<UnknownPi[]> {
  try {
    const { unknownPis } = await apiOf(command).get<ManagerStatusView>("/v1/status");
    return unknownPis;
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
  }
  const { pisInJournal } = await import("../../manager/discovered.ts");
  return pisInJournal(await loadManifestOf(command));
}

async function listDiscovered(command: Command): Promise<void> {
  const pis = await discovered(command);
  if (globalOptions(command).json) {
    printJson(pis);
    return;
  }
  if (pis.length === 0) {
    console.log("No Pi has asked to boot that is no node");
    return;
  }
  const nowMs = Date.now();
  const ago = (unixMs: number) => `${formatDuration(Math.max(0, nowMs - unixMs))} ago`;
  const rows = pis.map((pi) => [pi.serial ?? "-", pi.mac, pi.model ?? "-", ago(pi.firstSeenMs), ago(pi.lastSeenMs)]);
  console.log(formatTable(["SERIAL", "MAC", "MODEL", "FIRST SEEN", "LAST SEEN"], rows));
  console.log("Make one a node with: bramble nodes adopt SERIAL|MAC --name NAME");
}

interface AdoptOptions {
  name: string;
  model?: string;
  address?: string;
}

async function adopt(board: string, { name, model, address }: AdoptOptions, command: Command): Promise<void> {
  const pi = await findDiscovered(board, `adopt ${board}`, command);
  const entry: NodeEntry = { ...nodeOf(pi, name, model), ...(address !== undefined && { address }) };
  const isServed = await addNode(command, entry);
  if (globalOptions(command).json) printJson(entry);
  else console.log(`${name} is in the manifest${isServed ? " and is served when it asks again" : ""}`);
}

async function findDiscovered(board: string, what: string, command: Command): Promise<SeenPi> {
  const pi = findSeenPi(await discovered(command), board);
  if (pi) return pi;
  throw new UserError(
    `Cannot ${what}: no Pi with the serial number or MAC ${board} has asked to boot and is no node; see: bramble nodes discovered`,
  );
}

async function replace(
  name: string,
  board: string | undefined,
  { mac, serial, model }: BoardOptions,
  command: Command,
): Promise<void> {
  const what = `replace the board of ${name}`;
  const isGiven = mac !== undefined || serial !== undefined;
  if (isGiven === (board !== undefined)) {
    throw new UserError(
      `Cannot ${what}: name the new one either by --serial or --mac, or by the serial number or MAC of one that asked to boot`,
    );
  }
  const pi = board === undefined ? undefined : await findDiscovered(board, what, command);
  // Where the manifest names no model, the boot tree is made for all.
  const { manifest } = await loadManifestOf(command);
  const isModelNamed = manifest.nodes.some((node) => node.name === name && node.model !== undefined);
  const newModel = model ?? (isModelNamed ? pi?.model : undefined);
  const identity = pi ? nodeOf(pi, name) : { mac, serial };
  await replaceBoard(command, name, {
    ...(identity.mac !== undefined && { mac: identity.mac }),
    ...(identity.serial !== undefined && { serial: identity.serial }),
    ...(newModel !== undefined && { model: newModel }),
  });
  console.log(`${name} is another board now, with the files that it had; the old one is served no more`);
}
