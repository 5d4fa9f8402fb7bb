/**
 * Looks at this machine and its network for `bramble doctor`. Each part by itself: where one cannot be looked at, the
 * others still are. Modules that need native libraries are imported late, for these may be what is missing.
 */
import type { DoctorFacts, InterfaceFacts, PrivilegeFacts, ProgramFacts } from "../../cluster/doctor/facts.ts";
import type { Manifest } from "../../cluster/manifest.ts";
import { manifestSchema } from "../../cluster/manifest-schema.ts";
import { mayOpenRawSockets } from "../../system/capabilities.ts";
import { containerKind, defaultGateway, forwardsPackets, isWsl } from "../../system/host-kind.ts";
import type { LoadedManifest } from "../manifest-file.ts";
import { lookAtDisk } from "./disk.ts";
import { look } from "./look.ts";
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
  const settings = withInterface(
    loaded?.manifest ?? manifestSchema.parse({ cluster: "doctor" }),
    options.interfaceName,
  );
  const isKnown = loaded !== undefined || !options.hasManifest || options.interfaceName !== undefined;
  const interfaces = await look(lookAtInterfaces);
  const managers = await look(async () => runningManagers(options.stateFolder));
  const around = {
    interfaces: "seen" in interfaces ? interfaces.seen : [],
    managers: "seen" in managers ? managers.seen : [],
    asksNetwork: options.asksNetwork,
  };
  // What keeps the module from being loaded is told of the library.
  const looker = await look(() => import("./networks.ts"));
  const networks: DoctorFacts["networks"] =
    isKnown && "seen" in looker ? await look(() => looker.seen.lookAtNetworks(settings, around)) : { skipped: TOLD };
  const { dhcp, ports } = settings.network;
  return {
    wanted: { dhcp, ports },
    program,
    privileges: lookAtPrivileges(),
    manifest,
    images: loaded ? await look(async () => (await import("./images.ts")).lookAtImages(loaded)) : { skipped: TOLD },
    interfaces,
    networks,
    firewall: await look(lookAtFirewall),
    host: lookAtHost(),
    clock: await look(lookAtClock),
    disk: await look(() => lookAtDisk(options.stateFolder)),
    managers,
  };
}

/** With one given, it alone is looked at; what the manifest says of its own interface's address is not that one's. */
function withInterface(manifest: Manifest, interfaceName: string | undefined): Manifest {
  if (interfaceName === undefined || interfaceName === manifest.network.interface) return manifest;
  const { dhcp, dns, ports } = manifest.network;
  return { ...manifest, network: { dhcp, dns, ports, interface: interfaceName } };
}

async function lookAtProgram(): Promise<ProgramFacts> {
  const load = async (name: string) => {
    try {
      await import(name);
      return { name };
    } catch (error) {
      return { name, failure: firstLine((error as Error).message) };
    }
  };
  return {
    nodeVersion: process.versions.node,
    libraries: await Promise.all(["koffi", "lmdb"].map(load)),
  };
}

/** Messages of the module loader go on with what it tried. */
function firstLine(text: string): string {
  return text.split("\n")[0] ?? "";
}

async function lookAtManifest(
  options: DoctorOptions,
): Promise<{ facts: DoctorFacts["manifest"]; loaded?: LoadedManifest }> {
  const { manifestPath: path, hasManifest, state } = options;
  if (!hasManifest) return { facts: { skipped: `there is no ${path} yet; bramble init writes one` } };
  const reader = await look(() => import("../manifest-file.ts"));
  if ("skipped" in reader) return { facts: { skipped: firstLine(reader.skipped) } };
  try {
    return { facts: { seen: { path, problems: [] } }, loaded: await reader.seen.loadManifest(path, state) };
  } catch (error) {
    return { facts: { seen: { path, problems: (error as Error).message.split("\n") } } };
  }
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

function lookAtPrivileges(): PrivilegeFacts {
  return { canOpenRawSockets: mayOpenRawSockets(), program: process.execPath };
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
  return listings.map((each) =>
    each.format === "nft" ? readNftRuleset(each.text, each) : readIptablesRules(each.text),
  );
}
