import { describe, expect, it } from "vitest";
import { parseIpv4 } from "../bytes/addresses.ts";
import type { FileName } from "../bytes/file-name.ts";
import {
  NFS_BYTES_HELD_MAX,
  NFS_CONNECTION_CHECK_MS,
  NFS_CONNECTION_STALLED_CHECKS_MAX,
  NFS_CONNECTIONS_MAX,
  NFS_CONNECTIONS_PER_CLIENT_MAX,
  NFS_TRANSFER_BYTES_MAX,
} from "../limits.ts";
import { MemoryVolume } from "./memory-volume.ts";
import { type Bench, CLIENT, createBench, encodeRecord, MemoryConnection } from "./test-client.ts";
import type { Volume } from "./volume.ts";

const [GETATTR, READ] = [1, 6];

/** A clock of which the next check is made by `check`. */
function checkedBench() {
  let due: (() => void) | undefined;
  const delays: number[] = [];
  const clock = {
    monotonicMs: () => 0,
    after(delayMs: number, run: () => void) {
      delays.push(delayMs);
      due = run;
      return {
        cancel() {
          due = undefined;
        },
      };
    },
  };
  const check = (times: number) => {
    for (let time = 0; time < times; time++) due?.();
  };
  return { ...createBench({ clock }), check, delays, isWaiting: () => due !== undefined };
}

const getattr = ({ root }: Bench) => encodeRecord(GETATTR, (args) => args.opaque(root));
const connect = ({ service }: Bench, address = CLIENT) => {
  const connection = new MemoryConnection(address);
  service.serveConnection(connection);
  return connection;
};
const ENOUGH = NFS_CONNECTION_STALLED_CHECKS_MAX + 1;
const ended = (bench: Bench) => bench.observations.filter(({ kind }) => kind === "connection-ended");

describe("a connection that does not go on", () => {
  it.each<[string, (bench: Bench, connection: MemoryConnection) => void]>([
    ["never sends anything", () => {}],
    ["sends half of a record mark", (_, connection) => connection.arrive(Buffer.of(0x80, 0))],
    [
      "sends half of a record after whole ones",
      (bench, connection) => {
        connection.arrive(getattr(bench));
        connection.arrive(getattr(bench).subarray(0, 40));
      },
    ],
    [
      "does not read its replies",
      (bench, connection) => {
        connection.accepts = false;
        connection.arrive(getattr(bench));
      },
    ],
  ])("because its peer %s is ended after a minute", (_, play) => {
    const bench = checkedBench();
    const connection = connect(bench);
    play(bench, connection);
    bench.check(ENOUGH - 1);
    // What was finished since the last check counts once.
    expect(connection.isClosed).toBe(false);
    bench.check(2);
    expect(connection.isClosed).toBe(true);
    expect(ended(bench)).toEqual([expect.objectContaining({ client: CLIENT })]);
    expect(bench.delays[0]).toBe(NFS_CONNECTION_CHECK_MS);
  });

  it("is not one that is idle, or slow and going on", () => {
    const bench = checkedBench();
    const idle = connect(bench);
    idle.arrive(getattr(bench));
    const slow = connect(bench);
    for (let time = 0; time < 3 * ENOUGH; time++) {
      const call = getattr(bench);
      slow.arrive(call.subarray(0, 30));
      bench.check(ENOUGH - 1);
      slow.arrive(call.subarray(30));
    }
    expect([idle.isClosed, slow.isClosed]).toEqual([false, false]);
  });

  it("is ended when it only sends fragments of nothing", () => {
    const bench = checkedBench();
    const connection = connect(bench);
    for (let time = 0; time < ENOUGH + 1; time++) {
      connection.arrive(Buffer.alloc(4));
      bench.check(1);
    }
    expect(connection.isClosed).toBe(true);
  });
});

describe("too many connections", () => {
  it("of one client end the one that was silent the longest, and no other client's", () => {
    const bench = checkedBench();
    const other = connect(bench, parseIpv4("192.0.2.99"));
    const first = bench.connection;
    const second = connect(bench);
    first.arrive(getattr(bench));
    const rest = Array.from({ length: NFS_CONNECTIONS_PER_CLIENT_MAX - 2 }, () => connect(bench));
    expect([first, second, ...rest].some(({ isClosed }) => isClosed)).toBe(false);
    const late = connect(bench);
    expect([second, first, other, late, rest[0]!].map(({ isClosed }) => isClosed)).toEqual([
      true,
      false,
      false,
      false,
      false,
    ]);
    late.arrive(getattr(bench));
    expect(late.takeReplies()).toHaveLength(1);
  });

  it("of all clients end the one that was silent the longest", () => {
    const bench = checkedBench();
    const all = Array.from({ length: NFS_CONNECTIONS_MAX - 1 }, (_, index) =>
      connect(bench, parseIpv4(`10.0.${index >> 8}.${index & 255}`)),
    );
    expect(bench.connection.isClosed).toBe(false);
    connect(bench, parseIpv4("10.99.0.1"));
    expect([bench.connection.isClosed, all.some(({ isClosed }) => isClosed)]).toEqual([true, false]);
  });

  it("are counted while they are open", () => {
    const bench = checkedBench();
    for (let time = 0; time < 2 * NFS_CONNECTIONS_PER_CLIENT_MAX; time++) connect(bench).hangUp();
    expect(bench.connection.isClosed).toBe(false);
    bench.connection.hangUp();
    expect(bench.isWaiting()).toBe(false);
  });
});

/** Reads that wait until they are let go. */
class WaitingVolume extends MemoryVolume {
  readonly waiting: (() => void)[] = [];

  override read(id: number, offset: number, countBytes: number) {
    const answer = super.read(id, offset, countBytes);
    return new Promise((resolve) => this.waiting.push(() => resolve(answer))) as unknown as typeof answer;
  }
}

describe("all connections together", () => {
  it("hold only so much, each of them having one call at least, and all are answered in the end", async () => {
    const volume = new WaitingVolume();
    const id = volume.create(volume.rootId, "f" as FileName, { kind: "guarded" }, { mode: 0o644, uid: 0, gid: 0 });
    const bench = createBench({ volume: volume as Volume });
    const found = bench.nfs("LOOKUP", (args) => args.opaque(bench.root).name("f" as FileName));
    const handle = found.body.opaque(64, "handle").slice();
    volume.setattr(id, { sizeBytes: NFS_TRANSFER_BYTES_MAX });
    const read = encodeRecord(READ, (args) => args.opaque(handle).hyper(0).u32(NFS_TRANSFER_BYTES_MAX));
    const [connections, calls] = [60, 7];
    const all = Array.from({ length: connections }, () => connect(bench));
    for (const connection of all) connection.arrive(Buffer.concat(Array.from({ length: calls }, () => read)));
    const roomFor = NFS_BYTES_HELD_MAX / NFS_TRANSFER_BYTES_MAX;
    expect(volume.waiting.length).toBeGreaterThan(roomFor / 2);
    expect(volume.waiting.length).toBeLessThanOrEqual(roomFor + connections);
    let most = 0;
    let answered = 0;
    while (volume.waiting.length > 0) {
      most = Math.max(most, volume.waiting.length);
      for (const go of volume.waiting.splice(0, 10)) go();
      await new Promise((done) => setImmediate(done));
      for (const connection of all) answered += connection.takeReplies().length;
    }
    expect(most).toBeLessThanOrEqual(roomFor + connections);
    expect(answered).toBe(connections * calls);
  });

  it("let a peer go on that reads its replies slowly", () => {
    const bench = checkedBench();
    const connection = connect(bench);
    connection.accepts = false;
    connection.arrive(getattr(bench));
    let unread = 1000;
    Object.defineProperty(connection, "pendingBytes", { get: () => unread });
    for (let time = 0; time < 3 * ENOUGH; time++) {
      unread--;
      bench.check(1);
    }
    expect(connection.isClosed).toBe(false);
    bench.check(ENOUGH + 1);
    expect(connection.isClosed).toBe(true);
  });
});
