/** The boot services of a manager, between the nodes that it serves and the events that it tells. */
import { join } from "node:path";
import { dhcpPolicy, observeDhcp, observeOtherServers } from "../boot/dhcp-policy.ts";
import type { NodeDirectory } from "../boot/node-directory.ts";
import type { Report } from "../boot/report.ts";
import { observeTftp, tftpNodes } from "../boot/tftp-files.ts";
import type { SeenPi } from "../cluster/adoption.ts";
import { listenToOtherServers } from "../dhcp/other-servers.ts";
import type { UdpSockets } from "../ports.ts";
import { systemClock } from "../system/clock.ts";
import { systemRandom } from "../system/random.ts";
import { createUdpSockets } from "../system/udp.ts";
import { bootStarts } from "./boot-starts.ts";
import type { NodeCaptures } from "./capture/node-captures.ts";
import type { FrontDoor } from "./front-door.ts";
import { LeaseFile } from "./lease-file.ts";
import type { LoadedManifest } from "./manifest-file.ts";
import { startNetconsole } from "./netconsole.ts";
import { bindingOf, type ServiceNetwork, Services } from "./services.ts";
import type { Serving } from "./serving.ts";
import { limitWarnings } from "./warning-limit.ts";

const SEND_WARNING_INTERVAL_MS = 60_000;

export interface BootServicesOptions {
  loaded: LoadedManifest;
  networks: readonly ServiceNetwork[];
  directory: NodeDirectory;
  frontDoor: FrontDoor;
  serving: Serving;
  /** Keeps the packets. */
  captures: NodeCaptures;
  report: Report;
  learnNeighbours(): Promise<void>;
  /** Hears of each time that a Pi asks to boot which is no node. */
  onUnknownPi(pi: SeenPi): void;
}

/** Resolves with how to stop them. Rejects with what stands in the way, and nothing runs then. */
export async function startBootServices(options: BootServicesOptions): Promise<() => Promise<void>> {
  const { loaded, networks, frontDoor, directory, serving, captures, report, learnNeighbours, onUnknownPi } = options;
  const { manifest, stateFolder } = loaded;
  const warnOfSending = limitWarnings(systemClock, SEND_WARNING_INTERVAL_MS, (message) =>
    report({ kind: "warning", message, about: "sending" }),
  );
  const starts = bootStarts({
    hearsDhcp: manifest.network.dhcp !== "external",
    clock: systemClock,
    begin: (node) => serving.nodes.beginBoot(node),
  });
  const findBootFile = tftpNodes(directory, learnNeighbours, starts.beforeFile);
  const { portmap, netconsole: consolePort } = manifest.network.ports;
  const untapped = await createUdpSockets({ onSendError: (error) => warnOfSending(error.message) });
  const sockets = captures.tap(untapped, { except: portmap });
  const services = new Services({
    manifest,
    networks,
    sockets,
    clock: systemClock,
    random: systemRandom,
    frontDoor,
    reception: serving.reception,
    tftp: {
      accept: (request) => serving.reception.acceptTftp(request, findBootFile(request)),
      observe: observeTftp(directory, report),
    },
    dhcp: {
      policy: dhcpPolicy(directory, starts.beforeReply),
      leases: new LeaseFile(join(stateFolder, "leases.json")),
      observe: observeDhcp(directory, report, onUnknownPi),
    },
    onWarning: (message) => report({ kind: "warning", message }),
  });
  await services.start();
  const netconsole = await startNetconsole({
    sockets,
    bindings: consolePort === 0 ? [] : networks.map((network) => ({ ...bindingOf(network), port: consolePort })),
    clock: systemClock,
    ownerOf: (address) => directory.ownerOf(address),
    learnNeighbours,
    report,
  }).catch((error: Error) => {
    // Nobody's boot depends on it.
    report({ kind: "warning", message: `Lines that nodes print are not heard. ${error.message}` });
  });
  const stopListening = await listenBesideOurs({ ...options, sockets });
  return () => {
    stopListening();
    netconsole?.close();
    return services.stop();
  };
}

/** Hears what other DHCP servers say, where it can: nobody's boot depends on it. */
async function listenBesideOurs({
  loaded,
  networks,
  directory,
  report,
  sockets,
}: BootServicesOptions & { sockets: UdpSockets }): Promise<() => void> {
  const port = loaded.manifest.network.ports.dhcp + 1;
  const onAnswer = observeOtherServers(directory, systemClock, report);
  const stops: (() => void)[] = [];
  for (const { interfaceName, address } of networks) {
    try {
      const where = { ...(interfaceName !== undefined && { interfaceName }), ownAddress: address, port };
      stops.push(await listenToOtherServers({ sockets, ...where, onAnswer }));
    } catch (error) {
      report({ kind: "warning", message: `Other DHCP servers are not heard. ${(error as Error).message}` });
    }
  }
  return () => {
    for (const stop of stops) stop();
  };
}
