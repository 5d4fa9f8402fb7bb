import dgram from "node:dgram";
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { type Ipv4, parseIpv4 } from "../bytes/addresses.ts";
import type { ReceivedDatagram, UdpSocket, UdpSockets } from "../ports.ts";
import { portOwner, socketInodes } from "./port-owner.ts";
import { createUdpSockets } from "./udp.ts";
import { internetChecksum, ipv4Packet } from "./udp-frame.ts";
import { nodeUdpSockets } from "./udp-node.ts";

const loopback = parseIpv4("127.0.0.1");
const any = parseIpv4("0.0.0.0");
const open: UdpSocket[] = [];
afterEach(() => {
  for (const socket of open.splice(0)) socket.close();
});

async function bind(sockets: UdpSockets, address: Ipv4 = loopback, interfaceName?: string) {
  const socket = await sockets.bind({ address, port: 0, ...(interfaceName !== undefined && { interfaceName }) });
  open.push(socket);
  const received: ReceivedDatagram[] = [];
  let wake = () => {};
  socket.onDatagram((datagram) => {
    received.push(datagram);
    wake();
  });
  const count = async (wanted: number) => {
    while (received.length < wanted)
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    return received;
  };
  return { socket, count };
}

const KINDS: [string, () => Promise<UdpSockets>][] = [
  ["Linux", () => createUdpSockets()],
  ["node:dgram", async () => nodeUdpSockets()],
];

describe.each(KINDS)("UDP sockets by %s", (_, make) => {
  it("share a port with those alone that want it shared, so that a DHCP client keeps its answers", async () => {
    const sockets = await make();
    const first = await sockets.bind({ address: any, port: 0, shared: true });
    open.push(first);
    const { localPort: port } = first;
    const broadcasts = parseIpv4("255.255.255.255");
    open.push(await sockets.bind({ address: broadcasts, port, shared: true }));
    await expect(sockets.bind({ address: any, port })).rejects.toThrow(String(port));
    const heard: string[] = [];
    first.onDatagram(({ bytes }) => heard.push(Buffer.from(bytes).toString()));
    open.at(-1)!.onDatagram(() => heard.push("taken away"));
    const { socket } = await bind(sockets);
    socket.send(Buffer.from("an answer"), { address: loopback, port });
    await expect.poll(() => heard).toEqual(["an answer"]);
  });

  it("carry datagrams of all sizes, in order, many at a time", async () => {
    const sockets = await make();
    const [sender, receiver] = [await bind(sockets), await bind(sockets)];
    const sizes = [0, 1, 512, 2048, 2049, 1472, ...Array.from({ length: 100 }, (_, i) => i)];
    const buffer = Buffer.alloc(4096);
    for (const sizeBytes of sizes) {
      // The caller may use its buffer again right after `send`.
      buffer.fill(sizeBytes & 0xff);
      sender.socket.send(buffer.subarray(0, Math.min(sizeBytes, 2048)), {
        address: loopback,
        port: receiver.socket.localPort,
      });
    }
    const received = await receiver.count(sizes.length);
    expect(received.map(({ bytes }) => bytes.length)).toEqual(sizes.map((sizeBytes) => Math.min(sizeBytes, 2048)));
    const isIntact = received.map(({ bytes }, i) => bytes.every((byte) => byte === (sizes[i]! & 0xff)));
    expect(isIntact).not.toContain(false);
    expect(received[0]!.from).toEqual({ address: loopback, port: sender.socket.localPort });
  });

  it("lose an answer to a datagram that came from no port, and go on", async () => {
    const sockets = await make();
    const [sender, receiver] = [await bind(sockets), await bind(sockets)];
    sender.socket.send(Buffer.from("lost"), { address: loopback, port: 0 });
    sender.socket.send(Buffer.from("sent"), { address: loopback, port: receiver.socket.localPort });
    expect(Buffer.from((await receiver.count(1))[0]!.bytes).toString()).toBe("sent");
  });

  it("let promises go on that a handler began", async () => {
    const sockets = await make();
    const { socket } = await bind(sockets);
    const echoed = new Promise<string>((resolve) => {
      socket.onDatagram(async ({ bytes }) => {
        await Promise.resolve();
        resolve(Buffer.from(bytes).toString());
      });
    });
    (await bind(sockets)).socket.send(Buffer.from("hello"), { address: loopback, port: socket.localPort });
    expect(await echoed).toBe("hello");
  });

  it("can be closed twice, also by their own handler, and send nothing after", async () => {
    const sockets = await make();
    const receiver = await bind(sockets);
    const { socket, count } = await bind(sockets);
    const closed = new Promise<void>((resolve) => {
      receiver.socket.onDatagram(() => {
        receiver.socket.close();
        receiver.socket.close();
        resolve();
      });
    });
    for (let i = 0; i < 3; i++) socket.send(Buffer.from("x"), { address: loopback, port: receiver.socket.localPort });
    await closed;
    receiver.socket.send(Buffer.from("late"), { address: loopback, port: socket.localPort });
    socket.send(Buffer.from("self"), { address: loopback, port: socket.localPort });
    expect(Buffer.from((await count(1))[0]!.bytes).toString()).toBe("self");
  });

  it("name the program that has the port", async () => {
    const holder = dgram.createSocket("udp4").bind(0, "127.0.0.1");
    await once(holder, "listening");
    const { port } = holder.address();
    const failure = (await make()).bind({ address: any, port });
    await expect(failure).rejects.toMatchObject({
      code: "EADDRINUSE",
      message: expect.stringMatching(
        new RegExp(`^Cannot use UDP port ${port}: .+ \\(process ${process.pid}\\) has it; stop that`),
      ),
    });
    holder.close();
  });

  it("say which addresses there are when one is not ours", async () => {
    await expect((await make()).bind({ address: parseIpv4("192.0.2.77"), port: 0 })).rejects.toMatchObject({
      code: "EADDRNOTAVAIL",
      message: expect.stringContaining(
        "no interface of this machine has the address 192.0.2.77; there are lo (127.0.0.1)",
      ),
    });
  });
});

describe("UDP sockets of Linux", () => {
  it("send heads with bodies that lie elsewhere, and hand on what comes in without copying it", async () => {
    const sockets = await createUdpSockets();
    const [sender, receiver] = [await bind(sockets), await bind(sockets)];
    const [bulk, to] = [sender.socket.bulk!, { address: loopback, port: receiver.socket.localPort }];
    const received: string[] = [];
    let done = () => {};
    const all = new Promise<void>((resolve) => {
      done = resolve;
    });
    receiver.socket.bulk!.onDatagram((bytes, from) => {
      expect(from).toEqual({ address: loopback, port: sender.socket.localPort });
      received.push(Buffer.from(bytes).toString("latin1"));
      if (received.length === 200) done();
    });
    const file = Buffer.from(Array.from({ length: 200 * 7 }, (_, i) => 97 + (i % 26)));
    for (let i = 0; i < 200; i++) bulk.send(Buffer.from(`${i}:`), file.subarray(i * 7, i * 7 + (i % 8)), to, loopback);
    await all;
    expect(received).toEqual(
      Array.from({ length: 200 }, (_, i) => `${i}:${file.toString("latin1", i * 7, i * 7 + (i % 8))}`),
    );
  });

  it("send what is larger than an Ethernet frame whole, in its turn", async () => {
    const sockets = await createUdpSockets();
    const [sender, receiver] = [await bind(sockets), await bind(sockets)];
    const to = { address: loopback, port: receiver.socket.localPort };
    sender.socket.bulk!.send(Buffer.from("first"), new Uint8Array(0), to);
    // The receiver takes no datagrams of this size: that the next one comes shows that it left.
    sender.socket.bulk!.send(Buffer.from("large"), new Uint8Array(9000), to);
    sender.socket.bulk!.send(Buffer.from("last"), new Uint8Array(0), to);
    expect((await receiver.count(2)).map(({ bytes }) => Buffer.from(bytes).toString())).toEqual(["first", "last"]);
  });

  it("let the memory of a body be used again after flush", async () => {
    const sockets = await createUdpSockets();
    const [sender, receiver] = [await bind(sockets), await bind(sockets)];
    const body = Buffer.from("a");
    for (const letter of "abcdef") {
      body.write(letter);
      sender.socket.bulk!.send(Buffer.from(">"), body, { address: loopback, port: receiver.socket.localPort });
      sender.socket.bulk!.flush();
    }
    const received = await receiver.count(6);
    expect(received.map(({ bytes }) => Buffer.from(bytes).toString())).toEqual([">a", ">b", ">c", ">d", ">e", ">f"]);
  });

  it("tell the address and the interface that a datagram came in by, and answer from there", async () => {
    const sockets = await createUdpSockets();
    const [server, client] = [await bind(sockets, any), await bind(sockets, any, "lo")];
    const asked = parseIpv4("127.0.0.77");
    client.socket.send(Buffer.from("?"), { address: asked, port: server.socket.localPort });
    const [question] = await server.count(1);
    expect(question).toMatchObject({ localAddress: asked, interfaceName: "lo" });
    server.socket.send(Buffer.from("!"), question!.from, { localAddress: question!.localAddress! });
    expect((await client.count(1))[0]!.from).toEqual({ address: asked, port: server.socket.localPort });
  });

  it("say which interfaces there are when one does not exist", async () => {
    const failure = (await createUdpSockets()).bind({ address: any, port: 0, interfaceName: "eth77" });
    await expect(failure).rejects.toMatchObject({
      code: "ENODEV",
      message: expect.stringMatching(/^Cannot use UDP port 0 on eth77: there is no interface eth77; there are .*lo/),
    });
  });

  it("report what cannot be sent, and go on", async () => {
    const errors: string[] = [];
    const sockets = await createUdpSockets({ onSendError: (error) => errors.push(error.message) });
    const { socket, count } = await bind(sockets);
    // Without the right to broadcast.
    socket.send(Buffer.from("x"), { address: parseIpv4("127.255.255.255"), port: 9 });
    socket.send(Buffer.from("y"), { address: loopback, port: socket.localPort });
    expect(Buffer.from((await count(1))[0]!.bytes).toString()).toBe("y");
    expect(errors).toEqual(["Cannot send a datagram: EACCES"]);
  });
});

describe("a UDP frame", () => {
  it("has the checksums of RFC 1071's and RFC 768's rules", () => {
    const packet = ipv4Packet(
      { address: parseIpv4("10.0.0.1"), port: 67 },
      { address: parseIpv4("10.0.0.10"), port: 68 },
      Buffer.from("odd"),
    );
    expect(packet.length).toBe(31);
    // A header that includes its own sum adds up to nothing; so does the datagram with its pseudo header.
    expect(internetChecksum(packet.subarray(0, 20))).toBe(0);
    const pseudo = Buffer.concat([packet.subarray(12, 20), Buffer.of(0, 17, 0, 11)]);
    expect(internetChecksum(Buffer.concat([pseudo, packet.subarray(20)]))).toBe(0);
    expect(Buffer.from(packet.subarray(0, 26)).toString("hex")).toBe(
      "4500001f00000000401166c40a0000010a00000a00430044000b",
    );
  });

  it("has the checksum of RFC 1071's example", () => {
    expect(internetChecksum(Buffer.from("0001f203f4f5f6f7", "hex"))).toBe(~0xddf2 & 0xffff);
  });
});

describe("the owner of a port", () => {
  it("is nobody when nobody has it", () => expect(portOwner("udp", 1)).toBeUndefined());

  it("of TCP must be listening", () => {
    const lines = [
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
      "   0: 0100007F:0801 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1",
      "   1: 0100007F:0801 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 4712 1",
    ];
    expect(socketInodes(lines, "tcp", 2049)).toEqual(["4711"]);
    expect(socketInodes(lines, "udp", 2049)).toEqual(["4711", "4712"]);
    expect(socketInodes(lines, "tcp", 111)).toEqual([]);
  });
});
