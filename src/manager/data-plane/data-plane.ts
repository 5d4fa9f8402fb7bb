/**
 * Serves the files of some nodes: their trees, NFS on connections that somebody else accepted, and TFTP transfers that
 * somebody else was asked for. Knows nothing of processes: it runs in one with the control plane as well as in a worker.
 */
import { type AddressOwners, nodeExports, type ServedTree } from "../../boot/node-exports.ts";
import { type BootTrees, bootFile } from "../../boot/tftp-files.ts";
import type { Ipv4 } from "../../bytes/addresses.ts";
import type { OsImage } from "../../disk/os-image.ts";
import type { NfsObservation } from "../../nfs/observation.ts";
import { limitObservations } from "../../nfs/observation-limit.ts";
import { createNfsService, type NfsService } from "../../nfs/server.ts";
import type { ReadAnswer } from "../../nfs/volume.ts";
import { Latch } from "../../order/latch.ts";
import { isEepromUpdateFile } from "../../pi/eeprom-files.ts";
import type { Clock, DataFiles, KeyValueStore, TcpConnection, UdpSockets } from "../../ports.ts";
import type { TftpReadRequest } from "../../tftp/handler.ts";
import { openTftpTransfers, type TftpTransfers } from "../../tftp/transfers.ts";
import type { Tree } from "../../tree/tree.ts";
import type { TreeDescription } from "../../tree/tree-description.ts";
import { openTreeStore, type TreeStore } from "../../tree/tree-store.ts";
import { ConnectionsByAddress } from "../connections-by-address.ts";
import { ActivityWatch } from "./activity-watch.ts";
import type { DataPlaneObservation, DataPlaneSettings, NodeOpened, NodeOpening, NodeServing } from "./messages.ts";
import { readUpReport, UpReportWatch } from "./up-report-watch.ts";
import { WorkTimer } from "./work-timer.ts";

export interface DataPlaneOptions {
  settings: Omit<DataPlaneSettings, "stateFolder">;
  keyValueStore: KeyValueStore;
  dataFiles: DataFiles;
  clock: Clock;
  sockets: UdpSockets;
  /** 8 bytes, other ones for every data plane. */
  writeVerifier: Uint8Array;
  openImage(path: string): OsImage;
  /** See `TftpTransfersOptions`. */
  busyPart?(): number;
  observe(observation: DataPlaneObservation): void;
}

/** Connections of one node that wait for its trees. Linux makes one or two for a mount. */
const HELD_CONNECTIONS_MAX = 64;

interface NodeTrees {
  imageId: string;
  boot: Tree;
  root: Tree;
}

/** A tree that is served, and what is behind its volume. */
interface ServedNodeTree extends ServedTree {
  tree: Tree;
}

export async function createDataPlane(options: DataPlaneOptions): Promise<DataPlane> {
  const { keyValueStore, dataFiles, clock, sockets, settings, observe } = options;
  const trees = await openTreeStore({ keyValueStore, dataFiles, clock });
  const tftp = await openTftpTransfers({
    sockets,
    clock,
    binding: settings.tftpBinding,
    ...(options.busyPart && { busyPart: options.busyPart }),
    observe: (observation) => observe({ kind: "tftp", observation }),
  });
  return new DataPlane(options, trees, tftp);
}

export class DataPlane implements NodeServing {
  readonly #options: DataPlaneOptions;
  readonly #trees: TreeStore;
  readonly #tftp: TftpTransfers;
  readonly #nfs: NfsService;
  readonly #activity: ActivityWatch;
  readonly #workTimer: WorkTimer;
  readonly #upReports: UpReportWatch;
  readonly #images = new Map<string, OsImage>();
  readonly #nodes = new Map<string, NodeTrees>();
  /** Images of nodes that are being opened, or could not be, and then perhaps in part. */
  readonly #opening = new Map<string, string>();
  /** Nodes whose trees are being opened or were released, and how to let their clients in. */
  readonly #shut = new Map<string, Latch>();
  readonly #served = new Map<number, ServedNodeTree>();
  readonly #owners = new Map<Ipv4, string>();
  readonly #connections = new ConnectionsByAddress();

  /** Use `createDataPlane`. */
  constructor(options: DataPlaneOptions, trees: TreeStore, tftp: TftpTransfers) {
    const { settings, observe } = options;
    this.#options = options;
    this.#trees = trees;
    this.#tftp = tftp;
    const owners: AddressOwners = { ownerOf: (address) => this.#owners.get(address) };
    this.#upReports = new UpReportWatch((node, report) => observe({ kind: "up-report", node, report }));
    this.#activity = new ActivityWatch(options.clock);
    this.#workTimer = new WorkTimer(options.clock, {
      begin: () => this.#activity.begin(),
      look: () => this.#reportActivity(),
      rest: () => this.#activity.rest((treeId) => this.#nfs.counters(treeId)),
    });
    this.#nfs = createNfsService({
      ...settings,
      // A tree that is not here may well be another data plane's, and then it is another node's.
      exports: nodeExports(owners, this.#served, "forbidden"),
      clock: options.clock,
      writeVerifier: options.writeVerifier,
      observe: limitObservations(options.clock, (observation) =>
        observe({ kind: "nfs", observation: withoutObjects(observation) }),
      ),
      onWork: () => this.#workTimer.noteWork(),
      portMappings: () => settings.portMappings,
      onFileChanged: (change) => {
        const served = this.#served.get(change.treeId);
        if (served?.kind === "root") this.#upReports.changed(served.node, served.tree, change);
      },
    });
  }

  /** Opens the trees of a node, or opens them again as they are described now. Its clients wait until that is done. */
  async open({ node, imageId, imagePath, trees }: NodeOpening): Promise<NodeOpened> {
    this.#shutFor(node);
    const image = this.#image(imageId, imagePath);
    this.#opening.set(node, imageId);
    const [boot, root] = await Promise.all([
      this.#openTree(trees, "boot", image),
      this.#openTree(trees, "root", image),
    ]);
    this.#nodes.set(node, { imageId, boot, root });
    this.#opening.delete(node);
    this.#closeUnusedImages();
    this.#upReports.forget(node);
    this.#letIn(node);
    const upReport = readUpReport(root);
    return { usedBytes: this.#usedBytes(node), ...(upReport && { upReport }) };
  }

  async #openTree(
    descriptions: readonly TreeDescription[],
    kind: TreeDescription["kind"],
    image: OsImage,
  ): Promise<Tree> {
    const description = descriptions.find((each) => each.kind === kind);
    if (!description) throw new Error(`Cannot open the ${kind} tree of a node: it was not described`);
    const tree = await this.#trees.open(description, image[kind]);
    const { node, treeId } = description;
    const volume = this.#trees.volume(node, kind);
    if (!volume) throw new Error(`Cannot serve the ${kind} tree of ${node}: it was closed while it was opened`);
    this.#served.set(treeId, { node, kind, treeId, volume, tree });
    return tree;
  }

  #image(imageId: string, path: string): OsImage {
    const image = this.#images.get(imageId) ?? this.#options.openImage(path);
    this.#images.set(imageId, image);
    return image;
  }

  /** No call reads from one any more: a node changes its image while it is released. */
  #closeUnusedImages(): void {
    const used = new Set([...this.#opening.values(), ...Array.from(this.#nodes.values(), ({ imageId }) => imageId)]);
    for (const [imageId, image] of this.#images) {
      if (used.has(imageId)) continue;
      this.#images.delete(imageId);
      image.close();
    }
  }

  async release(node: string, { abandon }: { abandon: boolean }): Promise<{ usedBytes: number }> {
    const usedBytes = this.#usedBytes(node);
    this.#shutFor(node);
    try {
      await this.#trees.release(node, { abandon });
    } catch (error) {
      // The store goes on with the trees as they were.
      if (this.#nodes.has(node)) this.#letIn(node);
      throw error;
    }
    return { usedBytes };
  }

  async forget(node: string): Promise<void> {
    await this.#trees.forget(node);
    const treeIds = [...this.#served.values()].filter((served) => served.node === node).map(({ treeId }) => treeId);
    for (const treeId of treeIds) {
      this.#served.delete(treeId);
      this.#nfs.forgetTree(treeId);
    }
    this.#nodes.delete(node);
    this.#opening.delete(node);
    this.#closeUnusedImages();
    this.#activity.forget(node, treeIds);
    this.#upReports.forget(node);
    this.#letIn(node);
  }

  /** Of all nodes: they share a store. */
  flush(): Promise<void> {
    return this.#options.keyValueStore.flush();
  }

  async overriddenPaths(node: string): Promise<string[]> {
    const trees = this.#nodes.get(node);
    return trees ? [...trees.boot.overriddenGeneratedPaths(), ...trees.root.overriddenGeneratedPaths()] : [];
  }

  #usedBytes(node: string): number {
    const trees = this.#nodes.get(node);
    return trees ? trees.boot.usedBytes() + trees.root.usedBytes() : 0;
  }

  #shutFor(node: string): void {
    if (!this.#shut.has(node)) this.#shut.set(node, new Latch());
  }

  #letIn(node: string): void {
    const latch = this.#shut.get(node);
    this.#shut.delete(node);
    latch?.open();
  }

  /** Takes over who owns these addresses. A connection from an address that is another node's now is closed. */
  setOwners(owners: Iterable<readonly [Ipv4, string | undefined]>): void {
    for (const [address, owner] of owners) {
      if (this.#owners.get(address) === owner) continue;
      if (owner === undefined) this.#owners.delete(address);
      else this.#owners.set(address, owner);
      this.#connections.close(address);
    }
  }

  /** Serves a connection from the address of a node, as soon as the node's trees are there. */
  serveConnection(node: string, connection: TcpConnection): void {
    if (this.#owners.get(connection.remote.address) !== node) {
      connection.close();
      return;
    }
    this.#connections.add(connection);
    const latch = this.#shut.get(node);
    if (!latch) this.#nfs.serveConnection(connection);
    else if (latch.waitingCount >= HELD_CONNECTIONS_MAX) connection.close();
    else void latch.whenOpen(() => this.#nfs.serveConnection(connection));
  }

  /** Sends a file of the node's boot tree. */
  serveTftp(node: string, path: string, request: TftpReadRequest): void {
    this.#tftp.begin(request, () => {
      const latch = this.#shut.get(node);
      const find = () => bootFile(this.#bootTrees, { node, path });
      return latch ? latch.whenOpen(find) : find();
    });
  }

  readonly #bootTrees: BootTrees = {
    open: (node, path) => {
      const tree = this.#nodes.get(node)?.boot;
      const file = tree?.fileByPath(`/${path}`);
      const volume = this.#trees.volume(node, "boot");
      if (!volume || !file) return undefined;
      return {
        sizeBytes: file.sizeBytes,
        // As NFS clients do: what is in memory at once, the rest without keeping others, nothing while layers are exchanged.
        read: (target, offset) => {
          const take = ({ bytes, release }: ReadAnswer) => {
            target.set(bytes);
            release?.();
            return bytes.length;
          };
          const answer = volume.read(file.id, offset, target.length);
          return answer instanceof Promise ? answer.then(take) : take(answer);
        },
        close: () => {},
      };
    },
    blocked: (_, path) =>
      isEepromUpdateFile(path)
        ? "EEPROM updates are served only when a plan says so: the board would flash it"
        : undefined,
  };

  /** Tells of what was done since the last call; false when nothing was. */
  #reportActivity(): boolean {
    const { trees, nodes } = this.#activity.since(
      [...this.#served.values()].filter(({ node }) => !this.#shut.has(node)),
      (treeId) => this.#nfs.counters(treeId),
      (node) => this.#usedBytes(node),
    );
    if (trees.length > 0) this.#options.observe({ kind: "activity", trees, nodes });
    // Of nodes that are shut it was not told yet.
    return trees.length > 0 || this.#shut.size > 0;
  }

  /** Makes everything durable and lets go of it. The key-value store stays open. */
  async close(): Promise<void> {
    this.#workTimer.stop();
    this.#tftp.close();
    this.#connections.closeAll();
    try {
      await this.#trees.close();
    } finally {
      for (const image of this.#images.values()) image.close();
    }
  }
}

/** Whatever was thrown may not travel between processes; its words do. */
function withoutObjects(observation: NfsObservation): NfsObservation {
  if (observation.kind !== "fault") return observation;
  const { error } = observation;
  return { ...observation, error: error instanceof Error ? error.message : String(error) };
}
