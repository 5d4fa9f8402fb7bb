import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DecodeError } from "../bytes/decode-error.ts";
import { RPC_RECORD_BYTES_MAX, RPC_STRANGER_RECORD_BYTES_MAX } from "../limits.ts";
import { RecordAssembler, reuseRecord } from "./record-marking.ts";

function mark(lengthBytes: number, isLast: boolean): Buffer {
  const header = Buffer.alloc(4);
  header.writeUInt32BE(lengthBytes + (isLast ? 0x8000_0000 : 0));
  return header;
}

/** The record as fragments of these sizes, the last one taking what is left. */
function fragments(record: Uint8Array, sizes: readonly number[]): Buffer {
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const size of sizes) {
    const part = record.subarray(at, at + size);
    parts.push(mark(part.length, false), part);
    at += part.length;
  }
  parts.push(mark(record.length - at, true), record.subarray(at));
  return Buffer.concat(parts);
}

function takeAll(assembler: RecordAssembler): Buffer[] {
  const records: Buffer[] = [];
  for (let record = assembler.next(); record; record = assembler.next()) records.push(Buffer.from(record));
  return records;
}

describe("RecordAssembler", () => {
  it("returns the same records however they are cut into fragments and chunks", () => {
    const record = fc.uint8Array({ minLength: 0, maxLength: 300 });
    const cuts = fc.array(fc.nat({ max: 120 }), { maxLength: 4 });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(record, cuts), { maxLength: 5 }),
        fc.array(fc.integer({ min: 1, max: 90 })),
        (sent, chunks) => {
          const stream = Buffer.concat(sent.map(([bytes, sizes]) => fragments(bytes, sizes)));
          const assembler = new RecordAssembler();
          const received: Buffer[] = [];
          let at = 0;
          for (const size of [...chunks, stream.length]) {
            assembler.push(stream.subarray(at, at + size));
            at += size;
            received.push(...takeAll(assembler));
          }
          expect(received).toEqual(sent.map(([bytes]) => Buffer.from(bytes)));
        },
      ),
    );
  });

  it("keeps what is pushed before the records in front of it were taken", () => {
    const assembler = new RecordAssembler();
    assembler.push(Buffer.concat([mark(1, true), Buffer.of(1), mark(2, true), Buffer.of(2)]));
    expect(assembler.next()).toEqual(Buffer.of(1));
    assembler.push(Buffer.of(3));
    expect(takeAll(assembler)).toEqual([Buffer.of(2, 3)]);
  });

  it("takes a record in fragments of one byte at the cost of one in large ones", () => {
    const countBytes = 300_000;
    const stream = Buffer.alloc(5 * countBytes);
    for (let at = 0; at < countBytes; at++) stream.set(mark(1, at === countBytes - 1), 5 * at);
    const assembler = new RecordAssembler();
    const startMs = performance.now();
    let record: Uint8Array | undefined;
    for (let at = 0; at < stream.length; at += 65_536) {
      assembler.push(stream.subarray(at, at + 65_536));
      record = assembler.next();
    }
    expect(record?.length).toBe(countBytes);
    // Copied for each byte it would be 45 GB, and take many seconds; it takes some 20 ms.
    expect(performance.now() - startMs).toBeLessThan(2000);
  });

  it("says whether a record has begun", () => {
    const assembler = new RecordAssembler();
    const states = [mark(3, false).subarray(0, 2), mark(3, false).subarray(2), Buffer.alloc(3), mark(0, false)].map(
      (bytes) => {
        assembler.push(bytes);
        expect(assembler.next()).toBeUndefined();
        return assembler.isWithinRecord;
      },
    );
    expect([states, new RecordAssembler().isWithinRecord]).toEqual([[true, true, true, true], false]);
    assembler.push(mark(0, true));
    expect(assembler.next()).toHaveLength(3);
    expect(assembler.isWithinRecord).toBe(false);
  });

  it("uses the memory of large records again, and only once nobody needs them", () => {
    const countBytes = RPC_RECORD_BYTES_MAX - 100;
    const assembler = new RecordAssembler();
    const take = (fill: number) => {
      const stream = Buffer.concat([mark(countBytes, true), Buffer.alloc(countBytes, fill)]);
      let record: Uint8Array | undefined;
      for (let at = 0; at < stream.length; at += 65_536) {
        assembler.push(stream.subarray(at, at + 65_536));
        record = assembler.next();
      }
      return record!;
    };
    const [first, second] = [take(1), take(2)];
    reuseRecord(first);
    // Nobody may have it twice.
    reuseRecord(first);
    const [third, fourth] = [take(3), take(4)];
    expect(third.buffer).toBe(first.buffer);
    expect([second, third, fourth].map((record) => record.every((byte) => byte === record[0]))).toEqual(
      [2, 3, 4].map(() => true),
    );
    expect([second, third, fourth].map(([byte]) => byte)).toEqual([2, 3, 4]);
    const foreign = new Uint8Array(RPC_RECORD_BYTES_MAX);
    reuseRecord(foreign);
    expect(take(5).buffer).not.toBe(foreign.buffer);
  });

  it("says what has to come yet of a fragment", () => {
    const assembler = new RecordAssembler();
    const missing = [mark(5, true).subarray(0, 2), mark(5, true).subarray(2), Buffer.alloc(3)].map((bytes) => {
      assembler.push(bytes);
      assembler.next();
      return assembler.missingBytes;
    });
    assembler.push(Buffer.alloc(2));
    expect(assembler.next()).toHaveLength(5);
    expect([...missing, assembler.missingBytes]).toEqual([0, 5, 2, 0]);
  });

  it("takes short records only from strangers", () => {
    const assembler = new RecordAssembler(() => false);
    assembler.push(
      Buffer.concat([mark(RPC_STRANGER_RECORD_BYTES_MAX, true), Buffer.alloc(RPC_STRANGER_RECORD_BYTES_MAX)]),
    );
    expect(assembler.next()).toHaveLength(RPC_STRANGER_RECORD_BYTES_MAX);
    assembler.push(mark(RPC_STRANGER_RECORD_BYTES_MAX + 1, true));
    expect(() => assembler.next()).toThrow(DecodeError);
  });

  it.each([
    ["in one fragment", mark(RPC_RECORD_BYTES_MAX + 1, true)],
    ["in several", Buffer.concat([mark(4, false), Buffer.alloc(4), mark(RPC_RECORD_BYTES_MAX, true)])],
  ])("refuses a record that is announced as too long, %s", (_, bytes) => {
    const assembler = new RecordAssembler();
    assembler.push(bytes);
    expect(() => takeAll(assembler)).toThrow(DecodeError);
  });
});
