import type { Command } from "commander";
import type { NodeChangeLine } from "../../manager/node-layers.ts";
import type { Snapshot } from "../../tree/snapshots.ts";
import { apiOf, globalOptions, printJson } from "../context.ts";
import { formatBytes, formatCount, formatTable } from "../table.ts";
import { UserError } from "../user-error.ts";

/** `nodes snapshot`, `snapshots`, `restore`, `clone` and `diff`: they ask the running manager. */
export function addLayerCommands(nodes: Command): void {
  nodes
    .command("snapshot <node> [name]")
    .description("keep what the node has written as it is now; it may be running")
    .action(async (node: string, name: string | undefined, _, command: Command) => {
      const chosen = name ?? timeName(new Date());
      await apiOf(command).post(snapshotPath(node, chosen));
      if (globalOptions(command).json) printJson({ node, name: chosen });
      else console.log(`${node}: snapshot ${chosen} is taken`);
    });
  nodes
    .command("snapshots <node>")
    .description("the snapshots of a node")
    .option("--remove <name>", "remove one; what only it holds is lost")
    .action(async (node: string, { remove }: { remove?: string }, command: Command) => {
      if (remove === undefined) return listSnapshots(command, node);
      await apiOf(command).delete(snapshotPath(node, remove));
      if (globalOptions(command).json) printJson({ node, removed: remove });
      else console.log(`${node}: snapshot ${remove} is removed`);
    });
  nodes
    .command("restore <node> <snapshot>")
    .description("go back to a snapshot: what the node wrote since is lost")
    .action(async (node: string, name: string, _, command: Command) => {
      await apiOf(command).post(`${snapshotPath(node, name)}/restore`);
      if (globalOptions(command).json) printJson({ node, name });
      else console.log(`${node} is as it was at ${name}. Restart it if it is running`);
    });
  nodes
    .command("clone <from> <to>")
    .description("give what a node has written to another one that has written nothing")
    .option("--snapshot <name>", "as it was at a snapshot of the first one")
    .action(async (from: string, to: string, { snapshot }: { snapshot?: string }, command: Command) => {
      const query = new URLSearchParams({ to, ...(snapshot !== undefined && { snapshot }) });
      await apiOf(command).post(`/v1/nodes/${encodeURIComponent(from)}/clone?${query}`);
      if (globalOptions(command).json) printJson({ from, to, ...(snapshot !== undefined && { snapshot }) });
      else console.log(`${to} has the files of ${from}. Restart ${to} if it is running`);
    });
  nodes
    .command("diff <node>")
    .description("what the node changed against its image, file by file")
    .action((node: string, _, command: Command) => showDiff(command, node));
}

function snapshotPath(node: string, name: string): string {
  return `/v1/nodes/${encodeURIComponent(node)}/snapshots/${encodeURIComponent(name)}`;
}

/** `2026-11-21-131500`, in UTC. */
function timeName(time: Date): string {
  return time.toISOString().slice(0, 19).replace("T", "-").replaceAll(":", "");
}

async function listSnapshots(command: Command, node: string): Promise<void> {
  const snapshots = await apiOf(command).get<Snapshot[]>(`/v1/nodes/${encodeURIComponent(node)}/snapshots`);
  if (globalOptions(command).json) {
    printJson(snapshots.map((snapshot) => ({ ...snapshot, taken: new Date(snapshot.takenMs).toISOString() })));
    return;
  }
  if (snapshots.length === 0) console.log(`${node} has no snapshots`);
  else {
    const rows = snapshots.map(({ name, takenMs, sizeBytes }) => [
      name,
      new Date(takenMs).toISOString().slice(0, 19).replace("T", " "),
      formatBytes(sizeBytes),
    ]);
    console.log(formatTable(["NAME", "TAKEN (UTC)", "HOLDS"], rows));
  }
}

async function showDiff(command: Command, node: string): Promise<void> {
  const { json } = globalOptions(command);
  let count = 0;
  let isDone = false;
  const lines = apiOf(command).lines<NodeChangeLine | { done: true } | { failed: string }>(
    `/v1/nodes/${encodeURIComponent(node)}/diff`,
  );
  for await (const line of lines) {
    if ("failed" in line) throw new UserError(`Cannot compare ${node} with its image: ${line.failed}`);
    if ("done" in line) isDone = true;
    else {
      count += 1;
      console.log(json ? JSON.stringify(line) : changeText(line));
    }
  }
  if (!isDone) throw new UserError(`Cannot compare ${node} with its image: the manager ended before it was done`);
  if (count === 0 && !json) console.log(`${node} has changed nothing`);
  else if (!json) console.log(formatCount(count, "change"));
}

const SIGNS = { added: "+", removed: "-", changed: "~", renamed: ">" } as const;

/** `+ /etc/new  12 B`; files of the boot tree as `boot:/config.txt`. */
export function changeText(change: NodeChangeLine): string {
  const inTree = (path: string) => (change.tree === "boot" ? `boot:${path}` : path);
  const size = change.type === "file" && change.kind !== "removed" ? `  ${formatBytes(change.sizeBytes)}` : "";
  const kind = change.type === "file" ? "" : `  ${change.type}`;
  const from = change.kind === "renamed" ? `  from ${inTree(change.from)}` : "";
  const what = "what" in change && change.what.length > 0 ? `  ${change.what.join(", ")}` : "";
  return `${SIGNS[change.kind]} ${inTree(change.path)}${kind}${size}${from}${what}`;
}
