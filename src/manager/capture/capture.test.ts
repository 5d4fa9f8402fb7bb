/** Packets on their way from sockets to a file that tcpdump reads. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { requireTools } from "../../../test/lab/required-tools.ts";
import { MemoryClock, MemorySockets } from "../../../test/memory-network.ts";
import { NodeDirectory } from "../../boot/node-directory.ts";
import type { Ipv4, Mac } from "../../bytes/addresses.ts";
import { makeOption, OPTIONS } from "../../dhcp/options.ts";
import { encodePacket as encodeDhcp, makePacket } from "../../dhcp/packet.ts";
import { systemClock } from "../../system/clock.ts";
import { createUdpSockets } from "../../system/udp.ts";
import { encodePacket as encodeTftp } from "../../tftp/packet.ts";
import { type CapturedPacketJson, capturedText, frameOf } from "./captured-packet.ts";
import { CAPTURE_START, NodeCaptures } from "./node-captures.ts";
import { pcapHeader, pcapRecord } from "./pcap.ts";
import { TransferCapture } from "./transfer-capture.ts";

const PI = "dc:a6:32:2e:f8:ed" as Mac;
const STRANGE_PI = "dc:a6:32:00:00:99" as Mac;
const LAPTOP = "52:54:00:12:34:56" as Mac;
const MANAGER = "10.77.0.1" as Ipv4;
const NODE = "10.77.0.20" as Ipv4;
const ANY = "0.0.0.0" as Ipv4;
const BROADCAST = "255.255.255.255" as Ipv4;

function discover(mac: Mac): Uint8Array {
  const options = [makeOption(OPTIONS.messageType, "DISCOVER" as const)];
  return encodeDhcp(makePacket({ op: "request", transactionId: 0xd383a6ac, mac, options }));
}

function offer(mac: Mac): Uint8Array {
  const options = [makeOption(OPTIONS.messageType, "OFFER" as const), makeOption(OPTIONS.serverIdentifier, MANAGER)];
  return encodeDhcp(makePacket({ op: "reply", transactionId: 0xd383a6ac, mac, yourAddress: NODE, options }));
}

/** A manager's sockets and a worker's, with one boot's packets gone through them. */
async function boot() {
  const clock = new MemoryClock();
  const directory = new NodeDirectory([{ name: "node1", mac: PI, address: NODE }]);
  const worker = new TransferCapture(clock);
  const captures = new NodeCaptures({
    directory,
    clock,
    ownAddresses: [MANAGER],
    ofWorker: async (_, addresses, after) => worker.since(addresses, after),
  });
  const memory = new MemorySockets();
  const sockets = captures.tap(memory, { except: 111 });
  const bind = async (port: number, tapped = sockets) => {
    const socket = await tapped.bind({ address: ANY, port });
    socket.onDatagram(() => {});
    return socket;
  };
  const dhcp = await bind(67);
  await bind(69);
  await bind(111);
  await bind(6666);
  const data = await bind(50_000, worker.tap(memory));
  const from = (port: number) => ({ address: NODE, port });

  memory.deliver(67, discover(PI), { address: ANY, port: 68 }, MANAGER);
  memory.deliver(67, discover(STRANGE_PI), { address: ANY, port: 68 }, MANAGER);
  memory.deliver(67, discover(LAPTOP), { address: ANY, port: 68 }, MANAGER);
  clock.pass(10);
  dhcp.send(offer(PI), from(68), { hardwareAddress: PI, localAddress: MANAGER });
  dhcp.send(offer(PI), { address: BROADCAST, port: 68 }, { localAddress: MANAGER });
  clock.pass(600);
  dhcp.sendFrame?.({ hardwareAddress: PI, etherType: 0x0842, payload: new Uint8Array(46), localAddress: MANAGER });
  const request = {
    kind: "readRequest",
    path: "5b154510/start4.elf",
    mode: "octet",
    options: new Map([["tsize", "0"]]),
  };
  memory.deliver(69, encodeTftp(request as never), from(40_084), MANAGER);
  memory.deliver(111, Buffer.from("a call of the port mapper"), from(800), MANAGER);
  const answer = (packet: Parameters<typeof encodeTftp>[0]) =>
    data.send(encodeTftp(packet), from(40_084), { localAddress: MANAGER });
  answer({ kind: "optionAcknowledge", options: new Map([["tsize", "1000"]]) });
  memory.deliver(50_000, encodeTftp({ kind: "acknowledge", block: 0 }), from(40_084), MANAGER);
  answer({ kind: "data", block: 1, data: new Uint8Array(512).fill(0x41) });
  clock.pass(5);
  memory.deliver(6666, Buffer.from("NET 10.77.0.20 255.255.255.0\r\n"), from(6665), MANAGER);
  return { captures, clock, dhcp, directory, memory, worker, from };
}

async function packetsOf(captures: NodeCaptures, node = "node1"): Promise<CapturedPacketJson[]> {
  return (await captures.since(node, CAPTURE_START))!.packets;
}

describe("the capture of a node", () => {
  it("has what was received and sent, whole but for blocks of files", async () => {
    const { captures } = await boot();
    const packets = await packetsOf(captures);
    expect(packets.map((packet) => capturedText(packet).split("\n")[0])).toEqual([
      "22:13:20.000000  ->  0.0.0.0:68 > 255.255.255.255:67  DHCP request dc:a6:32:2e:f8:ed xid d383a6ac flags 0000",
      "22:13:20.010000  <-  10.77.0.1:67 > 10.77.0.20:68  DHCP reply dc:a6:32:2e:f8:ed xid d383a6ac flags 0000 · yourAddress 10.77.0.20",
      "22:13:20.010000  <-  10.77.0.1:67 > 255.255.255.255:68  DHCP reply dc:a6:32:2e:f8:ed xid d383a6ac flags 0000 · yourAddress 10.77.0.20",
      "22:13:20.610000  <-  00:00:00:00:00:00 > dc:a6:32:2e:f8:ed  frame of type 0x0842, 46 bytes",
      '22:13:20.610000  ->  10.77.0.20:40084 > 10.77.0.1:69  TFTP read "5b154510/start4.elf" octet tsize=0',
      "22:13:20.610000  <-  10.77.0.1:50000 > 10.77.0.20:40084  TFTP option acknowledge tsize=1000",
      "22:13:20.610000  ->  10.77.0.20:40084 > 10.77.0.1:50000  TFTP acknowledge block 0",
      "22:13:20.610000  <-  10.77.0.1:50000 > 10.77.0.20:40084  TFTP data block 1, 512 bytes",
      "22:13:20.615000  ->  10.77.0.20:6665 > 10.77.0.1:6666  console NET 10.77.0.20 255.255.255.0",
    ]);
    expect(packets.map(({ lengthBytes, base64 }) => lengthBytes - Buffer.from(base64, "base64").length)).toEqual([
      0, 0, 0, 0, 0, 0, 0, 452, 0,
    ]);
  });

  it("goes on where the last look ended, and begins anew with a worker that was started again", async () => {
    const { captures, memory, from, worker } = await boot();
    const first = (await captures.since("node1", CAPTURE_START))!;
    expect((await captures.since("node1", first.cursor))!.packets).toEqual([]);
    memory.deliver(50_000, encodeTftp({ kind: "acknowledge", block: 1 }), from(40_084), MANAGER);
    expect((await captures.since("node1", first.cursor))!.packets.map((each) => capturedText(each).slice(-7))).toEqual([
      "block 1",
    ]);
    expect(worker.since([NODE], 1_000_000).packets.length).toBe(4);
  });

  it("has what a Pi did before it was a node, and nothing of computers that are none", async () => {
    const { captures, directory } = await boot();
    directory.setNodes([
      { name: "node9", mac: STRANGE_PI },
      { name: "laptop", mac: LAPTOP },
    ]);
    expect(await packetsOf(captures, "node9")).toHaveLength(1);
    expect(await packetsOf(captures, "laptop")).toHaveLength(0);
    expect(await captures.since("node1", CAPTURE_START)).toBeUndefined();
  });

  it("does not say that a Pi sent what came from another server or a relay agent", async () => {
    const { captures, memory } = await boot();
    const router = { address: "10.77.0.254" as Ipv4, port: 67 };
    const relayed = makePacket({
      op: "request",
      transactionId: 1,
      mac: PI,
      relayAddress: router.address,
      options: [makeOption(OPTIONS.messageType, "DISCOVER" as const)],
    });
    memory.deliver(67, offer(PI), router, MANAGER);
    memory.deliver(67, encodeDhcp(relayed), router, MANAGER);
    const ofRouter = (await packetsOf(captures)).filter(({ from }) => from.address === router.address);
    expect(ofRouter.map(({ sourceMac }) => sourceMac)).toEqual(["00:00:00:00:00:00", "00:00:00:00:00:00"]);
  });

  it("has what another server says to a Pi, and not our own broadcasts that come back", async () => {
    const { captures, memory } = await boot();
    const before = (await packetsOf(captures)).length;
    memory.deliver(67, offer(PI), { address: MANAGER, port: 67 }, MANAGER);
    expect(await packetsOf(captures)).toHaveLength(before);
    memory.deliver(67, offer(PI), { address: "10.77.0.254" as Ipv4, port: 67 }, MANAGER);
    expect(await packetsOf(captures)).toHaveLength(before + 1);
  });

  it("sends and receives all the same", async () => {
    const { memory } = await boot();
    expect(memory.sent().map(({ to, fromPort }) => `${fromPort} ${to.address}:${to.port}`)).toEqual([
      "67 10.77.0.20:68",
      "67 255.255.255.255:68",
      "50000 10.77.0.20:40084",
      "50000 10.77.0.20:40084",
    ]);
    expect(memory.frames).toHaveLength(1);
  });
});

describe("sockets with a way for many small packets", () => {
  it("keep it, and what goes that way is kept, too", async () => {
    const capture = new TransferCapture(systemClock);
    const loopback = "127.0.0.1" as Ipv4;
    const plain = await createUdpSockets();
    const server = await capture.tap(plain).bind({ address: ANY, port: 0 });
    const client = await plain.bind({ address: loopback, port: 0 });
    expect(server.bulk !== undefined).toBe(client.bulk !== undefined);
    if (!server.bulk) return;
    const received: Buffer[] = [];
    const acknowledged = new Promise<void>((done) => server.bulk!.onDatagram(() => done()));
    client.onDatagram(({ bytes }) => {
      received.push(Buffer.from(bytes));
      client.send(encodeTftp({ kind: "acknowledge", block: 1 }), { address: loopback, port: server.localPort });
    });
    const body = new Uint8Array(512).fill(0x41);
    server.bulk.send(Uint8Array.of(0, 3, 0, 1), body, { address: loopback, port: client.localPort }, loopback);
    server.bulk.flush();
    await acknowledged;
    expect(received).toEqual([Buffer.from(encodeTftp({ kind: "data", block: 1, data: body }))]);
    const { packets } = capture.since([loopback], 0);
    expect(packets.map(({ from, to, lengthBytes, bytes }) => [from, to, lengthBytes, bytes.length])).toEqual([
      [{ address: loopback, port: server.localPort }, { address: loopback, port: client.localPort }, 516, 64],
      [{ address: loopback, port: client.localPort }, { address: loopback, port: server.localPort }, 4, 4],
    ]);
    expect(Buffer.from(packets[0]!.bytes)).toEqual(
      Buffer.from(encodeTftp({ kind: "data", block: 1, data: body })).subarray(0, 64),
    );
    server.close();
    client.close();
  });
});

describe.skipIf(requireTools(["tcpdump"]))("the file of a capture", () => {
  it("is read by tcpdump, with every packet as it was", async () => {
    const { captures } = await boot();
    const folder = mkdtempSync(join(tmpdir(), "bramble-capture-"));
    try {
      const path = join(folder, "node1.pcap");
      const records = (await packetsOf(captures)).map((packet) => pcapRecord(frameOf(packet)));
      writeFileSync(path, Buffer.concat([pcapHeader(), ...records]));
      const run = (...words: string[]) =>
        execFileSync("tcpdump", ["-r", path, "-n", ...words], {
          encoding: "utf8",
          env: { ...process.env, TZ: "UTC" },
          stdio: ["ignore", "pipe", "ignore"],
        });
      const lines = run("-tttt", "-e")
        .split("\n")
        .filter((line) => line.startsWith("2023-"));
      expect(lines).toHaveLength(9);
      expect(lines[0]).toMatch(
        /^2023-11-14 22:13:20\.000000 dc:a6:32:2e:f8:ed > .*0\.0\.0\.0\.68 > 255\.255\.255\.255\.67: BOOTP\/DHCP, Request from dc:a6:32:2e:f8:ed/,
      );
      expect(lines[1]).toMatch(/> dc:a6:32:2e:f8:ed, .*10\.77\.0\.1\.67 > 10\.77\.0\.20\.68: BOOTP\/DHCP, Reply/);
      expect(lines[2]).toMatch(/> ff:ff:ff:ff:ff:ff, .*10\.77\.0\.1\.67 > 255\.255\.255\.255\.68: BOOTP\/DHCP, Reply/);
      expect(lines[3]).toContain("0x0842");
      expect(lines[4]).toContain('TFTP, length 36, RRQ "5b154510/start4.elf" octet tsize 0');
      expect(lines[7]).toMatch(/length 558: 10\.77\.0\.1\.50000 > 10\.77\.0\.20\.40084/);
      const verbose = run("-vv");
      expect(verbose).toContain("DHCP-Message (53), length 1: Discover");
      expect(verbose).not.toContain("bad cksum");
      expect(run("-A", "udp port 6666")).toContain("NET 10.77.0.20 255.255.255.0");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
