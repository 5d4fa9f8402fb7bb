/** What a journal's file gives back after any cut, and what it never gives back. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { crc32 } from "../bytes/crc32.ts";
import { type Change, textOf } from "./pending-changes.ts";
import { type JournalFile, journalRecords, RECORD_HEAD_BYTES, StoreJournal } from "./store-journal.ts";

const FILE_BYTES = 2 * 512;

/** A disk that takes writes, or as much of the next one as it is told. */
class MemoryFile implements JournalFile {
  readonly bytes = new Uint8Array(FILE_BYTES);
  /** Tells of each byte of a write whether it comes onto the disk; the write then fails. */
  keeps: ((index: number) => boolean) | undefined;

  async write(bytes: Uint8Array, offset: number): Promise<void> {
    for (const [index, byte] of bytes.entries()) if (this.keeps?.(index) ?? true) this.bytes[offset + index] = byte;
    if (this.keeps !== undefined) throw Object.assign(new Error("i/o error"), { code: "EIO" });
  }

  async close(): Promise<void> {}
}

let generation = 0;
const random = { bytes: (count: number) => new Uint8Array(count).fill(++generation & 0xff) };

function open(file: MemoryFile, appliedNumber = 0): StoreJournal {
  return new StoreJournal({ file, sizeBytes: FILE_BYTES, random, appliedNumber });
}

function change(key: string, value: Uint8Array | undefined): Change {
  return { key: Buffer.from(key), text: key, value };
}

/** Applies when it must. */
async function append(journal: StoreJournal, changes: readonly Change[]): Promise<void> {
  if (!journal.canTake(changes)) journal.applied(journal.lastNumber);
  await journal.append(changes);
}

function readable(changes: readonly Change[]): string[] {
  return changes.map(
    ({ key, value }) => `${textOf(key)}=${value === undefined ? "" : Buffer.from(value).toString("hex")}`,
  );
}

function found(file: MemoryFile, appliedNumber: number): { number: number; changes: string[] }[] {
  const records = journalRecords(file.bytes, appliedNumber, "journal-1");
  return records.map(({ number, changes }) => ({ number, changes: readable(changes) }));
}

const changes = fc.array(
  fc
    .tuple(fc.string({ minLength: 1, maxLength: 8 }), fc.option(fc.uint8Array({ maxLength: 60 }), { nil: undefined }))
    .map(([key, value]) => change(Buffer.from(key).toString("latin1"), value)),
  { maxLength: 5 },
);

describe("a journal", () => {
  it("gives back what was appended and not applied, and of a write that was cut all or nothing", async () => {
    // Seldom, so that both halves fill.
    const isApplied = fc.integer({ min: 0, max: 9 }).map((number) => number === 0);
    const step = fc.record({ changes, isApplied });
    const scenario = [
      fc.array(step, { maxLength: 25, size: "max" }),
      changes,
      fc.infiniteStream(fc.boolean()),
    ] as const;
    await fc.assert(
      fc.asyncProperty(...scenario, async (steps, last, keeps) => {
        const file = new MemoryFile();
        const journal = open(file);
        let applied = 0;
        const appended: { number: number; changes: string[] }[] = [];
        for (const step of steps) {
          if (!journal.canTake(step.changes)) applied = journal.lastNumber;
          journal.applied(applied);
          await journal.append(step.changes);
          appended.push({ number: journal.lastNumber, changes: readable(step.changes) });
          if (step.isApplied) applied = journal.lastNumber;
          journal.applied(applied);
          expect(found(file, applied)).toEqual(appended.filter(({ number }) => number > applied));
        }
        if (!journal.canTake(last)) applied = journal.lastNumber;
        journal.applied(applied);
        const expected = appended.filter(({ number }) => number > applied);
        file.keeps = () => keeps.next().value;
        await expect(journal.append(last)).rejects.toThrow("i/o error");
        const after = found(file, applied);
        expect(after.slice(0, expected.length)).toEqual(expected);
        const torn = { number: appended.length + 1, changes: readable(last) };
        if (after.length > expected.length) expect(after.slice(expected.length)).toEqual([torn]);
      }),
      { numRuns: 100 },
    );
  });

  it("gives back a beginning of what was appended when bits of the file are flipped, or says that it is damaged", async () => {
    const flip = fc.tuple(fc.nat(FILE_BYTES - 1), fc.nat(7));
    await fc.assert(
      fc.asyncProperty(
        fc.array(changes, { maxLength: 12 }),
        fc.array(flip, { maxLength: 3 }),
        async (writes, flips) => {
          const file = new MemoryFile();
          const journal = open(file);
          const appended: { number: number; changes: string[] }[] = [];
          for (const each of writes) {
            if (!journal.canTake(each)) break;
            await journal.append(each);
            appended.push({ number: journal.lastNumber, changes: readable(each) });
          }
          for (const [at, bit] of flips) file.bytes[at]! ^= 1 << bit;
          try {
            const after = found(file, 0);
            expect(after).toEqual(appended.slice(0, after.length));
          } catch (error) {
            expect((error as Error).message).toMatch(/record \d+ is damaged and later ones are there/);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it("reads any bytes without harm", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(journalRecords(bytes, 0, "journal-1")).toEqual([]);
      }),
    );
  });

  it("never takes what a value contains for a record, wherever it lies after the newest", async () => {
    const forged = (number: number) => {
      const other = new MemoryFile();
      void open(other, number - 1).append([change("forged", Buffer.from("x"))]);
      return other.bytes.slice(0, RECORD_HEAD_BYTES + 13);
    };
    for (let shift = 0; shift < 60; shift += 1) {
      const file = new MemoryFile();
      const journal = open(file);
      // A half full of records of the numbers to come, behind a key of any length.
      const value = Buffer.concat(Array.from({ length: 9 }, () => forged(4)));
      await journal.append([change("k".repeat(1 + shift), value)]);
      await append(journal, [change("other half", new Uint8Array(400))]);
      // Into the first half again.
      await append(journal, [change("k", new Uint8Array(200))]);
      expect(found(file, 2)).toEqual([{ number: 3, changes: [`k=${"00".repeat(200)}`] }]);
    }
  });

  it("never gives back a record that could not be written once the next one is", async () => {
    const file = new MemoryFile();
    const journal = open(file);
    await journal.append([change("a", Buffer.from("1"))]);
    file.keeps = () => true;
    await expect(journal.append([change("b", Buffer.from("failed"))])).rejects.toThrow("i/o error");
    file.keeps = undefined;
    expect(journal.canTake([])).toBe(false);
    journal.applied(journal.lastNumber);
    await journal.append([change("c", Buffer.from("3"))]);
    await journal.append([change("d", Buffer.from("4"))]);
    expect(found(file, 2).map(({ number }) => number)).toEqual([3, 4]);
    // The store had taken the failed one's number, so it is not looked for.
    expect(journalRecords(file.bytes, 2, "").flatMap(({ changes }) => readable(changes))).toEqual(["c=33", "d=34"]);
  });

  it("says so when a record is missing before others", async () => {
    const file = new MemoryFile();
    const journal = open(file);
    for (const key of ["a", "b", "c"]) await journal.append([change(key, new Uint8Array(200))]);
    file.bytes[RECORD_HEAD_BYTES + 5]! ^= 1;
    expect(() => found(file, 0)).toThrow(
      "Cannot read the journal journal-1: record 1 is damaged and later ones are there",
    );
    expect(found(file, 2)).toHaveLength(1);
  });

  it("has the format that is documented", async () => {
    const file = new MemoryFile();
    generation = 6;
    await open(file, 0x010203).append([change("ab", Buffer.from("xyz")), change("c", undefined)]);
    const [head, body] = ["424a726e00000012070707070707070700000001020400 00", "00020000000461627879 7a00010000000063"];
    const record = Buffer.from(file.bytes.subarray(0, RECORD_HEAD_BYTES + 18));
    expect(record.subarray(0, 24).toString("hex")).toBe(head.replace(" ", ""));
    expect(record.subarray(RECORD_HEAD_BYTES).toString("hex")).toBe(body.replace(" ", ""));
    expect(record.readUInt32BE(24)).toBe(crc32(Buffer.concat([record.subarray(0, 24), record.subarray(28)])));
  });
});
