/** What serves the nodes, put together: worker processes, the structure of the trees, the nodes, and where clients arrive. */
import { join } from "node:path";
import type { NodeDirectory } from "../boot/node-directory.ts";
import { observeNfs } from "../boot/node-exports.ts";
import type { Report } from "../boot/report.ts";
import type { Ipv4 } from "../bytes/addresses.ts";
import type { ClusterStatus } from "../cluster/status.ts";
import type { KeyValueStore } from "../ports.ts";
import { systemClock } from "../system/clock.ts";
import { openDataFiles } from "../system/data-files.ts";
import { systemRandom } from "../system/random.ts";
import { openTreeCatalog, type TreeCatalog } from "../tree/tree-catalog.ts";
import type { PacketsSince } from "./capture/packet-rings.ts";
import type { ClusterActivity } from "./cluster-activity.ts";
import type { DataPlaneObservation, NodeOpened } from "./data-plane/messages.ts";
import { startWorkers, type Workers } from "./data-plane/workers.ts";
import { observeDataPlane } from "./data-plane-events.ts";
import type { Images } from "./images.ts";
import type { LoadedManifest } from "./manifest-file.ts";
import { NodeLayers } from "./node-layers.ts";
import { NodeSet } from "./node-set.ts";
import { Reception } from "./reception.ts";
import type { Secrets } from "./secrets.ts";
import { bindingOfAll, lanInterface, type ServiceNetwork, serverAddressFor } from "./service-networks.ts";
import { portMappings } from "./services.ts";
import { catchUpWithReport } from "./up-watch.ts";

export interface ServingOptions {
  loaded: LoadedManifest;
  networks: readonly ServiceNetwork[];
  directory: NodeDirectory;
  images: Images;
  secrets: Secrets;
  keyValueStore: KeyValueStore;
  /** Is told what nodes do. */
  activity: ClusterActivity;
  report: Report;
  status(): ClusterStatus;
  learnNeighbours(): Promise<void>;
  /** Of the cluster that an orchestrator makes. */
  isMember(node: string): boolean;
  /** `undefined`: one for each core. */
  workerCount: number | undefined;
}

export interface Serving {
  readonly nodes: NodeSet;
  readonly layers: NodeLayers;
  readonly reception: Reception;
  /** The packets of TFTP that the node's worker has seen from and to these addresses. */
  packetsOf(node: string, addresses: readonly Ipv4[], after: number): Promise<PacketsSince>;
  /** What nodes have written is durable when it resolves. */
  stop(): Promise<void>;
}

/** Nobody is served yet when it resolves: no node is open. Rejects with what stands in the way, and nothing runs then. */
export async function startServing(options: ServingOptions): Promise<Serving> {
  const { directory, report, workerCount, networks, loaded } = options;
  const { stateFolder, manifest } = loaded;
  const settings = {
    handleKey: options.secrets.handleKey(),
    portMappings: portMappings(manifest),
    // On a network of Pis every mount comes from a kernel.
    requirePrivilegedPorts: lanInterface(networks[0]!) !== undefined,
  };
  const onOpened = (node: string, { upReport }: NodeOpened) => {
    if (upReport) catchUpWithReport(upReport, node, options.status(), report);
  };
  let observe: (observation: DataPlaneObservation) => void = () => {};
  const workers = await startWorkers({
    ...(workerCount !== undefined && { count: workerCount }),
    settings: { ...settings, stateFolder, tftpBinding: bindingOfAll(networks) },
    clock: systemClock,
    owners: () => directory.owners(),
    observe: (observation) => observe(observation),
    onCrash: (crash) => report({ kind: "worker-crashed", ...crash }),
    onReopened: onOpened,
  });
  const catalog = await openCatalog(options, workers);
  const { nfs, mount } = manifest.network.ports;
  const nodes = new NodeSet({
    ...options,
    catalog,
    serving: workers,
    onOpened,
    serverAddressFor: (node) => serverAddressFor(networks, node),
    ports: { nfs, mount },
  });
  observe = observeDataPlane(directory, nodes, options.activity, report);
  const reception = new Reception({
    ...settings,
    owners: directory,
    trees: nodes.served,
    workers,
    clock: systemClock,
    observe: observeNfs(directory, nodes.served, report),
    learnNeighbours: options.learnNeighbours,
  });
  directory.onOwnerChange = (address, owner) => {
    workers.ownerChanged(address, owner);
    reception.ownerChanged(address);
  };
  return {
    nodes,
    layers: new NodeLayers({ ...options, nodes, catalog, serving: workers, stateFolder: loaded.stateFolder }),
    reception,
    packetsOf: (...asked) => workers.packetsOf(...asked),
    async stop() {
      await workers.stop();
      await catalog.close();
    },
  };
}

/** Only now: layers that no tree leads to are removed, and an earlier manager's workers might still write to one. */
async function openCatalog({ keyValueStore, loaded }: ServingOptions, workers: Workers): Promise<TreeCatalog> {
  const dataFiles = openDataFiles(join(loaded.stateFolder, "data"));
  try {
    return await openTreeCatalog({ keyValueStore, dataFiles, clock: systemClock, random: systemRandom });
  } catch (error) {
    await workers.stop();
    throw error;
  }
}
