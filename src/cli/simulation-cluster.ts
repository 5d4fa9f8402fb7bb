/** The cluster that a simulation runs: the manifest's, or one made up for an image; and the network it needs. */
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type Ipv4, ipv4FromNumber, ipv4ToNumber } from "../bytes/addresses.ts";
import { parseSubnet } from "../cluster/manifest.ts";
import type { LoadedManifest } from "../manager/manifest-file.ts";
import { lastFreeAddress, startRouter } from "../simulator/router.ts";
import { systemClock } from "../system/clock.ts";
import {
  LAB_ADDRESS,
  LAB_BRIDGE,
  LAB_PREFIX_LENGTH,
  LAB_RECORD,
  type LabNetwork,
  readLabRecord,
} from "../system/lab-network.ts";
import { openTap } from "../system/tap.ts";
import { UserError } from "./user-error.ts";

/** The lab looks like the network of the manifest: the same interface, the manager at the same address. */
export function labNetworkOf({ manifest: { network } }: LoadedManifest): {
  bridge: string;
  address: Ipv4;
  prefixLength: number;
} {
  const subnet = network.subnet === undefined ? undefined : parseSubnet(network.subnet);
  return {
    bridge: network.interface ?? LAB_BRIDGE,
    address: network.address ?? (subnet ? ipv4FromNumber(subnet.first + 1) : LAB_ADDRESS),
    prefixLength: subnet?.prefixBits ?? LAB_PREFIX_LENGTH,
  };
}

/** In proxy mode the manager counts on a router that gives addresses: it has the last port of the switch. */
export async function startLabRouter({ manifest }: LoadedManifest, lab: LabNetwork): Promise<() => Promise<void>> {
  const { address: manager, prefixLength, taps } = lab;
  const taken = [manager, ...manifest.nodes.flatMap((node) => node.address ?? [])];
  const address = manifest.network.router ?? lastFreeAddress({ address: manager, prefixLength, taken });
  const port = await openTap(taps.at(-1)!);
  return startRouter({ port, clock: systemClock, address, prefixLength, taken: [...taken, address] });
}

/** In a state folder whose cluster was made up for an image, so that it may be thrown away. */
const MADE_UP_MARK = "made-up-cluster";
const FORGOTTEN = ["trees", "data", "events.ndjson", "leases.json", "learned-macs.json"];

/** Made-up nodes start as new each time: what they wrote over one image means nothing over another. */
export function beginAnew(stateFolder: string): void {
  const running = readLabRecord(join(stateFolder, LAB_RECORD));
  if (running) {
    throw new UserError(
      `Cannot simulate in ${stateFolder}: process ${running.pid} does already; end it, or name another folder with --state`,
    );
  }
  const mark = join(stateFolder, MADE_UP_MARK);
  if (existsSync(join(stateFolder, "trees")) && !existsSync(mark)) {
    throw new UserError(
      `Cannot simulate in ${stateFolder}: it holds what the nodes of a manifest wrote; name another folder with --state`,
      2,
    );
  }
  writeFileSync(mark, "");
  for (const name of FORGOTTEN) rmSync(join(stateFolder, name), { recursive: true, force: true });
}

export interface MadeUpCluster {
  stateFolder: string;
  image: string;
  nodes: number;
  /** Given out in turn. */
  models: readonly string[];
}

/** Of a /24 the first ten addresses and the last few stay free. */
const NODES_OF_SMALL_NETWORK_MAX = 240;
const FIRST_NODE_ADDRESS = 11;

/** Returns the manifest's path. */
export function writeManifest({ stateFolder, image, nodes, models }: MadeUpCluster): string {
  const path = join(stateFolder, "bramble.yaml");
  const source = existsSync(image) ? resolve(image) : image;
  const lines = Array.from({ length: nodes }, (_, index) => {
    const tail = (index + 1).toString(16).padStart(4, "0");
    const mac = `dc:a6:32:00:${tail.slice(0, 2)}:${tail.slice(2)}`;
    return `  - { name: node${index + 1}, mac: "${mac}", serial: "1000${tail}", model: "${models[index % models.length]}" }`;
  });
  const isSmall = nodes <= NODES_OF_SMALL_NETWORK_MAX;
  const network = ipv4ToNumber(LAB_ADDRESS) - 1;
  const last = isSmall ? NODES_OF_SMALL_NETWORK_MAX + FIRST_NODE_ADDRESS - 1 : FIRST_NODE_ADDRESS + nodes - 1;
  const text = [
    "cluster: demo",
    "network:",
    `  interface: ${LAB_BRIDGE}`,
    "  dhcp: server",
    `  subnet: ${ipv4FromNumber(network)}/${isSmall ? LAB_PREFIX_LENGTH : LARGE_PREFIX_LENGTH}`,
    `  range: { from: ${ipv4FromNumber(network + FIRST_NODE_ADDRESS)}, to: ${ipv4FromNumber(network + last)} }`,
    `image: ${JSON.stringify(source)}`,
    "access: { user: pi }",
    "nodes:",
    ...lines,
    "",
  ].join("\n");
  writeFileSync(path, text);
  return path;
}

/** Room for more than 2,000 nodes. The lab's network 10.77.0.0 begins there too. */
const LARGE_PREFIX_LENGTH = 21;
/** So many fit there. */
export const MADE_UP_NODES_MAX = 2000;
