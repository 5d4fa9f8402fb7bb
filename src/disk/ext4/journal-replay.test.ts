import { describe, expect, it } from "vitest";
import { DecodeError } from "../../bytes/decode-error.ts";
import { crc32BigEndian, crc32c } from "./checksums.ts";
import { type ReplayedBlock, replayJournal } from "./journal-replay.ts";

const BLOCK_BYTES = 1024;
const BLOCKS = 16;
const FS_BLOCKS = 100_000;
const UUID = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");
const SEED = crc32c(0xffffffff, UUID);

const FEATURES = {
  none: { compatible: 0, incompatible: 0x1 },
  v1: { compatible: 0x1, incompatible: 0x1 },
  v2: { compatible: 0, incompatible: 0x1 | 0x8 },
  "v2 with 64bit": { compatible: 0, incompatible: 0x1 | 0x2 | 0x8 },
  v3: { compatible: 0, incompatible: 0x1 | 0x10 },
  "v3 with 64bit": { compatible: 0, incompatible: 0x1 | 0x2 | 0x10 },
  "64bit alone": { compatible: 0, incompatible: 0x1 | 0x2 },
} as const;
type Format = (typeof FEATURES)[keyof typeof FEATURES];

/** Writes journals as jbd2 does: fs/jbd2/commit.c and revoke.c. */
class JournalWriter {
  readonly bytes = Buffer.alloc(BLOCKS * BLOCK_BYTES);
  readonly #format: Format;
  #at: number;
  #sum = 0xffffffff;
  sequence: number;

  constructor(format: Format, { start = 1, sequence = 7, first = 1, blocks = BLOCKS } = {}) {
    this.#format = format;
    this.#at = start;
    this.sequence = sequence;
    const fields: Record<number, number> = {
      0: 0xc03b3998,
      4: 4,
      12: BLOCK_BYTES,
      16: blocks,
      20: first,
      24: sequence,
      28: start,
      36: format.compatible,
      40: format.incompatible,
    };
    for (const [at, value] of Object.entries(fields)) this.bytes.writeUInt32BE(value, Number(at));
    UUID.copy(this.bytes, 0x30);
    this.sealSuperblock();
  }

  sealSuperblock(): void {
    this.bytes.writeUInt32BE(0, 0xfc);
    this.bytes.writeUInt32BE(this.#hasChecksums ? crc32c(0xffffffff, this.bytes, 0, 1024) : 0, 0xfc);
  }

  get #hasChecksums(): boolean {
    return (this.#format.incompatible & 0x18) !== 0;
  }

  #has(flag: number): boolean {
    return (this.#format.incompatible & flag) !== 0;
  }

  /** Where the next block of the log will stand. */
  get position(): number {
    return this.#at;
  }

  #append(block: Buffer): number {
    const at = this.#at;
    block.copy(this.bytes, at * BLOCK_BYTES);
    this.#at = at + 1 < BLOCKS ? at + 1 : 1;
    return at;
  }

  #headed(type: number): Buffer {
    const block = Buffer.alloc(BLOCK_BYTES);
    block.writeUInt32BE(0xc03b3998, 0);
    block.writeUInt32BE(type, 4);
    block.writeUInt32BE(this.sequence, 8);
    return block;
  }

  #sealTail(block: Buffer): Buffer {
    if (this.#hasChecksums) block.writeUInt32BE(crc32c(SEED, block), BLOCK_BYTES - 4);
    return block;
  }

  /** A descriptor and the blocks it describes; returns where those stand. */
  write(writes: { block: number; data: Buffer; isEscaped?: boolean }[]): number[] {
    const descriptor = this.#headed(1);
    let at = 12;
    const sequence = Buffer.alloc(4);
    sequence.writeUInt32BE(this.sequence);
    writes.forEach(({ block, data, isEscaped }, index) => {
      const isFirst = index === 0;
      const flags = (isEscaped ? 1 : 0) | (isFirst ? 0 : 2) | (index === writes.length - 1 ? 8 : 0);
      const sum = crc32c(crc32c(SEED, sequence), data);
      descriptor.writeUInt32BE(block % 2 ** 32, at);
      if (this.#has(0x2)) descriptor.writeUInt32BE(Math.floor(block / 2 ** 32), at + 8);
      if (this.#has(0x10)) {
        descriptor.writeUInt32BE(flags, at + 4);
        descriptor.writeUInt32BE(sum, at + 12);
        at += 16;
      } else {
        descriptor.writeUInt16BE(this.#has(0x8) ? sum & 0xffff : 0, at + 4);
        descriptor.writeUInt16BE(flags, at + 6);
        at += 8 + (this.#has(0x2) ? 4 : 0) + (this.#has(0x8) ? 2 : 0);
      }
      if (isFirst) at += UUID.copy(descriptor, at);
    });
    this.#sealTail(descriptor);
    const blocks = [descriptor, ...writes.map(({ data }) => data)];
    for (const block of blocks) this.#sum = crc32BigEndian(this.#sum, block);
    return blocks.map((block) => this.#append(block)).slice(1);
  }

  revoke(blocks: number[]): void {
    const revoke = this.#headed(5);
    const step = this.#has(0x2) ? 8 : 4;
    revoke.writeUInt32BE(16 + blocks.length * step, 12);
    blocks.forEach((block, index) => {
      revoke.writeUInt32BE(block, 16 + index * step + (step - 4));
    });
    this.#append(this.#sealTail(revoke));
  }

  commit(seconds = this.sequence): void {
    const commit = this.#headed(2);
    commit.writeBigUInt64BE(BigInt(seconds), 0x30);
    if (this.#format.compatible !== 0) {
      commit.set([1, 4], 0xc);
      commit.writeUInt32BE(this.#sum, 0x10);
    }
    if (this.#hasChecksums) commit.writeUInt32BE(crc32c(SEED, commit), 0x10);
    this.#append(commit);
    this.#sum = 0xffffffff;
    this.sequence = (this.sequence + 1) >>> 0;
  }

  replay(): Map<number, ReplayedBlock> {
    const read = (block: number): Uint8Array => this.bytes.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
    return replayJournal({ blocksCount: BLOCKS, read }, FS_BLOCKS);
  }
}

const data = (byte: number): Buffer => Buffer.alloc(BLOCK_BYTES, byte);
const at = (journalBlock: number, isEscaped = false): ReplayedBlock => ({ journalBlock, isEscaped });

describe.each(Object.entries(FEATURES))("a journal with checksums %s", (_, format) => {
  it("gives the newest committed copy of each block", () => {
    const journal = new JournalWriter(format);
    const [first] = journal.write([
      { block: 70_000, data: data(1) },
      { block: 6, data: data(2) },
    ]);
    journal.commit();
    const [newer, escaped] = journal.write([
      { block: 6, data: data(3) },
      { block: 8, data: data(0), isEscaped: true },
    ]);
    journal.commit();
    journal.write([{ block: 9, data: data(4) }]);
    expect(journal.replay()).toEqual(
      new Map([
        [70_000, at(first!)],
        [6, at(newer!)],
        [8, at(escaped!, true)],
      ]),
    );
  });

  it("leaves revoked blocks alone, but not those written again afterwards", () => {
    const journal = new JournalWriter(format);
    journal.write([
      { block: 5, data: data(1) },
      { block: 6, data: data(1) },
    ]);
    journal.commit();
    journal.write([{ block: 5, data: data(2) }]);
    journal.revoke([5, 6]);
    journal.commit();
    const [again] = journal.write([{ block: 6, data: data(3) }]);
    journal.commit();
    expect(journal.replay()).toEqual(new Map([[6, at(again!)]]));
  });

  it("goes on at the start of the log after its end, and counts on after 2^32 - 1", () => {
    const journal = new JournalWriter(format, { start: BLOCKS - 3, sequence: 2 ** 32 - 1 });
    const [one, two] = journal.write([
      { block: 5, data: data(1) },
      { block: 6, data: data(1) },
    ]);
    journal.commit();
    journal.revoke([5]);
    const [three] = journal.write([{ block: 7, data: data(1) }]);
    journal.commit();
    expect([one, two, three]).toEqual([14, 15, 4]);
    expect(journal.replay()).toEqual(
      new Map([
        [6, at(15)],
        [7, at(4)],
      ]),
    );
  });

  it("ends before the blocks of an older turn of the log", () => {
    const journal = new JournalWriter(format);
    journal.write([{ block: 5, data: data(1) }]);
    journal.commit();
    journal.sequence = 3;
    journal.write([{ block: 6, data: data(1) }]);
    journal.commit();
    expect([...journal.replay().keys()]).toEqual([5]);
  });
});

describe.each([
  ["v1", FEATURES.v1],
  ["v2", FEATURES.v2],
  ["v3", FEATURES.v3],
] as const)("a journal with checksums %s", (_, format) => {
  it("ends before a commit block with a wrong sum", () => {
    const journal = new JournalWriter(format);
    journal.write([{ block: 5, data: data(1) }]);
    journal.commit();
    journal.write([{ block: 6, data: data(1) }]);
    journal.commit();
    const lastCommit = (journal.position - 1) * BLOCK_BYTES;
    journal.bytes[lastCommit + 0x13]! ^= 1;
    expect([...journal.replay().keys()]).toEqual([5]);
  });
});

describe("a journal", () => {
  it("without a start has nothing to replay", () => {
    const journal = new JournalWriter(FEATURES.v3, { start: 0 });
    expect(journal.replay().size).toBe(0);
  });

  it("with a damaged descriptor in a committed transaction is refused", () => {
    const journal = new JournalWriter(FEATURES.v3);
    journal.write([{ block: 5, data: data(1) }]);
    journal.bytes[BLOCK_BYTES + 500] = 1;
    journal.commit();
    expect(() => journal.replay()).toThrow("transaction 7: its checksum is wrong");
  });

  it("with a wrong sum and an older commit time ends there: a left-over of an earlier journal", () => {
    const journal = new JournalWriter(FEATURES.v3);
    journal.write([{ block: 5, data: data(1) }]);
    journal.commit(1000);
    const leftOver = journal.position;
    journal.write([{ block: 6, data: data(1) }]);
    journal.commit(999);
    journal.bytes[leftOver * BLOCK_BYTES + 500] = 1;
    expect([...journal.replay().keys()]).toEqual([5]);
  });

  it("with a damaged copy of a block is refused", () => {
    const journal = new JournalWriter(FEATURES.v2);
    const [copy] = journal.write([{ block: 5, data: data(1) }]);
    journal.commit();
    journal.bytes[copy! * BLOCK_BYTES] = 9;
    expect(() => journal.replay()).toThrow("journal block 2: the copy of block 5 is damaged");
  });

  it("with a block outside of the file system is refused", () => {
    const journal = new JournalWriter(FEATURES.none);
    journal.write([{ block: FS_BLOCKS, data: data(1) }]);
    journal.commit();
    expect(() => journal.replay()).toThrow(`it belongs to block ${FS_BLOCKS} of only ${FS_BLOCKS}`);
  });

  it("that never ends is read once around", () => {
    const journal = new JournalWriter(FEATURES.none);
    for (let block = 1; block < BLOCKS; block++) journal.revoke([5]);
    expect(journal.replay().size).toBe(0);
  });

  it.each([
    { what: "no magic", at: 0, value: 1, message: "this is no journal" },
    { what: "a wrong checksum", at: 0xfc, value: 1, seals: false, message: "s_checksum (byte 252): it is 0x1" },
    { what: "other blocks", at: 0xc, value: 4096, message: "4096 instead of 1024" },
    { what: "more blocks than its file", at: 0x10, value: BLOCKS + 1, message: "17 blocks in a file of 16" },
    { what: "a first block outside", at: 0x14, value: BLOCKS, message: "s_first (byte 20)" },
    { what: "a start outside", at: 0x1c, value: BLOCKS, message: "16 is outside of the log, blocks 1 to 16" },
    { what: "unknown features", at: 0x28, value: 0x51, message: "unknown features 0x40" },
  ])("with $what is refused", ({ at: field, value, seals = true, message }) => {
    const journal = new JournalWriter(FEATURES.v3);
    journal.bytes.writeUInt32BE(value, field);
    if (seals) journal.sealSuperblock();
    expect(() => journal.replay()).toThrow(DecodeError);
    expect(() => journal.replay()).toThrow(message);
  });
});
