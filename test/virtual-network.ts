/**
 * The program's own boot services and virtual Pis on one Ethernet in memory, in simulated time: who is a node is decided by
 * the manager's policy, files come from a table.
 */

import { dhcpPolicy } from "../src/boot/dhcp-policy.ts";
import { NodeDirectory } from "../src/boot/node-directory.ts";
import { type Ipv4, type Mac, parseMac } from "../src/bytes/addresses.ts";
import type { DhcpObservation } from "../src/dhcp/observation.ts";
import type { DhcpSettings, DhcpSubnet } from "../src/dhcp/policy.ts";
import { startDhcpServer } from "../src/dhcp/server.ts";
import { PI_MODELS } from "../src/pi/models.ts";
import type { EthernetPort } from "../src/ports.ts";
import { type BootedFirmware, bootOverNetwork } from "../src/simulator/firmware.ts";
import { type FirmwareEvent, FirmwareFailure } from "../src/simulator/firmware-events.ts";
import type { FirmwareSettings } from "../src/simulator/firmware-settings.ts";
import { findVirtualModel, makeBoard, type VirtualBoard } from "../src/simulator/models.ts";
import { NetworkStack } from "../src/simulator/network-stack.ts";
import { startRouter } from "../src/simulator/router.ts";
import { seededRandom } from "../src/simulator/seed.ts";
import { SimulatedClock } from "../src/simulator/simulated-clock.ts";
import { stackUdpSockets } from "../src/simulator/stack-sockets.ts";
import { VirtualLan } from "../src/simulator/virtual-lan.ts";
import { VirtualPi, type VirtualPiEvent } from "../src/simulator/virtual-pi.ts";
import { startTftpServer } from "../src/tftp/server.ts";

export const SERVER = "10.77.0.1" as Ipv4;
export const ROUTER = "10.77.0.254" as Ipv4;
export const NETMASK = "255.255.255.0" as Ipv4;

export type Files = Record<string, string | Uint8Array>;
export type DhcpMode = "server" | "proxy";

export interface BootOutcome {
  booted?: BootedFirmware;
  failure?: FirmwareFailure;
  events: FirmwareEvent[];
  /** What the board sent. */
  frames: Uint8Array[];
  durationMs: number;
}

export interface PoweredPi {
  pi: VirtualPi;
  events: VirtualPiEvent[];
  /** When it is off. */
  off: Promise<void>;
}

export interface ServiceSettings {
  /** `none`: files only. */
  mode: DhcpMode | "none";
  boards: readonly VirtualBoard[];
  files?: Files;
  /** Ours on the network; a port in front of it is where faults of the server stand. */
  port?: EthernetPort;
  /** Behind a router with a relay agent. */
  behind?: { router: Ipv4; subnet: DhcpSubnet };
  observe?(observation: DhcpObservation): void;
}

export class VirtualNetwork {
  readonly clock = new SimulatedClock();
  readonly lan: VirtualLan;
  readonly #random;
  #transferCount = () => 0;

  constructor({ seed = 1 }: { seed?: number } = {}) {
    this.lan = new VirtualLan(this.clock);
    this.#random = seededRandom(seed);
  }

  /** A board of the model; up to 254 of them are different. */
  board(model: string, number = 1): VirtualBoard {
    const serial = `b0000${number.toString(16).padStart(3, "0")}`;
    return makeBoard(findVirtualModel(model)!, { serial }, seededRandom(number));
  }

  host(address: Ipv4, port: EthernetPort = this.lan.plug(), router?: Ipv4): NetworkStack {
    const mac = `02:00:00:00:00:${Number(address.split(".")[3]).toString(16).padStart(2, "0")}` as Mac;
    const stack = new NetworkStack({ mac: parseMac(mac), clock: this.clock, transmit: (frame) => port.send(frame) });
    stack.configure({ address, netmask: NETMASK, ...(router && { router }) });
    port.onFrame((frame) => stack.receive(frame));
    return stack;
  }

  /** Our DHCP and TFTP. The boards are nodes 10.77.0.11 and on. Returns how to stop them. */
  async serve(settings: ServiceSettings): Promise<() => void> {
    const { mode, boards, files = ALL_FILES, port, behind, observe = () => {} } = settings;
    const { clock } = this;
    const sockets = stackUdpSockets(this.host(SERVER, port, behind?.router));
    const network = behind?.subnet.network?.replace(/\d+$/, "") ?? "10.77.0.";
    const nodes = boards.map(({ mac, serial }, index) => {
      const address = `${network}${index + 11}` as Ipv4;
      return { name: `node${index + 1}`, mac, serial, ...(mode === "server" && { address }) };
    });
    const policy = dhcpPolicy(new NodeDirectory(nodes));
    const dhcp =
      mode === "none"
        ? undefined
        : await startDhcpServer({ sockets, clock, settings: dhcpSettings(mode, behind?.subnet), policy, observe });
    const tftp = await startTftpServer({
      sockets,
      clock,
      binding: { address: SERVER, port: 69 },
      observe: () => {},
      handler: { open: ({ path }) => answerFile(files, path) },
    });
    this.#transferCount = () => tftp.transferCount;
    return () => {
      dhcp?.close();
      tftp.close();
    };
  }

  /** TFTP transfers that our server has under way. */
  get transferCount(): number {
    return this.#transferCount();
  }

  /** Gives addresses to all, and tells nobody where to boot from. */
  async startRouter(): Promise<void> {
    const { clock } = this;
    await startRouter({ port: this.lan.plug(), clock, address: ROUTER, prefixLength: 24, taken: [SERVER, ROUTER] });
  }

  /** Powers a board on. What `wrap` puts between board and switch is where faults of its cable stand. */
  async boot(
    board: VirtualBoard,
    settings: Partial<FirmwareSettings> = {},
    wrap: (port: EthernetPort) => EthernetPort = (port) => port,
  ): Promise<BootOutcome> {
    const { clock } = this;
    const events: FirmwareEvent[] = [];
    const frames: Uint8Array[] = [];
    const port = recording(wrap(this.lan.plug()), frames);
    const world = { port, clock, random: this.#random, report: (event: FirmwareEvent) => void events.push(event) };
    const startMs = clock.monotonicMs();
    const ended = (result: Pick<BootOutcome, "booted" | "failure">): BootOutcome => {
      return { ...result, events, frames, durationMs: clock.monotonicMs() - startMs };
    };
    try {
      return ended({ booted: await bootOverNetwork(board, world, settings) });
    } catch (error) {
      if (error instanceof FirmwareFailure) return ended({ failure: error });
      throw error;
    } finally {
      await port.close();
    }
  }

  /** A board that tries again as its firmware does, and ends where its kernel would start. */
  powerOn(board: VirtualBoard, settings: Partial<FirmwareSettings> = {}): PoweredPi {
    const events: VirtualPiEvent[] = [];
    const pi = new VirtualPi({
      name: "node1",
      board,
      tapName: "tap0",
      openPort: () => this.lan.plug(),
      firmware: settings,
      clock: this.clock,
      random: this.#random,
      report: (event) => void events.push(event),
    });
    return { pi, events, off: pi.run() };
  }

  run<Value>(promise: Promise<Value>): Promise<Value> {
    return this.clock.runUntilSettled(promise);
  }

  wait(durationMs: number): Promise<void> {
    return new Promise((resolve) => void this.clock.after(durationMs, resolve));
  }
}

function dhcpSettings(mode: DhcpMode, relayed?: DhcpSubnet): DhcpSettings {
  if (mode === "proxy") return { mode, serverAddress: SERVER };
  const own = { serverAddress: SERVER, subnetMask: NETMASK, routers: [], dnsServers: [], leaseTimeS: 3600 };
  return { mode, ...own, ...(relayed && { relayed: [relayed] }) };
}

function recording(port: EthernetPort, frames: Uint8Array[]): EthernetPort {
  return {
    send(frame) {
      frames.push(frame);
      port.send(frame);
    },
    onFrame: (handler) => port.onFrame(handler),
    close: () => port.close(),
  };
}

export function answerFile(files: Files, path: string) {
  const content = files[path];
  if (content === undefined) return { kind: "missing", reason: "no such file" } as const;
  const bytes = Buffer.from(content);
  const read = (target: Uint8Array, offset: number) => bytes.copy(target, 0, offset);
  return { kind: "file", sizeBytes: bytes.length, read, close: () => {} } as const;
}

/** What a boot folder for all models holds, small. */
export const ALL_FILES: Files = {
  "bootcode.bin": new Uint8Array(52_460),
  "start.elf": new Uint8Array(9000).fill(3),
  "fixup.dat": new Uint8Array(6660),
  "start4.elf": new Uint8Array(9000).fill(4),
  "fixup4.dat": new Uint8Array(5448),
  "config.txt": "arm_64bit=1\nauto_initramfs=1\ndtoverlay=disable-wifi\n",
  "cmdline.txt": "console=serial0,115200 root=/dev/nfs\n",
  "kernel8.img": new Uint8Array(8000).fill(8),
  "kernel_2712.img": new Uint8Array(8000).fill(5),
  initramfs8: "initramfs of kernel8",
  initramfs_2712: "initramfs of kernel_2712",
  "overlays/overlay_map.dtb": "map",
  "overlays/disable-wifi.dtbo": "overlay",
  ...Object.fromEntries(PI_MODELS.map(({ deviceTree }) => [deviceTree, `device tree ${deviceTree}`])),
};

/** Paths in the order they were asked for; a probe has a question mark. */
export function askedFor(events: readonly FirmwareEvent[]): string[] {
  return events.flatMap((event) => {
    if (event.kind === "file-probed") return [`${event.path}?`];
    return event.kind === "file-loaded" || event.kind === "file-missing" ? [event.path] : [];
  });
}

export function dhcpMessages(events: readonly FirmwareEvent[]): string[] {
  return events.flatMap((event) => (event.kind === "dhcp" ? [event.message] : []));
}
