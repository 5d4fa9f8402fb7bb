import { spawn } from "node:child_process";
import { join } from "node:path";
import type { Command } from "commander";
import type { NodeStatusView } from "../../manager/status-view.ts";
import { LAB_RECORD, labEnterCommand, readLabRecord } from "../../system/lab-network.ts";
import { apiOf, loadManifestOf } from "../context.ts";
import { UserError } from "../user-error.ts";

export function addSsh(bramble: Command): void {
  bramble
    .command("ssh <node> [command...]")
    .description("log in to a node, or run a command on it; its host key is known beforehand, so nothing is asked")
    .allowUnknownOption()
    .action((node: string, words: string[], _, command: Command) => ssh(node, words, command));
}

async function ssh(name: string, words: readonly string[], command: Command): Promise<void> {
  const { manifest, stateFolder } = await loadManifestOf(command);
  if (!manifest.nodes.some((node) => node.name === name)) {
    throw new UserError(`Cannot log in to ${name}: the manifest has no node of that name`);
  }
  const address = await addressOf(name, command);
  const { sshPaths } = await import("../../manager/secrets.ts");
  const paths = sshPaths(stateFolder);
  const { pinnedHostKeyOptions } = await import("../../provision/ssh-options.ts");
  const lab = readLabRecord(join(stateFolder, LAB_RECORD));
  const [program, ...rest] = [
    ...(lab ? labEnterCommand(lab) : []),
    "ssh",
    ...pinnedHostKeyOptions(name, paths),
    ...["-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10"],
    "-i",
    paths.managerKey,
    `${manifest.access.user}@${address}`,
    ...(words.length > 0 ? ["--", ...words] : []),
  ];
  process.exitCode = await runInForeground(program!, rest);
}

async function addressOf(name: string, command: Command): Promise<string> {
  const { nodes } = await apiOf(command).get<{ nodes: NodeStatusView[] }>("/v1/status");
  const status = nodes.find((node) => node.name === name);
  if (!status?.address) {
    throw new UserError(`Cannot log in to ${name}: its address is not known yet; it is ${status?.stage ?? "silent"}`);
  }
  return status.address;
}

function runInForeground(program: string, words: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, words, { stdio: "inherit" });
    child.once("error", (error) => reject(new UserError(`Cannot run ${program}: ${error.message}`)));
    child.once("exit", (code) => resolve(code ?? 1));
  });
}
