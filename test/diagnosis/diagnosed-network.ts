/**
 * Virtual Pis and the program's own services on one Ethernet in memory, with the events that the manager would make of
 * what they see, and its diagnoses, looked for every second of simulated time.
 */
import { gzipSync } from "node:zlib";
import { dhcpPolicy, observeDhcp, observeOtherServers } from "../../src/boot/dhcp-policy.ts";
import { NodeDirectory, type NodeIdentity } from "../../src/boot/node-directory.ts";
import { exportPath, mountExports, observeNfs } from "../../src/boot/node-exports.ts";
import type { Report } from "../../src/boot/report.ts";
import { bootFile, observeTftp, tftpNodes } from "../../src/boot/tftp-files.ts";
import { type Ipv4, type Mac, parseMac } from "../../src/bytes/addresses.ts";
import { DiagnosisWatch } from "../../src/cluster/diagnosis/watch.ts";
import type { BootEvent } from "../../src/cluster/event.ts";
import { listenToOtherServers } from "../../src/dhcp/other-servers.ts";
import type { DhcpSettings, LeaseStore } from "../../src/dhcp/policy.ts";
import { startDhcpServer } from "../../src/dhcp/server.ts";
import type { NfsObservation } from "../../src/nfs/observation.ts";
import type { EthernetPort } from "../../src/ports.ts";
import { type FrameFault, withFaults } from "../../src/simulator/faults/frame-faults.ts";
import type { FirmwareSettings } from "../../src/simulator/firmware-settings.ts";
import { decodeFrame, type Frame } from "../../src/simulator/frames.ts";
import { findVirtualModel, makeBoard, type VirtualBoard } from "../../src/simulator/models.ts";
import { NetworkStack } from "../../src/simulator/network-stack.ts";
import { startRouter } from "../../src/simulator/router.ts";
import { seededChance, seededRandom } from "../../src/simulator/seed.ts";
import { SimulatedClock } from "../../src/simulator/simulated-clock.ts";
import { stackUdpSockets } from "../../src/simulator/stack-sockets.ts";
import { VirtualLan } from "../../src/simulator/virtual-lan.ts";
import { VirtualPi, type VirtualPiEvent } from "../../src/simulator/virtual-pi.ts";
import { startTftpServer } from "../../src/tftp/server.ts";
import { ALL_FILES, NETMASK, ROUTER, SERVER } from "../virtual-network.ts";
import { ScriptedMachines, type SystemScript } from "./scripted-machines.ts";
import { TftpProgram } from "./tftp-program.ts";

export type Files = Record<string, string | Uint8Array | Error>;

export interface NetworkSettings {
  mode?: "server" | "proxy" | "external";
  model?: string;
  boards?: readonly VirtualBoard[];
  files?: Files;
  seed?: number;
  /** In front of the manager's port. */
  faults?: readonly FrameFault[];
  dhcp?: Partial<DhcpSettings & { mode: "server" }>;
  leaseStore?: LeaseStore;
  /** Server mode: whether the manifest gives the nodes their addresses. */
  reserved?: boolean;
  beforeReply?: () => Promise<void> | undefined;
  /** Proxy mode: whether there is a router that gives addresses. */
  router?: boolean;
  tftp?: "closed";
  /** Of the frames that pass the manager's port, those that are lost. */
  drop?(frame: Frame, direction: "sent" | "received", network: DiagnosedNetwork): boolean;
}

export interface Named {
  cause: string;
  /** Since the network began. */
  atMs: number;
  node?: string;
}

/** What a virtual Pi takes for an arm64 kernel. */
const KERNEL = Buffer.alloc(4096);
KERNEL.write("ARM\x64", 0x38, "latin1");

/** A boot folder for all models, with kernels that a machine would start. */
export const BOOT_FILES: Files = { ...ALL_FILES, "kernel8.img": gzipSync(KERNEL), "kernel_2712.img": gzipSync(KERNEL) };

export const NODE = "node1";
const START_UNIX_MS = Date.UTC(2026, 0, 1);

export class DiagnosedNetwork {
  readonly clock = new SimulatedClock(START_UNIX_MS);
  readonly lan = new VirtualLan(this.clock);
  readonly watch = new DiagnosisWatch();
  readonly events: BootEvent[] = [];
  readonly named: Named[] = [];
  readonly cleared: Named[] = [];
  readonly boards: readonly VirtualBoard[];
  readonly directory: NodeDirectory;
  readonly piEvents: (VirtualPiEvent & { pi: string })[] = [];
  /** Hears what boards do, at the moment that they do it. */
  onPiEvent: (event: VirtualPiEvent, pi: VirtualPi) => void = () => {};
  readonly #settings: NetworkSettings;
  readonly #seed: number;
  readonly #stops: (() => void)[] = [];
  readonly #neighbours = new Map<Ipv4, Mac>();

  constructor(settings: NetworkSettings) {
    const { model = "4", boards = [makeTestBoard(model)], seed = 1, mode = "server", reserved = true } = settings;
    this.#settings = settings;
    this.#seed = seed;
    this.boards = boards;
    this.directory = new NodeDirectory(
      boards.map(({ mac, serial }, index): NodeIdentity => {
        const address = `10.77.0.${index + 11}` as Ipv4;
        return { name: `node${index + 1}`, mac, serial, ...(mode === "server" && reserved && { address }) };
      }),
    );
  }

  static async start(settings: NetworkSettings = {}): Promise<DiagnosedNetwork> {
    const network = new DiagnosedNetwork(settings);
    await network.#serve();
    return network;
  }

  readonly report: Report = (occurrence, node) => {
    const event: BootEvent = {
      ...occurrence,
      sequence: this.events.length + 1,
      unixMs: this.clock.unixMs(),
      ...(node === undefined ? {} : { node }),
    };
    this.events.push(event);
    this.watch.take(event);
  };

  async #serve(): Promise<void> {
    const { clock, directory, report } = this;
    const { mode = "server", files = BOOT_FILES, faults = [], leaseStore, beforeReply, tftp } = this.#settings;
    const chance = seededChance(this.#seed);
    const port = this.#noting(withFaults(this.lan.plug(), faults, { clock, chance }));
    const sockets = stackUdpSockets(this.host(SERVER, port));
    if (mode !== "server" && this.#settings.router !== false) {
      const taken = [SERVER, ROUTER];
      await startRouter({ port: this.lan.plug(), clock, address: ROUTER, prefixLength: 24, taken });
    }
    const dhcp = await startDhcpServer({
      sockets,
      clock,
      settings: dhcpSettings(mode, this.#settings.dhcp),
      policy: dhcpPolicy(directory, beforeReply),
      ...(leaseStore && { leaseStore }),
      observe: observeDhcp(directory, report),
    });
    const onAnswer = observeOtherServers(directory, clock, report);
    const stopListening = await listenToOtherServers({ sockets, ownAddress: SERVER, port: 68, onAnswer });
    this.#stops.push(() => dhcp.close(), stopListening);
    if (tftp === "closed") return;
    const find = tftpNodes(directory, async () => {
      for (const [address, mac] of this.#neighbours) directory.learnNeighbour(address, mac);
    });
    const trees = { open: (_: string, path: string) => openFile(files, path), blocked: () => undefined };
    const server = await startTftpServer({
      sockets,
      clock,
      binding: { address: SERVER, port: 69 },
      observe: observeTftp(directory, report),
      handler: {
        async open(request) {
          const found = await find(request);
          return "kind" in found ? found : bootFile(trees, found);
        },
      },
    });
    this.#stops.push(() => server.close());
  }

  /** Whose an address is, as the manager's kernel would know by ARP; and frames that are lost. */
  #noting(port: EthernetPort): EthernetPort {
    const { drop = () => false } = this.#settings;
    return {
      send: (frame) => {
        if (!drop(decodeFrame(frame), "sent", this)) port.send(frame);
      },
      onFrame: (handler) =>
        port.onFrame((frame) => {
          const decoded = decodeFrame(frame);
          if ("from" in decoded) this.#neighbours.set(decoded.from.address, decoded.source);
          if (!drop(decoded, "received", this)) handler(frame);
        }),
      close: () => port.close(),
    };
  }

  stopServices(): void {
    for (const stop of this.#stops.splice(0)) stop();
  }

  host(address: Ipv4, port: EthernetPort = this.lan.plug()): NetworkStack {
    const mac = parseMac(`02:00:00:00:00:${Number(address.split(".")[3]).toString(16).padStart(2, "0")}`);
    const stack = new NetworkStack({ mac, clock: this.clock, transmit: (frame) => port.send(frame) });
    stack.configure({ address, netmask: NETMASK });
    port.onFrame((frame) => stack.receive(frame));
    return stack;
  }

  /** Switches a board on; it tries to boot until it is switched off. */
  powerOn(
    board = this.boards[0]!,
    options: {
      firmware?: Partial<FirmwareSettings>;
      cable?: readonly FrameFault[];
      system?: SystemScript;
      lan?: VirtualLan;
    } = {},
  ): VirtualPi {
    const { clock } = this;
    const index = this.boards.indexOf(board);
    const chance = seededChance(this.#seed + index);
    const openPort = () => withFaults((options.lan ?? this.lan).plug(), options.cable ?? [], { clock, chance });
    const pi: VirtualPi = new VirtualPi({
      name: `node${index + 1}`,
      board,
      tapName: `tap${index}`,
      openPort,
      ...(options.system && { machines: new ScriptedMachines(this.clock, board, openPort, options.system) }),
      ...(options.firmware && { firmware: options.firmware }),
      clock,
      random: seededRandom(this.#seed + index),
      report: (event) => {
        this.piEvents.push({ ...event, pi: `node${index + 1}` });
        this.onPiEvent(event, pi);
      },
    });
    void pi.run();
    return pi;
  }

  get #trees() {
    const volume = { rootId: 2, epoch: 1 };
    const nodes = [...this.directory.nodes.entries()];
    return new Map(nodes.map(([treeId, { name }]) => [treeId, { node: name, kind: "root", treeId, volume } as const]));
  }

  /** What the NFS service tells. */
  nfs(observation: NfsObservation): void {
    observeNfs(this.directory, this.#trees, this.report)(observation);
  }

  /** What the NFS service would say to a mount, and tell of it. */
  mount(node: string, from: Ipv4, path = exportPath(node, "root")): boolean {
    const trees = this.#trees;
    const observe = observeNfs(this.directory, trees, this.report);
    const found = mountExports(this.directory, trees).find(path, from);
    if ("refused" in found) {
      observe({ kind: "mount-refused", client: from, path, cause: found.refused, reason: found.reason });
    } else observe({ kind: "mount", client: from, path, treeId: found.treeId });
    return !("refused" in found);
  }

  /** Lets time pass, and notes every diagnosis. */
  async pass(durationMs: number): Promise<void> {
    for (let passedMs = 0; passedMs < durationMs; passedMs += 1000) {
      await this.clock.runFor(Math.min(1000, durationMs - passedMs));
      this.check();
    }
  }

  /** How often boards have loaded a file. */
  loads(name: string): number {
    return this.piEvents.filter((event) => event.kind === "file-loaded" && event.path.endsWith(name)).length;
  }

  /** Lets time pass until boards have loaded a file so often. */
  async untilLoaded(name: string, times = 1): Promise<void> {
    for (let passedMs = 0; this.loads(name) < times && passedMs < 60_000; passedMs += 1) await this.clock.runFor(1);
    this.check();
  }

  /** A program at the node's address that is no boot loader. What it gets is heard by `hear`. */
  programAt(address: Ipv4, mac = this.boards[0]!.mac): TftpProgram {
    const port = this.lan.plug();
    const stack = new NetworkStack({ mac, clock: this.clock, transmit: (frame) => port.send(frame) });
    stack.configure({ address, netmask: NETMASK });
    port.onFrame((frame) => stack.receive(frame));
    return new TftpProgram(stack);
  }

  check(): void {
    const atMs = this.clock.monotonicMs();
    const names = this.directory.nodes.map(({ name }) => name);
    for (const { occurrence, node } of this.watch.check(this.clock.unixMs(), names)) {
      const list = occurrence.kind === "diagnosis" ? this.named : this.cleared;
      list.push({ cause: occurrence.cause, atMs, ...(node !== undefined && { node }) });
    }
  }

  /** Causes named for a node (with no name: for the network), in order, each once. */
  causes(node?: string): string[] {
    return [...new Set(this.named.filter((each) => each.node === node).map(({ cause }) => cause))];
  }
}

export function makeTestBoard(model: string, number = 1): VirtualBoard {
  const serial = `b0000${number.toString(16).padStart(3, "0")}`;
  return makeBoard(findVirtualModel(model)!, { serial }, seededRandom(number));
}

export function addressOf(number: number): Ipv4 {
  return `10.77.0.${number + 10}` as Ipv4;
}

function dhcpSettings(mode: "server" | "proxy" | "external", more: NetworkSettings["dhcp"]): DhcpSettings {
  if (mode !== "server") return { mode, serverAddress: SERVER };
  const own = { serverAddress: SERVER, subnetMask: NETMASK, routers: [], dnsServers: [], leaseTimeS: 3600 };
  return { mode, ...own, ...more };
}

function openFile(files: Files, path: string) {
  const content = files[path];
  if (content === undefined) return undefined;
  const isBroken = content instanceof Error;
  const bytes = isBroken ? Buffer.alloc(5000) : Buffer.from(content);
  const read = (target: Uint8Array, offset: number) => {
    if (isBroken) throw content;
    return bytes.copy(target, 0, offset);
  };
  return { sizeBytes: bytes.length, read, close: () => {} };
}
