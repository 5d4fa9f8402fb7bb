/** A data plane in real processes with a state folder of its own, as the manager would have it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Ipv4, parseIpv4 } from "../../src/bytes/addresses.ts";
import { type OsImage, openOsImage } from "../../src/disk/os-image.ts";
import type { DataPlaneObservation, NodeOpened, NodeOpening } from "../../src/manager/data-plane/messages.ts";
import { startWorkers, type WorkerCrash, type Workers } from "../../src/manager/data-plane/workers.ts";
import type { KeyValueStore, TcpListener } from "../../src/ports.ts";
import { systemClock } from "../../src/system/clock.ts";
import { openDataFiles } from "../../src/system/data-files.ts";
import { openFileSource } from "../../src/system/file-source.ts";
import { openLmdbStore } from "../../src/system/lmdb-store.ts";
import { systemRandom } from "../../src/system/random.ts";
import { listenTcp } from "../../src/system/tcp.ts";
import { openTreeCatalog, type TreeCatalog } from "../../src/tree/tree-catalog.ts";
import { TREE_KINDS } from "../../src/tree/tree-description.ts";
import { makeSmallImage } from "../cli/small-image.ts";
import { NfsPeer } from "./nfs-peer.ts";

const LOOPBACK = parseIpv4("127.0.0.1");

export class DataPlaneLab {
  readonly folder: string;
  readonly observed: DataPlaneObservation[] = [];
  readonly crashes: WorkerCrash[] = [];
  readonly reopened: string[] = [];
  readonly #owners = new Map<Ipv4, string>();
  readonly #image: OsImage;
  #listener!: TcpListener;
  #store!: KeyValueStore;
  workers!: Workers;
  catalog!: TreeCatalog;

  private constructor(folder: string) {
    this.folder = folder;
    makeSmallImage(this.imagePath);
    this.#image = openOsImage(openFileSource(this.imagePath));
  }

  get imagePath(): string {
    return join(this.folder, "disk.img");
  }

  get port(): number {
    return this.#listener.localPort;
  }

  static async start(workers: number, folder = mkdtempSync(join(tmpdir(), "bramble-workers-"))): Promise<DataPlaneLab> {
    const lab = new DataPlaneLab(folder);
    lab.workers = await startWorkers(lab.settings(workers));
    lab.#store = openLmdbStore(join(folder, "trees"));
    lab.catalog = await openTreeCatalog({
      keyValueStore: lab.#store,
      dataFiles: openDataFiles(join(folder, "data")),
      clock: systemClock,
      random: systemRandom,
    });
    lab.#listener = await listenTcp({ address: LOOPBACK, port: 0 }, (accepted) => {
      const owner = lab.#owners.get(accepted.remote.address);
      if (owner === undefined) accepted.close();
      else lab.workers.serveConnection(owner, accepted);
    });
    return lab;
  }

  settings(count: number): Parameters<typeof startWorkers>[0] {
    return {
      count,
      settings: {
        stateFolder: this.folder,
        handleKey: new Uint8Array(16).fill(7),
        requirePrivilegedPorts: false,
        portMappings: [],
        tftpBinding: { address: LOOPBACK },
      },
      clock: systemClock,
      owners: () => this.#owners,
      observe: (observation) => void this.observed.push(observation),
      onCrash: (crash) => void this.crashes.push(crash),
      onReopened: (node) => void this.reopened.push(node),
    };
  }

  /** Opens a node's trees; `motd` is a generated file of the root. */
  async open(node: string, motd = node): Promise<NodeOpened> {
    return this.workers.open(await this.describe(node, motd));
  }

  async describe(node: string, motd = node): Promise<NodeOpening> {
    const content = Buffer.from(motd);
    const trees = TREE_KINDS.map((kind) =>
      this.catalog.tree({
        node,
        kind,
        image: this.#image[kind],
        imageId: "small",
        generated: kind === "root" ? [{ path: "/etc/motd", kind: "file", content, mode: 0o644, uid: 0, gid: 0 }] : [],
      }),
    );
    return { node, imageId: "small", imagePath: this.imagePath, trees: await Promise.all(trees) };
  }

  own(address: string, node: string | undefined): void {
    const parsed = parseIpv4(address);
    if (node === undefined) this.#owners.delete(parsed);
    else this.#owners.set(parsed, node);
    this.workers.ownerChanged(parsed, node);
  }

  connect(address: string): Promise<NfsPeer> {
    return NfsPeer.connect(this.port, address);
  }

  /** A connection of a node, and its root. */
  async mounted(address: string, node: string): Promise<{ peer: NfsPeer; root: Uint8Array }> {
    const peer = await this.connect(address);
    const root = await peer.mount(`/bramble/${node}/root`);
    if (typeof root === "number") throw new Error(`Cannot mount the root of ${node}: status ${root}`);
    return { peer, root };
  }

  /** As a kernel does: a connection that breaks is made again, and the call repeated. */
  async insistently<T>(address: string, call: (peer: NfsPeer) => Promise<T>): Promise<T> {
    for (;;) {
      const peer = await this.connect(address);
      try {
        return await call(peer);
      } catch (error) {
        if (!/connection was closed/.test((error as Error).message)) throw error;
      } finally {
        peer.close();
      }
    }
  }

  async stop(): Promise<void> {
    await this.#listener.close();
    await this.workers.stop();
    await this.catalog.close();
    await this.#store.close();
    this.#image.close();
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Waits until something is so; fails the test by its own timeout. */
export async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((done) => setTimeout(done, 10));
}
