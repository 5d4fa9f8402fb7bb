/**
 * The composition root: everything that runs on the manager, put together once and taken apart in reverse.
 *
 *   manifest → images → plans and trees → NFS, TFTP, DHCP → events → status → API
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { FastifyInstance } from "fastify";
import { Discovery } from "../boot/discovery.ts";
import { NodeDirectory } from "../boot/node-directory.ts";
import type { Report } from "../boot/report.ts";
import type { BootEvent } from "../cluster/event.ts";
import type { ManifestNode } from "../cluster/manifest.ts";
import { type ClusterStatus, INITIAL_STATUS, nextStatus } from "../cluster/status.ts";
import type { KeyValueStore } from "../ports.ts";
import { systemClock } from "../system/clock.ts";
import { openLmdbStore } from "../system/lmdb-store.ts";
import { neighbours } from "../system/neighbours.ts";
import { systemRandom } from "../system/random.ts";
import { type ManagerControl, serveApi } from "./api-server.ts";
import { AutoAdoption } from "./auto-adoption.ts";
import { startBootServices } from "./boot-services.ts";
import { ClusterActivity } from "./cluster-activity.ts";
import { ClusterControl } from "./cluster-control.ts";
import { ClusterDiagnoses } from "./cluster-diagnoses.ts";
import { runAnsible } from "./configuration/ansible-run.ts";
import { Configurator } from "./configuration/configurator.ts";
import { FrontDoor } from "./front-door.ts";
import type { ImportProgress } from "./image-store.ts";
import { Images } from "./images.ts";
import { Journal } from "./journal.ts";
import { LearnedMacs } from "./learned-macs.ts";
import { LiveManifest } from "./live-manifest.ts";
import { ManifestCommands } from "./manifest-commands.ts";
import { ManifestError } from "./manifest-error.ts";
import type { LoadedManifest } from "./manifest-file.ts";
import { watchManifest } from "./manifest-watch.ts";
import { planOf, resetNode } from "./node-commands.ts";
import type { NodeLayers } from "./node-layers.ts";
import { NodeRecords } from "./node-records.ts";
import { watchPresence } from "./presence.ts";
import { recallNodes } from "./recalled-nodes.ts";
import { RequestError } from "./request-error.ts";
import { Secrets } from "./secrets.ts";
import { type ServiceNetwork, serviceNetworks } from "./services.ts";
import { type Serving, startServing } from "./serving.ts";
import { returnMemoryWhenQuiet } from "./spare-memory.ts";
import { socketPathOf } from "./state-folder.ts";
import { type ManagerStatusView, viewManager } from "./status-view.ts";
import { VERSION } from "./version.ts";

const NO_PACKETS = { packets: [], last: 0 };
const STARTING = "the manager is still starting";

export interface ManagerOptions {
  loaded: LoadedManifest;
  onImageProgress?: (progress: ImportProgress) => void;
  /** Hears every event from the first on. */
  onEvent?: (event: BootEvent) => void;
  /** Worker processes; absent: one for each core. */
  workers?: number;
}

export class Manager implements ManagerControl {
  readonly journal: Journal;
  readonly activity = new ClusterActivity(systemClock, () => this.#manifest.loaded.manifest.nodes);
  readonly records: NodeRecords;
  readonly diagnoses: ClusterDiagnoses;
  readonly manifest: ManifestCommands;
  readonly cluster: ClusterControl;
  readonly #directory: NodeDirectory;
  readonly #images: Images;
  readonly #keyValueStore: KeyValueStore;
  readonly #networks: readonly ServiceNetwork[];
  readonly #secrets: Secrets;
  readonly #startedMs = systemClock.unixMs();
  readonly #stoppers: (() => void | Promise<void>)[] = [];
  readonly #manifest: LiveManifest;
  readonly #workerCount: number | undefined;
  readonly #configurator: Configurator;
  readonly #watchPresence: () => () => void;
  #isServing = false;
  #status: ClusterStatus = INITIAL_STATUS;
  #serving!: Serving;

  /** Use `startManager`. */
  constructor({ loaded, onEvent, workers }: ManagerOptions) {
    this.#workerCount = workers;
    const { stateFolder } = loaded;
    mkdirSync(stateFolder, { recursive: true });
    this.#manifest = new LiveManifest(loaded, {
      isServing: () => this.#isServing,
      take: (next, added) => this.#apply(next, added),
      prepareNode: (name) => this.#secrets.prepareNode(name),
    });
    this.manifest = new ManifestCommands({
      manifest: this.#manifest,
      isServing: () => this.#isServing,
      refusal: (node) => this.#serving.nodes.refusal(node),
      hasJoined: (node) => this.#status.nodes.get(node)?.hasJoined === true,
    });
    this.#networks = serviceNetworks(loaded.manifest);
    this.journal = new Journal(join(stateFolder, "events.ndjson"), systemClock);
    if (onEvent) this.journal.listen(onEvent);
    const warn = (message: string) => this.#report({ kind: "warning", message });
    this.#directory = new NodeDirectory([], new LearnedMacs(join(stateFolder, "learned-macs.json"), warn));
    this.records = new NodeRecords({
      journal: this.journal,
      directory: this.#directory,
      clock: systemClock,
      stateFolder,
      ownAddresses: this.#networks.map(({ address }) => address),
      packetsOfWorker: async (...asked) => (this.#isServing ? this.#serving.packetsOf(...asked) : NO_PACKETS),
    });
    const nodes = () => this.#manifest.loaded.manifest.nodes;
    const feed = { journal: this.journal, clock: systemClock, report: this.#report, status: () => this.#status };
    this.diagnoses = new ClusterDiagnoses({ ...feed, nodes });
    this.#watchPresence = () => watchPresence(this.#networks, { ...feed, nodes });
    this.cluster = new ClusterControl({
      ...feed,
      loaded: () => this.#manifest.loaded,
      isServing: () => this.#isServing,
    });
    this.#images = new Images(stateFolder);
    this.#secrets = new Secrets(stateFolder, systemRandom);
    this.#keyValueStore = openLmdbStore(join(stateFolder, "trees"));
    this.#configurator = new Configurator({ ...feed, loaded: () => this.#manifest.loaded, runAnsible });
  }

  get network(): ServiceNetwork {
    return this.#networks[0]!;
  }

  /** Rejects with the first thing that stands in the way, everything begun undone. */
  async start(onImageProgress: (progress: ImportProgress) => void): Promise<void> {
    try {
      await this.#start(onImageProgress);
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async #start(onImageProgress: (progress: ImportProgress) => void): Promise<void> {
    const { loaded } = this.#manifest;
    const { stateFolder, path } = loaded;
    // First of all: it is also the lock that keeps a second manager out of the state folder.
    const api: FastifyInstance = await serveApi(socketPathOf(stateFolder), this, this.journal);
    this.#stoppers.push(() => api.close());
    // At once: who is refused a connection comes back late.
    const frontDoor = await FrontDoor.open(this.#networks, loaded.manifest.network.ports);
    this.#stoppers.push(() => frontDoor.close());
    await this.journal.load();
    for (const event of this.journal.events) this.#status = nextStatus(this.#status, event);
    this.#stoppers.push(
      () => this.records.close(),
      () => this.journal.close(),
      this.journal.listen((event) => {
        this.#status = nextStatus(this.#status, event);
      }),
      this.diagnoses.start(),
    );
    this.#report({ kind: "manager-started", version: VERSION });
    // So that its number is not given again, whatever happens next.
    await this.journal.flush();
    for await (const { name } of this.#images.openAll(loaded, onImageProgress)) {
      this.#report({ kind: "image-ready", image: name });
    }

    this.#serving = await startServing({
      loaded,
      directory: this.#directory,
      networks: this.#networks,
      images: this.#images,
      secrets: this.#secrets,
      keyValueStore: this.#keyValueStore,
      activity: this.activity,
      report: this.#report,
      status: () => this.#status,
      learnNeighbours: this.#learnNeighbours,
      isMember: (node) => this.cluster.isMember(node),
      workerCount: this.#workerCount,
    });
    this.#stoppers.push(() => this.#serving.stop());
    await this.#apply(loaded);
    recallNodes(this.#directory, this.#status);
    this.#stoppers.push(await this.#startServices(frontDoor));
    this.#stoppers.push(returnMemoryWhenQuiet(systemClock), this.cluster.start(), this.#watchPresence());
    const reload = () => void this.#reloadQuietly(() => this.#manifest.reload());
    const reloadIfChanged = () => void this.#reloadQuietly(() => this.#manifest.reloadIfChanged());
    this.#stoppers.push(watchManifest(path, reloadIfChanged, reload));
    this.#isServing = true;
    this.#stoppers.push(this.#configurator.start());
    // It may have been edited while images were imported.
    reloadIfChanged();
  }

  readonly #report: Report = (occurrence, node) => void this.journal.record(occurrence, node);

  readonly #learnNeighbours = async () => {
    for (const { address, mac } of await neighbours()) this.#directory.learnNeighbour(address, mac);
  };

  #startServices(frontDoor: FrontDoor): Promise<() => Promise<void>> {
    const discovery = new Discovery(systemClock, this.#report);
    const adoption = new AutoAdoption({
      clock: systemClock,
      manifest: () => this.#manifest.loaded.manifest,
      addNode: (choose) => this.#manifest.addChosen(choose),
      isNode: ({ mac, serial }) => this.#directory.find(mac, serial) !== undefined,
      hasFiles: (name) => this.#serving.layers.hasFiles(name),
      report: this.#report,
    });
    discovery.onSeen = (pi) => adoption.seen(pi);
    return startBootServices({
      loaded: this.#manifest.loaded,
      networks: this.#networks,
      directory: this.#directory,
      frontDoor,
      serving: this.#serving,
      captures: this.records.captures,
      report: this.#report,
      learnNeighbours: this.#learnNeighbours,
      onUnknownPi: (pi) => discovery.seen(pi),
    });
  }

  async #apply(loaded: LoadedManifest, added?: ManifestNode): Promise<void> {
    const { network, nodes } = loaded.manifest;
    if (JSON.stringify(network) !== JSON.stringify(this.#manifest.loaded.manifest.network)) {
      this.#report({
        kind: "warning",
        message: "The network section has changed: restart the manager for it to take effect",
        about: "network-changed",
      });
    }
    await (added ? this.#serving.nodes.add(loaded, added) : this.#serving.nodes.apply(loaded));
    if (added) this.#directory.addNode(nodes, added);
    else this.#directory.setNodes(nodes);
    this.#report({ kind: "manifest-loaded", nodes: nodes.length });
  }

  async #reloadQuietly(reload: () => Promise<void>): Promise<void> {
    try {
      await reload();
    } catch (error) {
      const problems = error instanceof ManifestError ? error.problems.length : 1;
      this.#report({ kind: "manifest-rejected", problems });
      this.#report({ kind: "warning", message: (error as Error).message });
    }
  }

  /** Stops what was started, last first. Nodes pause until a manager is back. */
  async stop(): Promise<void> {
    // One that found another manager here has nothing to say in that one's journal.
    if (this.#stoppers.length > 0) this.#report({ kind: "manager-stopping" });
    const failures: unknown[] = [];
    const stoppers = this.#stoppers.splice(0).reverse();
    for (const stop of [...stoppers, () => this.#images.close(), () => this.#keyValueStore.close()]) {
      try {
        await stop();
      } catch (error) {
        // A disk that is full must not keep the rest from being closed.
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  status(): ManagerStatusView {
    return viewManager({
      manifest: this.#manifest.loaded.manifest,
      status: this.#status,
      address: this.network.address,
      startedMs: this.#startedMs,
      isServing: this.#isServing,
      nodes: this.#serving?.nodes,
      diagnoses: this.diagnoses,
      configurator: this.#configurator,
      isNode: ({ mac, serial }) => this.#directory.find(mac, serial) !== undefined,
      nowMs: systemClock.unixMs(),
    });
  }

  async plan(name: string): Promise<unknown> {
    if (!this.#isServing) throw new RequestError(503, `Cannot show the plan of ${name} yet: ${STARTING}`);
    return planOf(name, this.#serving);
  }

  async reset(name: string): Promise<{ droppedBytes: number }> {
    if (!this.#isServing) throw new RequestError(503, `Cannot reset ${name} yet: ${STARTING}`);
    return resetNode(name, this.#serving, this.#manifest);
  }

  configurator(): Configurator {
    if (!this.#isServing) throw new RequestError(503, `Cannot configure nodes yet: ${STARTING}`);
    return this.#configurator;
  }

  /** Snapshots, clones, and what nodes changed. */
  layers(): NodeLayers {
    if (!this.#isServing) throw new RequestError(503, `Cannot look at what nodes wrote yet: ${STARTING}`);
    return this.#serving.layers;
  }
}

/** Rejects with what stands in the way, in words for people. */
export async function startManager(options: ManagerOptions): Promise<Manager> {
  const manager = new Manager(options);
  await manager.start(options.onImageProgress ?? (() => {}));
  return manager;
}
