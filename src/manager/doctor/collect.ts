/**
 * Looks at this machine and its network for `bramble doctor`. Each part by itself: where one cannot be looked at, the
 * others still are. Modules that need native libraries are imported late, for these may be what is missing.
 */
import type {
  DoctorFacts,
  InterfaceFacts,
  NetworkFacts,
  PrivilegeFacts,
  ProgramFacts,
  Wanted,
} from "../../cluster/doctor/facts.ts";
import type { Looked } from "../../cluster/doctor/finding.ts";
import type { Manifest } from "../../cluster/manifest.ts";
import { manifestSchema } from "../../cluster/manifest-schema.ts";
import { capabilities } from "../../system/capabilities.ts";
import { containerKind, defaultGateway, forwardsPackets, isWsl } from "../../system/host-kind.ts";
import type { LoadedManifest } from "../manifest-file.ts";
import { lookAtDisk } from "./disk.ts";
import { runningManagers } from "./running-managers.ts";

export interface DoctorOptions {
  manifestPath: string;
  /** There is a file at `manifestPath`. */
  hasManifest: boolean;
  /** Where state would be kept. */
  stateFolder: string;
  /** Given with `--state`. */
  state?: string;
  /** Instead of the manifest's. */
  interfaceName?: string;
  /** False: send nothing and listen to nothing. */
  asksNetwork: boolean;
}

/** What is skipped without a word: something else that is told already is the reason. */
const TOLD = "";

export async function collectFacts(options: DoctorOptions): Promise<DoctorFacts> {
  const program = await lookAtProgram();
  const { facts: manifest, loaded } = await lookAtManifest(options);
  // A wrong manifest says nothing of the network that could be relied on; a missing one leaves the defaults.
  const settings = loaded?.manifest ?? manifestSchema.parse({ cluster: "doctor" });
  const isKnown = loaded !== undefined || !options.hasManifest || options.interfaceName !== undefined;
  const interfaces = await look(lookAtInterfaces);
  const network: Looked<NetworkFacts> = isKnown
    ? await look(() => lookAtNetwork(settings, options.interfaceName))
    : { skipped: TOLD };
  const managers = await look(async () => runningManagers(options.stateFolder));
  const [dhcp, spanningTree] = await lookAtLan(options, settings, network, interfaces);
  return {
    wanted: await wantedOf(settings),
    program,
    privileges: lookAtPrivileges(),
    manifest,
    images: loaded ? await look(async () => (await import("./images.ts")).lookAtImages(loaded)) : { skipped: TOLD },
    interfaces,
    network,
    ports: await whenSeen(network, async (seen) => {
      const { lookAtPorts } = await import("./ports.ts");
      return lookAtPorts(settings, seen, "seen" in managers ? managers.seen : []);
    }),
    dhcp,
    spanningTree,
    firewall: await look(lookAtFirewall),
    host: lookAtHost(),
    clock: await look(lookAtClock),
    disk: await look(() => lookAtDisk(options.stateFolder)),
    managers,
  };
}

/** Whatever goes wrong with looking is the reason why it was skipped. */
async function look<T>(see: () => Promise<T>): Promise<Looked<T>> {
  try {
    return { seen: await see() };
  } catch (error) {
    return { skipped: (error as Error).message };
  }
}

function whenSeen<A, B>(first: Looked<A>, see: (seen: A) => Promise<B>): Promise<Looked<B>> {
  return "seen" in first ? look(() => see(first.seen)) : Promise.resolve({ skipped: TOLD });
}

async function lookAtProgram(): Promise<ProgramFacts> {
  const load = async (name: string) => {
    try {
      await import(name);
      return { name };
    } catch (error) {
      return { name, failure: (error as Error).message.split("\n")[0] ?? "" };
    }
  };
  return {
    nodeVersion: process.versions.node,
    libraries: await Promise.all(["koffi", "lmdb"].map(load)),
    unixMs: Date.now(),
  };
}

async function lookAtManifest(
  options: DoctorOptions,
): Promise<{ facts: DoctorFacts["manifest"]; loaded?: LoadedManifest }> {
  const { manifestPath: path, hasManifest, state } = options;
  if (!hasManifest) return { facts: { skipped: `there is no ${path} yet; bramble init writes one` } };
  try {
    const { loadManifest } = await import("../manifest-file.ts");
    return { facts: { seen: { path, problems: [] } }, loaded: await loadManifest(path, state) };
  } catch (error) {
    return { facts: { seen: { path, problems: (error as Error).message.split("\n") } } };
  }
}

async function wantedOf({ network }: Manifest): Promise<Wanted> {
  const { parseSubnet } = await import("../../cluster/manifest.ts");
  const subnet = network.subnet === undefined ? undefined : parseSubnet(network.subnet);
  return {
    dhcp: network.dhcp,
    ports: network.ports,
    ...(network.router && { router: network.router }),
    ...(network.address && { address: network.address }),
    ...(subnet && network.subnet && { subnet: { text: network.subnet, ...subnet } }),
  };
}

async function lookAtInterfaces(): Promise<InterfaceFacts[]> {
  const { interfaceStates } = await import("../../system/interface-state.ts");
  const { interfaceAddresses } = await import("../../system/network-interfaces.ts");
  const addresses = new Map(interfaceAddresses().map((each) => [each.interfaceName, each]));
  return interfaceStates().map((state) => {
    const found = addresses.get(state.name);
    return { ...state, ...(found && { address: found.address, netmask: found.netmask }) };
  });
}

/** Where the services would be, by the rules of the manager itself. */
async function lookAtNetwork(manifest: Manifest, interfaceName: string | undefined): Promise<NetworkFacts> {
  const { serviceNetwork } = await import("../services.ts");
  const { interfaceAddresses } = await import("../../system/network-interfaces.ts");
  const network = { ...manifest.network, ...(interfaceName !== undefined && { interface: interfaceName }) };
  const { address, netmask, interfaceName: named } = serviceNetwork({ ...manifest, network });
  const owner = named ?? interfaceAddresses().find((each) => each.address === address)?.interfaceName;
  return { interfaceName: owner ?? "lo", address, netmask };
}

async function lookAtLan(
  { asksNetwork }: DoctorOptions,
  manifest: Manifest,
  network: Looked<NetworkFacts>,
  interfaces: Looked<InterfaceFacts[]>,
): Promise<[DoctorFacts["dhcp"], DoctorFacts["spanningTree"]]> {
  const both = (skipped: string): [DoctorFacts["dhcp"], DoctorFacts["spanningTree"]] => [{ skipped }, { skipped }];
  if (!asksNetwork) return both("--offline");
  if (!("seen" in network) || !("seen" in interfaces)) return both(TOLD);
  const served = interfaces.seen.find(({ name }) => name === network.seen.interfaceName);
  if (!served?.mac || served.isLoopback) return both(`${network.seen.interfaceName} is no Ethernet`);
  if (!served.isUp || !served.hasCarrier) return both(`${served.name} has no link`);
  const mac = served.mac;
  const heard = await look(async () => {
    const { listenToLan } = await import("./lan.ts");
    const { dhcp, ports } = manifest.network;
    return listenToLan({ interfaceName: served.name, mac, asPi: dhcp === "external", serverPort: ports.dhcp });
  });
  return "seen" in heard ? [{ seen: heard.seen.dhcp }, { seen: heard.seen.spanningTree }] : both(heard.skipped);
}

function lookAtPrivileges(): PrivilegeFacts {
  const { netBindService, netRaw } = capabilities();
  return {
    isRoot: process.getuid?.() === 0,
    canBindLowPorts: netBindService,
    canOpenRawSockets: netRaw,
    program: process.execPath,
  };
}

function lookAtHost(): DoctorFacts["host"] {
  const container = containerKind();
  const gateway = defaultGateway();
  const forwards = forwardsPackets();
  return {
    isWsl: isWsl(),
    ...(container !== undefined && { container }),
    ...(gateway !== undefined && { gateway }),
    ...(forwards !== undefined && { forwards }),
  };
}

async function lookAtClock(): Promise<{ unixMs: number; isSynchronised: boolean }> {
  const { isClockSynchronised } = await import("../../system/kernel-clock.ts");
  const isSynchronised = isClockSynchronised();
  if (isSynchronised === undefined) throw new Error("the kernel does not tell whether it is synchronised");
  return { unixMs: Date.now(), isSynchronised };
}

async function lookAtFirewall() {
  const { firewallListings } = await import("../../system/firewall-listing.ts");
  const { readNftRuleset } = await import("../../cluster/doctor/nft-ruleset.ts");
  const { readIptablesRules } = await import("../../cluster/doctor/iptables-rules.ts");
  const listings = await firewallListings();
  return listings.map(({ format, text }) => (format === "nft" ? readNftRuleset(text) : readIptablesRules(text)));
}
