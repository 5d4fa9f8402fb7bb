import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { FileName } from "../bytes/file-name.ts";
import { NFS_PROCEDURES } from "./procedures/table.ts";
import { type Bench, createBench, encodeRecord, MemoryConnection, newAttributes } from "./test-client.ts";
import type { Encode } from "./xdr.ts";

/** Valid arguments of every procedure, for mutation. */
function validCalls({ root }: Bench): Uint8Array[] {
  const operand = (entry: string): Encode => {
    return (args) => args.opaque(root).name(entry as FileName);
  };
  const all = (...parts: Encode[]): Encode => {
    return (args) => {
      for (const part of parts) part(args);
    };
  };
  const words = (...values: number[]) =>
    all(
      ...values.map(
        (value): Encode =>
          (args) =>
            args.u32(value),
      ),
    );
  const handle: Encode = (args) => args.opaque(root);
  const data: Encode = (args) => args.opaque(new Uint8Array(9));
  const args: Record<string, Encode> = {
    SETATTR: all(handle, newAttributes(0o700), words(1, 5, 6)),
    LOOKUP: operand("f"),
    ACCESS: all(handle, words(0x3f)),
    READ: all(handle, words(0, 0, 4096)),
    WRITE: all(handle, words(0, 0, 9, 2), data),
    CREATE: all(operand("f"), words(0), newAttributes(0o644)),
    MKDIR: all(operand("d"), newAttributes(0o755)),
    SYMLINK: all(operand("s"), newAttributes(), data),
    MKNOD: all(operand("n"), words(4), newAttributes(0o600), words(1, 3)),
    REMOVE: operand("f"),
    RMDIR: operand("d"),
    RENAME: all(operand("f"), operand("g")),
    LINK: all(handle, operand("l")),
    READDIR: all(handle, words(0, 0, 0, 0, 4096)),
    READDIRPLUS: all(handle, words(0, 0, 0, 0, 4096, 8192)),
    COMMIT: all(handle, words(0, 0, 0)),
  };
  return NFS_PROCEDURES.map(({ name }, number) => encodeRecord(number, args[name] ?? handle, { uid: number % 2 }));
}

/** Sends a record and returns the reply's `reply_stat` and `accept_stat`, or why there is none. */
function send(bench: Bench, record: Uint8Array): string {
  const connection = new MemoryConnection();
  bench.service.serveConnection(connection);
  connection.arrive(record);
  if (connection.isClosed) return "closed";
  const [reply] = connection.takeReplies();
  if (reply === undefined) return "waiting for more";
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
