import { describe, expect, it } from "vitest";
import { parseIpv4 } from "../bytes/addresses.ts";
import {
  NFS_CONNECTION_CHECK_MS,
  NFS_CONNECTION_STALLED_CHECKS_MAX,
  NFS_CONNECTIONS_MAX,
  NFS_CONNECTIONS_PER_CLIENT_MAX,
} from "../limits.ts";
import { type Bench, CLIENT, createBench, encodeRecord, MemoryConnection } from "./test-client.ts";

const GETATTR = 1;

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
