import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DecodeError } from "../bytes/decode-error.ts";
import { RPC_RECORD_BYTES_MAX } from "../limits.ts";
import { RecordAssembler } from "./record-marking.ts";

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

  it.each([
    ["in one fragment", mark(RPC_RECORD_BYTES_MAX + 1, true)],
    ["in several", Buffer.concat([mark(4, false), Buffer.alloc(4), mark(RPC_RECORD_BYTES_MAX, true)])],
  ])("refuses a record that is announced as too long, %s", (_, bytes) => {
    const assembler = new RecordAssembler();
    assembler.push(bytes);
    expect(() => takeAll(assembler)).toThrow(DecodeError);
  });
});
