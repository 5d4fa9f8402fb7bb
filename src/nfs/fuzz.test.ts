import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NFS_PROCEDURES } from "./procedures/table.ts";
import { validCalls } from "./test-calls.ts";
import { type Bench, createBench, MemoryConnection } from "./test-client.ts";

/** Sends a record and returns the reply's `reply_stat` and `accept_stat`, or why there is none. */
function send(bench: Bench, record: Uint8Array): string {
  const connection = new MemoryConnection();
  bench.service.serveConnection(connection);
  connection.arrive(record);
  if (connection.isClosed) return "closed";
  const [reply] = connection.takeReplies();
  return reply === undefined ? "waiting for more" : statusOf(reply);
}

function statusOf(reply: Uint8Array): string {
  const words = Buffer.from(reply.buffer, reply.byteOffset, reply.length);
  return `${words.readUInt32BE(8)} ${words.readUInt32BE(words.readUInt32BE(8) === 0 ? 20 : 12)}`;
}

/** Accepted: SUCCESS to GARBAGE_ARGS. Denied: RPC_MISMATCH or AUTH_ERROR. SYSTEM_ERR (0 5) would be a crash. */
const EXPECTED = ["closed", "waiting for more", "0 0", "0 1", "0 2", "0 3", "0 4", "1 0", "1 1"];

const faults = (bench: Bench) => bench.observations.filter(({ kind }) => kind === "fault");

describe("records from nowhere", () => {
  it("get an RPC reply or a closed connection, whatever they are", () => {
    const bench = createBench();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        const record = Buffer.concat([Buffer.alloc(4), bytes]);
        record.writeUInt32BE(0x8000_0000 + bytes.length);
        expect(EXPECTED).toContain(send(bench, record));
      }),
      { numRuns: 2000 },
    );
    expect(faults(bench)).toEqual([]);
  });

  it("are answered when they are calls: what is damaged below was right before", () => {
    const bench = createBench();
    expect(validCalls(bench).map((call) => send(bench, call))).toEqual(NFS_PROCEDURES.map(() => "0 0"));
  });

  it("made by damaging real calls do no more", () => {
    const bench = createBench();
    const calls = validCalls(bench);
    const damage = fc.array(fc.tuple(fc.nat({ max: 400 }), fc.nat({ max: 255 })), { minLength: 0, maxLength: 4 });
    fc.assert(
      fc.property(fc.nat({ max: calls.length - 1 }), damage, fc.option(fc.nat({ max: 200 })), (index, bytes, cut) => {
        const whole = calls[index]!;
        const record = Buffer.from(whole.subarray(0, cut === null ? whole.length : Math.max(4, whole.length - cut)));
        for (const [at, value] of bytes) if (at >= 4 && at < record.length) record[at] = value;
        record.writeUInt32BE(0x8000_0000 + record.length - 4);
        expect(EXPECTED).toContain(send(bench, record));
      }),
      { numRuns: 5000 },
    );
    expect(faults(bench)).toEqual([]);
  });
});

/** A piece of a stream: a call as it is, damaged, in fragments, cut short, announced as too long, or no call at all. */
function pieces(calls: readonly Uint8Array[]): fc.Arbitrary<Uint8Array> {
  const call = fc.nat({ max: calls.length - 1 }).map((index) => calls[index]!);
  const damaged = fc.tuple(call, fc.nat({ max: 200 }), fc.nat({ max: 255 })).map(([bytes, at, value]) => {
    const copy = Buffer.from(bytes);
    copy[4 + (at % (copy.length - 4))] = value;
    return copy;
  });
  const inFragments = fc.tuple(call, fc.integer({ min: 1, max: 60 })).map(([bytes, size]) => {
    const parts: Uint8Array[] = [];
    for (let at = 4; at < bytes.length; at += size) {
      const part = bytes.subarray(at, at + size);
      const mark = Buffer.alloc(4);
      mark.writeUInt32BE((at + size >= bytes.length ? 0x8000_0000 : 0) + part.length);
      parts.push(mark, part);
    }
    return Buffer.concat(parts);
  });
  const cut = fc.tuple(call, fc.nat({ max: 100 })).map(([bytes, left]) => bytes.subarray(0, left));
  const announced = fc.nat({ max: 0xffff_ffff }).map((mark) => {
    const bytes = Buffer.alloc(12);
    bytes.writeUInt32BE(mark);
    return bytes;
  });
  const usual = { arbitrary: call, weight: 6 };
  return fc.oneof(
    usual,
    damaged,
    inFragments,
    cut,
    announced,
    fc.uint8Array({ maxLength: 40 }),
    fc.constant(Buffer.alloc(8)),
  );
}

describe("whole connections", () => {
  it("of whatever calls, pieces of calls and noise end in RPC replies or closed, however they arrive and are read", () => {
    const bench = createBench();
    const streams = fc.array(pieces(validCalls(bench)), { minLength: 1, maxLength: 12 });
    const arrivals = fc.array(fc.tuple(fc.integer({ min: 1, max: 300 }), fc.boolean()), {
      minLength: 1,
      maxLength: 20,
    });
    let replied = 0;
    fc.assert(
      fc.property(streams, arrivals, (parts, steps) => {
        const stream = Buffer.concat(parts);
        const connection = new MemoryConnection();
        bench.service.serveConnection(connection);
        for (let at = 0, step = 0; at < stream.length; step++) {
          const [size, reads] = steps[step % steps.length]!;
          // A peer that does not read is paused, and sends nothing more until it has read.
          connection.accepts = reads;
          if (reads) connection.drain();
          if (connection.isPaused && !connection.isClosed) connection.drain();
          connection.arrive(stream.subarray(at, at + size));
          at += size;
        }
        connection.accepts = true;
        connection.drain();
        const statuses = connection.takeReplies().map(statusOf);
        replied += statuses.length;
        for (const status of statuses) expect(EXPECTED).toContain(status);
        connection.hangUp();
      }),
      { numRuns: 3000 },
    );
    expect(faults(bench)).toEqual([]);
    // Most of it was really answered.
    expect(replied).toBeGreaterThan(3000);
  });
});
