import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { parseIpv4 } from "../bytes/addresses.ts";
import type { TcpConnection } from "../ports.ts";
import { type AcceptedConnection, listenTcp, nodeTcpListeners } from "./tcp.ts";

const LOOPBACK = parseIpv4("127.0.0.1");
const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

/** Sends back what it reads from the socket it is given. */
const ECHO = `process.on("message", (_, socket) => socket.on("data", (bytes) => socket.write(bytes)).resume());
process.on("disconnect", () => process.exit());`;

function withResolvers<T>() {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

async function client(port: number) {
  const socket = connect(port, "127.0.0.1");
  closers.push(() => socket.destroy());
  await once(socket, "connect");
  return socket;
}

describe("a TCP listener", () => {
  it("reads nothing before there is somebody to have it, and then all of it", async () => {
    const { promise: connected, resolve } = withResolvers<TcpConnection>();
    const listener = await nodeTcpListeners.listen({ address: LOOPBACK, port: 0 }, resolve);
    closers.push(() => listener.close());
    const peer = await client(listener.localPort);
    peer.write("early");
    const connection = await connected;
    await new Promise((done) => setTimeout(done, 20));
    const read = new Promise((done) => connection.onData((bytes) => done(Buffer.from(bytes).toString())));
    expect(await read).toBe("early");
  });

  it.runIf(process.platform === "linux")("is not woken before there is what it asked for, or the end", async () => {
    const { promise: connected, resolve } = withResolvers<TcpConnection>();
    const listener = await nodeTcpListeners.listen({ address: LOOPBACK, port: 0 }, resolve);
    closers.push(() => listener.close());
    const peer = await client(listener.localPort);
    const connection = await connected;
    const chunks: number[] = [];
    connection.setReadMinimum(50_000);
    connection.onData((bytes) => chunks.push(bytes.length));
    // So that nothing can be said to be late only because nobody looked.
    const looked = () => new Promise((done) => setTimeout(done, 50));
    peer.write(Buffer.alloc(30_000));
    await looked();
    expect(chunks).toEqual([]);
    peer.write(Buffer.alloc(20_000));
    await expect.poll(() => chunks).toEqual([50_000]);
    peer.write(Buffer.alloc(10));
    await looked();
    expect(chunks).toEqual([50_000]);
    connection.setReadMinimum(1);
    await expect.poll(() => chunks).toEqual([50_000, 10]);
    connection.setReadMinimum(50_000);
    const closed = new Promise<void>((done) => connection.onClose(done));
    peer.end(Buffer.alloc(20));
    await closed;
    expect(chunks).toEqual([50_000, 10, 20]);
  });

  it("tells of an end that came before anybody asked", async () => {
    const { promise: connected, resolve } = withResolvers<TcpConnection>();
    const listener = await nodeTcpListeners.listen({ address: LOOPBACK, port: 0 }, resolve);
    closers.push(() => listener.close());
    await client(listener.localPort);
    const connection = await connected;
    connection.close();
    await new Promise((done) => setTimeout(done, 20));
    await new Promise<void>((done) => connection.onClose(done));
  });

  it("hands a connection on to another process, and can close while that one has it", async () => {
    const { promise: accepted, resolve } = withResolvers<AcceptedConnection>();
    const listener = await listenTcp({ address: LOOPBACK, port: 0 }, resolve);
    const child = spawn(process.execPath, ["-e", ECHO], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      serialization: "advanced",
    });
    closers.push(() => child.kill());
    const peer = await client(listener.localPort);
    peer.write("before");
    const connection = await accepted;
    expect(connection.remote).toEqual({ address: LOOPBACK, port: peer.localPort });
    connection.handOver(child, "yours");
    const [first] = await once(peer, "data");
    connection.close();
    await listener.close();
    peer.write(" after");
    const [second] = await once(peer, "data");
    expect(`${first}${second}`).toBe("before after");
  });

  it("drops those who do not go when it closes", async () => {
    const { promise: connected, resolve } = withResolvers<TcpConnection>();
    const listener = await nodeTcpListeners.listen({ address: LOOPBACK, port: 0 }, resolve);
    const peer = await client(listener.localPort);
    (await connected).onData(() => {});
    const gone = once(peer.resume(), "close");
    await listener.close();
    await gone;
  });
});
