/** READs whose bytes stay in their file until the kernel sends them. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { FileName } from "../bytes/file-name.ts";
import { NFS_SEND_FILE_BYTES_MIN } from "../limits.ts";
import type { FileRange } from "../ports.ts";
import { MemoryVolume } from "./memory-volume.ts";
import { createBench, encodeRecord, type MemoryConnection } from "./test-client.ts";
import type { RangeAnswer, Volume } from "./volume.ts";

const [GETATTR, READ] = [1, 6];
const FILE_BYTES = 400_003;
const CONTENT = Uint8Array.from({ length: FILE_BYTES }, (_, index) => (index * 31 + (index >> 8)) % 256);

/** All files are in a file of this machine, and in memory. */
class FileVolume extends MemoryVolume {
  isLater = false;
  asked = 0;

  readRange(id: number, offset: number, countBytes: number): RangeAnswer | Promise<RangeAnswer> {
    this.asked++;
    const { bytes, endOfFile } = this.read(id, offset, countBytes);
    const readSync = (target: Uint8Array, at: number) =>
      target.set(bytes.subarray(at - 1000).subarray(0, target.length));
    const file: FileRange["file"] = { descriptor: 99, readSync, readNow: () => false };
    const answer = { range: { file, offset: 1000, lengthBytes: bytes.length }, endOfFile };
    return this.isLater ? Promise.resolve(answer) : answer;
  }
}

/** A server whose only file is that one, by either way. */
function benchOf<V extends MemoryVolume>(volume: V) {
  const bench = createBench({ volume: volume as Volume });
  const id = volume.create(2, "file" as FileName, { kind: "guarded" }, { mode: 0o644, uid: 0, gid: 0 });
  volume.write(id, 0, CONTENT);
  const { body } = bench.nfs("LOOKUP", (args) => args.opaque(bench.root).name("file" as FileName));
  return { ...bench, volume, handle: body.opaque(64, "handle").slice() };
}

type Asked = "attributes" | { offset: number; countBytes: number };

function ask(connection: MemoryConnection, handle: Uint8Array, asked: readonly Asked[]): void {
  const calls = asked.map((one, xid) =>
    one === "attributes"
      ? encodeRecord(GETATTR, (args) => args.opaque(handle), { xid })
      : encodeRecord(READ, (args) => args.opaque(handle).hyper(one.offset).u32(one.countBytes), { xid }),
  );
  connection.arrive(Buffer.concat(calls));
}

const asked: fc.Arbitrary<Asked> = fc.oneof(
  fc.constant("attributes" as const),
  fc.record({ offset: fc.nat({ max: FILE_BYTES + 10 }), countBytes: fc.nat({ max: 300_000 }) }),
);
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("READs from a file", () => {
  it("are answered as others are, among other replies, from any offset", async () => {
    const [copied, sent] = [benchOf(new MemoryVolume()), benchOf(new FileVolume())];
    await fc.assert(
      fc.asyncProperty(fc.array(asked, { minLength: 1, maxLength: 6 }), fc.boolean(), async (calls, isLater) => {
        sent.volume.isLater = isLater;
        const replies = [];
        for (const { connection, handle } of [copied, sent]) {
          ask(connection, handle, calls);
          await settled();
          const byXid = connection.takeReplies().map((reply) => Buffer.from(reply));
          replies.push(byXid.sort((one, other) => one.readUInt32BE(0) - other.readUInt32BE(0)));
        }
        const [expected, answered] = replies;
        expect(answered!.length).toBe(calls.length);
        for (const [index, reply] of answered!.entries()) expect(Buffer.compare(reply, expected![index]!)).toBe(0);
      }),
    );
    expect(sent.volume.asked).toBeGreaterThan(0);
  });

  it("are copied where they are short: that takes less", () => {
    const { connection, handle, volume } = benchOf(new FileVolume());
    ask(connection, handle, [{ offset: 0, countBytes: NFS_SEND_FILE_BYTES_MIN - 1 }]);
    ask(connection, handle, [{ offset: FILE_BYTES - 100, countBytes: 100_000 }]);
    expect(volume.asked).toBe(0);
    ask(connection, handle, [{ offset: 0, countBytes: NFS_SEND_FILE_BYTES_MIN }]);
    expect(volume.asked).toBe(1);
  });

  it("leave nothing behind in the memory that later replies are written to", () => {
    const { connection, handle } = benchOf(new FileVolume());
    ask(connection, handle, [{ offset: 5, countBytes: 100_001 }]);
    connection.takeReplies();
    ask(connection, handle, ["attributes"]);
    expect(connection.takeReplies().map(({ length }) => length)).toEqual([24 + 4 + 84]);
  });

  it("wait while the peer does not take what it asked for", () => {
    const { connection, handle } = benchOf(new FileVolume());
    connection.accepts = false;
    ask(
      connection,
      handle,
      Array.from({ length: 20 }, () => ({ offset: 0, countBytes: 300_000 })),
    );
    expect(connection.isPaused).toBe(true);
    expect(connection.takeReplies().length).toBe(1);
    connection.accepts = true;
    connection.drain();
    expect(connection.takeReplies().length).toBe(19);
  });
});
