/** Faults of single frames, old boot loaders, and programs that are none: one after the other as the board meets them. */
import { describe } from "vitest";
import { observeTftp } from "../../src/boot/tftp-files.ts";
import { type Ipv4, parseMac } from "../../src/bytes/addresses.ts";
import { CONFIG_TXT_NOT_ASCII } from "../../src/cluster/plan-wording.ts";
import { makeOption, OPTIONS, readOption } from "../../src/dhcp/options.ts";
import { decodePacket, encodePacket, makePacket } from "../../src/dhcp/packet.ts";
import type { UdpPeer } from "../../src/ports.ts";
import { startOtherDhcpServer } from "../../src/simulator/faults/other-dhcp-server.ts";
import { startRelay } from "../../src/simulator/faults/relay.ts";
import type { Frame } from "../../src/simulator/frames.ts";
import { VirtualLan } from "../../src/simulator/virtual-lan.ts";
import type { TftpObservation } from "../../src/tftp/observation.ts";
import { decodePacket as decodeTftp, encodePacket as encodeTftp } from "../../src/tftp/packet.ts";
import { startTftpServer } from "../../src/tftp/server.ts";
import { MemoryClock, MemorySockets } from "../memory-network.ts";
import { ALL_FILES, NETMASK, SERVER } from "../virtual-network.ts";
import { addressOf, BOOT_FILES, type DiagnosedNetwork, type NetworkSettings, NODE } from "./diagnosed-network.ts";
import { boot, type Scenario, scenarios } from "./scenario.ts";

const OTHER = "10.77.0.253" as Ipv4;
const RELAY = "10.88.0.1" as Ipv4;
const MIB = 1024 * 1024;
const { "kernel8.img": _, ...WITHOUT_KERNEL } = ALL_FILES;

/** A board behind a relay agent, on a network that the manifest has or not. */
function behindRelay(
  scenario: Pick<Scenario, "cause" | "bySeconds"> & { known: boolean; model: string; released?: string },
): Scenario {
  const { cause, bySeconds, known, model, released } = scenario;
  const subnet = { serverAddress: SERVER, network: "10.88.0.0" as Ipv4, subnetMask: NETMASK, routers: [RELAY] };
  const range = { first: "10.88.0.50" as Ipv4, last: "10.88.0.99" as Ipv4 };
  const relayed = [{ ...subnet, dnsServers: [], leaseTimeS: 3600, range }];
  return {
    cause,
    bySeconds,
    settings: { model, reserved: false, ...(known && { dhcp: { relayed } }) },
    async run(network) {
      const { clock } = network;
      const pis = new VirtualLan(clock);
      startRelay({
        clock,
        pis: { port: pis.plug(), address: RELAY, netmask: NETMASK },
        servers: { port: network.lan.plug(), address: "10.77.0.200" as Ipv4, netmask: NETMASK },
        dhcpServer: SERVER,
      });
      network.powerOn(network.boards[0], { lan: pis, ...(released !== undefined && { firmware: { released } }) });
      await network.pass(24_000);
    },
  };
}

const isDhcp = (frame: Frame, message: string) =>
  "bytes" in frame &&
  frame.to.port === 68 &&
  readOption(decodePacket(frame.bytes).options, OPTIONS.messageType) === message;

const isTftpOfServer = (frame: Frame) => "bytes" in frame && frame.from.port !== 67 && frame.from.address === SERVER;

/** What the manager sends by TFTP is lost from when a file was loaded, for some seconds. */
function lostAfter(file: string, forMs: number): NonNullable<NetworkSettings["drop"]> {
  let sinceMs: number | undefined;
  return (frame, direction, network) => {
    if (direction !== "sent" || !isTftpOfServer(frame) || network.loads(file) === 0) return false;
    sinceMs ??= network.clock.monotonicMs();
    return network.clock.monotonicMs() - sinceMs < forMs;
  };
}

/** One acknowledgement in the middle of a file is lost. */
function lostAcknowledgement(block: number): NonNullable<NetworkSettings["drop"]> {
  let isLost = false;
  return (frame, direction) => {
    if (isLost || direction !== "received" || !("bytes" in frame) || frame.to.port < 1024) return false;
    const packet = decodeTftp(frame.bytes);
    isLost = packet.kind === "acknowledge" && packet.block === block;
    return isLost;
  };
}

const BLOCK_BYTES = 1468;

/** What the TFTP service tells of a client that acknowledges so many blocks of a longer file, and then says nothing more. */
async function transferThatStopsAt(blocks: number, path: string, client: UdpPeer): Promise<TftpObservation[]> {
  const sockets = new MemorySockets();
  const clock = new MemoryClock();
  const told: TftpObservation[] = [];
  const read = (target: Uint8Array) => target.length;
  const open = () => ({ kind: "file", sizeBytes: BLOCK_BYTES * 70_000, read, close: () => {} }) as const;
  const server = await startTftpServer({
    sockets,
    clock,
    binding: { address: SERVER, port: 69 },
    observe: (observation) => told.push(observation),
    handler: { open },
  });
  const options = new Map([["blksize", String(BLOCK_BYTES)]]);
  sockets.deliver(69, encodeTftp({ kind: "readRequest", path, mode: "octet", options }), client);
  const [offer] = sockets.sent();
  for (let block = 0; block <= blocks; block++) {
    sockets.deliver(offer!.fromPort, encodeTftp({ kind: "acknowledge", block }), client);
    sockets.sent();
  }
  clock.pass(20_000);
  server.close();
  return told;
}

/** Takes the power away for a moment each time that a file was loaded, and in the end for good. */
async function cyclePower(network: DiagnosedNetwork, file: string, times: number): Promise<void> {
  let left = times;
  network.onPiEvent = (event, pi) => {
    if (event.kind !== "file-loaded" || !event.path.endsWith(file)) return;
    left -= 1;
    if (left > 0) pi.powerCycle();
    else pi.powerOff();
  };
  network.powerOn();
  await network.pass(times * 6000 + 10_000);
}

describe("a board and its DHCP server", () => {
  scenarios([
    behindRelay({ cause: "unknown-relay", bySeconds: 12, known: false, model: "4" }),
    behindRelay({ cause: "relayed-rom", bySeconds: 30, known: true, model: "3b" }),
    behindRelay({ cause: "relayed-old-eeprom", bySeconds: 30, known: true, model: "4", released: "2020-04-16" }),
    boot("ack-not-heard", { drop: (frame, direction) => direction === "sent" && isDhcp(frame, "ACK"), bySeconds: 35 }),
    {
      cause: "other-offer-taken",
      bySeconds: 22,
      settings: { tftp: "closed", drop: (frame, direction) => direction === "sent" && isDhcp(frame, "OFFER") },
      alsoLan: ["second-dhcp-server"],
      async run(network) {
        // One that another manager of ours could be: the board asks it for its address, and goes there for files.
        const { clock, lan } = network;
        network.report({ kind: "dhcp-reply", message: "ACK", mac: network.boards[0]!.mac, responder: "server" });
        const where = { port: lan.plug(), clock, address: OTHER, netmask: NETMASK, firstGiven: "10.77.0.100" as Ipv4 };
        startOtherDhcpServer({ ...where, answers: "option-66", bootServer: SERVER });
        network.powerOn();
        await network.pass(18_000);
      },
    },
    {
      cause: "boot-server-as-name",
      bySeconds: 16,
      settings: { mode: "external", router: false },
      async run(network) {
        const other = network.host(OTHER);
        const { mac } = network.boards[0]!;
        const options = [
          makeOption(OPTIONS.messageType, "OFFER"),
          makeOption(OPTIONS.serverIdentifier, OTHER),
          { code: OPTIONS.tftpServerName.code, value: Buffer.from("boot.example") },
        ];
        const offer = makePacket({ op: "reply", transactionId: 1, mac, yourAddress: "10.77.0.100" as Ipv4, options });
        network.powerOn();
        for (let second = 0; second < 20; second++) {
          other.sendBroadcast({ sourcePort: 67, port: 68, bytes: encodePacket(offer) });
          await network.pass(1000);
        }
      },
    },
    boot("external-dhcp-silent", { mode: "external", router: false, forMs: 60_000, bySeconds: 24 }),
    boot("second-stage-takes-no-offer", {
      model: "3b+",
      drop: (frame, direction, network) =>
        direction === "sent" && isDhcp(frame, "OFFER") && network.loads("bootcode.bin") > 0,
      forMs: 40_000,
      bySeconds: 40,
    }),
    {
      cause: "bootcode-loaded-again",
      bySeconds: 60,
      settings: { model: "3b+" },
      run: (network) => cyclePower(network, "bootcode.bin", 3),
    },
  ]);
});

describe("a board and its files", () => {
  scenarios([
    {
      cause: "firmware-restarts",
      bySeconds: 60,
      settings: {},
      run: (network) => cyclePower(network, "fixup4.dat", 4),
    },
    boot("fixup-lost", { model: "3b+", drop: lostAfter("start.elf", 3000), bySeconds: 40 }),
    boot("pi3-file-lost", { model: "3b+", drop: lostAfter("bcm2710-rpi-3-b-plus.dtb", 3000), bySeconds: 40 }),
    boot("old-eeprom-hangs", {
      files: { ...ALL_FILES, "kernel8.img": new Uint8Array(MIB) },
      drop: lostAcknowledgement(500),
      firmware: { released: "2020-10-28" },
      forMs: 40_000,
      bySeconds: 60,
    }),
    boot("file-too-large-for-eeprom", {
      files: { ...BOOT_FILES, initramfs8: new Uint8Array(67_107_841) },
      firmware: { released: "2021-04-29" },
      forMs: 3000,
      bySeconds: 12,
    }),
    {
      cause: "block-limit-reached",
      bySeconds: 30,
      settings: {},
      async run(network) {
        const pi = network.powerOn();
        await network.untilLoaded("fixup4.dat");
        pi.powerOff();
        const client = { address: addressOf(1), port: 40_100 };
        // On the simulated wire all of its blocks would take long: here only the service is at work.
        const told = await transferThatStopsAt(65_535, "initramfs8", client);
        for (const observation of told) observeTftp(network.directory, network.report)(observation);
        await network.pass(10_000);
      },
    },
    boot("request-storm", {
      files: WITHOUT_KERNEL,
      firmware: { released: "2020-04-16" },
      bySeconds: 40,
      after: ["kernel-missing"],
    }),
    {
      cause: "config-txt-not-ascii",
      bySeconds: 12,
      settings: {},
      async run(network) {
        network.report({ kind: "planned", problems: [], warnings: [`${CONFIG_TXT_NOT_ASCII}: …`] }, NODE);
        network.powerOn();
        await network.pass(5000);
      },
    },
  ]);
});

/** A program at the node's address asks for what a board with another configuration asks for. */
function asks(
  cause: string,
  run: (network: DiagnosedNetwork) => Promise<void>,
  more: Partial<Scenario> = {},
): Scenario {
  return { cause, bySeconds: 16, settings: {}, run, ...more };
}

describe("a program at a node's address", () => {
  scenarios([
    asks("signed-boot", async (network) => {
      const program = network.programAt(addressOf(1));
      await network.clock.runUntilSettled(program.ask("b0000001/boot.sig"));
      await network.pass(6000);
    }),
    asks("eeprom-update-served", async (network) => {
      await network.clock.runUntilSettled(network.programAt(addressOf(1)).ask("b0000001/pieeprom.upd"));
      await network.pass(6000);
    }),
    asks("file-request-refused", async (network) => {
      const write = Buffer.from("\0\x02config.txt\0octet\0", "latin1");
      await network.clock.runUntilSettled(network.programAt(addressOf(1)).send(write));
      await network.pass(6000);
    }),
    asks("board-stopped-transfer", async (network) => {
      const program = network.programAt(addressOf(1));
      const answer = (packet: ReturnType<typeof decodeTftp>) => {
        if (packet.kind === "optionAcknowledge") return { kind: "acknowledge", block: 0 } as const;
        if (packet.kind !== "data") return undefined;
        return packet.block === 1
          ? ({ kind: "acknowledge", block: 1 } as const)
          : ({ kind: "error", code: 3, message: "File is too large" } as const);
      };
      await network.clock.runUntilSettled(program.ask("start4.elf", answer));
      await network.pass(6000);
    }),
    asks("too-many-transfers", async (network) => {
      const program = network.programAt(addressOf(1));
      for (let port = 0; port < 300; port++) {
        await network.clock.runUntilSettled(program.ask("start4.elf", undefined, 3000 + port));
      }
      await network.pass(4000);
    }),
    asks("tftp-packets-damaged", async (network) => {
      const program = network.programAt(addressOf(1));
      for (let time = 0; time < 3; time++) await network.clock.runUntilSettled(program.send(Buffer.from("damaged")));
      await network.pass(6000);
    }),
    asks(
      "stranger-asks-for-files",
      async (network) => {
        const stranger = network.programAt("10.77.0.99" as Ipv4, parseMac("02:00:00:00:00:99"));
        await network.clock.runUntilSettled(stranger.ask("0badc0de/start4.elf"));
        await network.pass(4000);
      },
      { nodes: [], lan: true },
    ),
  ]);
});
