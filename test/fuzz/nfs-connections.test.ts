/** What hostile peers can make an NFS server hold, over real TCP: connections half sent, and replies not read. */
import { connect, type Socket } from "node:net";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Ipv4, parseIpv4 } from "../../src/bytes/addresses.ts";
import type { FileName } from "../../src/bytes/file-name.ts";
import {
  NFS_BYTES_IN_FLIGHT_MAX,
  NFS_CONNECTIONS_PER_CLIENT_MAX,
  NFS_TRANSFER_BYTES_MAX,
  RPC_RECORD_BYTES_MAX,
} from "../../src/limits.ts";
import { type Bench, createBench, encodeRecord } from "../../src/nfs/test-client.ts";
import type { TcpListener } from "../../src/ports.ts";
import { systemClock } from "../../src/system/clock.ts";
import { nodeTcpListeners } from "../../src/system/tcp.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const LOOPBACK = parseIpv4("127.0.0.1");
const MIB = 1024 * 1024;

let bench: Bench;
let listener: TcpListener;
let sockets: Socket[] = [];
/** Whether the client is a node. */
let isKnown = true;

beforeEach(async () => {
  isKnown = true;
  bench = createBench({ clock: systemClock, exports: { list: (_: Ipv4) => (isKnown ? ["/tree"] : []) } });
  listener = await nodeTcpListeners.listen({ address: LOOPBACK, port: 0 }, (connection) =>
    bench.service.serveConnection(connection),
  );
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets = [];
  await listener.close();
  bench.connection.hangUp();
});

function open(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(listener.localPort, LOOPBACK, () => resolve(socket));
    socket.on("error", reject);
    sockets.push(socket);
    socket.on("close", () => socket.removeAllListeners("error"));
  });
}

const pause = (ms: number) => new Promise((done) => setTimeout(done, ms));

async function heldBytes(): Promise<number> {
  await pause(200);
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function growthBytes(act: () => Promise<void>): Promise<number> {
  const before = await heldBytes();
  await act();
  return (await heldBytes()) - before;
}

async function isAlive(): Promise<boolean> {
  const socket = await open();
  const answered = new Promise<boolean>((resolve) => socket.once("data", () => resolve(true)));
  socket.write(encodeRecord(1, (args) => args.opaque(bench.root)));
  return Promise.race([answered, pause(5000).then(() => false)]);
}

function announced(lengthBytes: number, sent: number): Buffer {
  const bytes = Buffer.alloc(4 + sent);
  bytes.writeUInt32BE(0x8000_0000 + lengthBytes);
  return bytes;
}

describe("a server under connections that", () => {
  it("announce long records and send little of them, holds what was sent", async () => {
    const growth = await growthBytes(async () => {
      for (let count = 0; count < 200; count++) (await open()).write(announced(RPC_RECORD_BYTES_MAX, 100));
    });
    // 200 MiB were announced. A connection itself takes some 10 KiB here, both ends being in this process.
    expect(growth).toBeLessThan(200 * 40 * 1024);
    expect(await isAlive()).toBe(true);
  });

  it("never end, holds no more of them than its limit", async () => {
    let closed = 0;
    const growth = await growthBytes(async () => {
      for (let count = 0; count < 3 * NFS_CONNECTIONS_PER_CLIENT_MAX; count++) {
        const socket = await open();
        socket.on("close", () => closed++).on("data", () => {});
        socket.write(announced(1000, 10));
      }
    });
    expect(closed).toBeGreaterThanOrEqual(2 * NFS_CONNECTIONS_PER_CLIENT_MAX);
    expect(growth).toBeLessThan(32 * MIB);
    expect(await isAlive()).toBe(true);
  });

  it("come from strangers, takes short records only", async () => {
    isKnown = false;
    const socket = await open();
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.write(announced(100_000, 0));
    await closed;
    expect(bench.observations.at(-1)).toMatchObject({ kind: "bad-call" });
  });

  it("send READs for ever and never read what they are answered, stops reading too", async () => {
    bench.volume.create(bench.volume.rootId, "large" as FileName, { kind: "guarded" }, { mode: 0o644, uid: 0, gid: 0 });
    const id = bench.volume.lookup(bench.volume.rootId, "large" as FileName)!;
    bench.volume.write(id, 0, new Uint8Array(NFS_TRANSFER_BYTES_MAX));
    const found = bench.nfs("LOOKUP", (args) => args.opaque(bench.root).name("large" as FileName));
    const handle = found.body.opaque(64, "handle").slice();
    const read = encodeRecord(6, (args) => args.opaque(handle).hyper(0).u32(NFS_TRANSFER_BYTES_MAX));
    const calls = Buffer.concat(Array.from({ length: 200 }, () => read));
    let sentCalls = 0;
    const growth = await growthBytes(async () => {
      const socket = await open();
      socket.pause();
      const deadline = Date.now() + 3000;
      while (Date.now() < deadline && socket.writableLength < MIB) {
        socket.write(calls);
        sentCalls += 200;
        await pause(5);
      }
    });
    // What was asked for is far more than what may be held.
    expect(sentCalls * NFS_TRANSFER_BYTES_MAX).toBeGreaterThan(100 * NFS_BYTES_IN_FLIGHT_MAX);
    expect(growth).toBeLessThan(NFS_BYTES_IN_FLIGHT_MAX + 8 * MIB);
    expect(await isAlive()).toBe(true);
  });
});
