import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import type { Command } from "commander";
import { hasRaspberryPiOui } from "../../pi/oui.ts";
import { writeFileAtomically } from "../../system/atomic-file.ts";
import { neighbours } from "../../system/neighbours.ts";
import { globalOptions } from "../context.ts";
import { UserError } from "../user-error.ts";

interface Answers {
  cluster: string;
  interfaceName: string;
  image: string;
}

export function addInit(bramble: Command): void {
  bramble
    .command("init")
    .description("ask three questions, look at the network, and write bramble.yaml")
    .option("--cluster <name>", "the cluster's name")
    .option("--interface <name>", "the network interface the Pis are on")
    .option("--image <source>", "an OS image: a path or a URL")
    .action((given: { cluster?: string; interface?: string; image?: string }, command: Command) =>
      init(given, command),
    );
}

async function init(given: { cluster?: string; interface?: string; image?: string }, command: Command): Promise<void> {
  const path = globalOptions(command).manifest;
  if (existsSync(path))
    throw new UserError(`Cannot write ${path}: it exists already; edit it, or name another with --manifest`);
  const { interfaceAddresses } = await import("../../system/network-interfaces.ts");
  const candidates = [...new Set(interfaceAddresses().map((each) => each.interfaceName))].filter(
    (name) => name !== "lo",
  );
  const ask = await asker();
  const answers: Answers = {
    cluster: given.cluster ?? (await ask.question("Name of the cluster", "attic")),
    interfaceName: given.interface ?? (await ask.question("Network interface the Pis are on", candidates[0] ?? "eth0")),
    image: given.image ?? (await ask.question("OS image, a path or a URL", "raspios-lite-arm64.img.xz")),
  };
  ask.close();
  const seen = (await neighbours()).filter(
    (each) => each.interfaceName === answers.interfaceName && hasRaspberryPiOui(each.mac),
  );
  writeFileAtomically(
    path,
    manifestText(
      answers,
      seen.map((each) => each.mac),
    ),
  );
  console.log(
    `Wrote ${path}${seen.length > 0 ? ` with ${seen.length} Raspberry Pis seen on ${answers.interfaceName}` : ""}.`,
  );
  console.log('Next: look it over, "bramble validate", then "sudo bramble up".');
}

interface Asker {
  question(text: string, preset: string): Promise<string>;
  close(): void;
}

/** Asks on a terminal; takes the presets where nobody can answer. */
async function asker(): Promise<Asker> {
  if (!process.stdin.isTTY) return { question: async (_, preset) => preset, close: () => {} };
  const lines = createInterface({ input: process.stdin, output: process.stdout });
  return {
    question: async (text, preset) => (await lines.question(`${text} [${preset}]: `)).trim() || preset,
    close: () => lines.close(),
  };
}

function manifestText({ cluster, interfaceName, image }: Answers, macs: readonly string[]): string {
  const keys = ["id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"].filter((name) =>
    existsSync(join(homedir(), ".ssh", name)),
  );
  const nodes =
    macs.length > 0
      ? macs.map((mac, index) => `  - { name: node${index + 1}, mac: "${mac}" }`)
      : ['  # - { name: node1, mac: "dc:a6:32:00:00:01" }   # or serial: "91cdf03d"'];
  return [
    `cluster: ${cluster}`,
    "network:",
    `  interface: ${interfaceName}`,
    "  dhcp: proxy            # the router keeps giving addresses; server: Bramble gives them",
    `image: ${image}`,
    "access:",
    "  user: pi",
    `  authorizedKeys: [${keys.map((name) => `~/.ssh/${name}`).join(", ")}]`,
    macs.length > 0 ? "nodes:" : "nodes: []",
    ...nodes,
    "",
  ].join("\n");
}
