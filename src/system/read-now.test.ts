import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readNow } from "./read-now.ts";

const BYTES = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7) % 251));

describe("reading what is in memory already", () => {
  let folder: string;
  let path: string;
  let descriptor: number;

  beforeAll(() => {
    // On a disk: what is on a memory file system never has to be waited for.
    mkdirSync(".cache", { recursive: true });
    folder = mkdtempSync(join(".cache", "read-now-"));
    path = join(folder, "file");
    writeFileSync(path, BYTES, { flush: true });
    descriptor = openSync(path, "r");
  });

  afterAll(() => {
    closeSync(descriptor);
    rmSync(folder, { recursive: true });
  });

  it.each([
    { what: "a part", offset: 5000, wantedBytes: 131_072 },
    { what: "no more than there is", offset: 299_990, wantedBytes: 4096 },
    { what: "nothing behind the end", offset: 400_000, wantedBytes: 4096 },
    { what: "nothing into no room", offset: 0, wantedBytes: 0 },
  ])("gives $what", ({ offset, wantedBytes }) => {
    // A view inside a larger buffer: its own bytes must be filled, and no others.
    const around = new Uint8Array(wantedBytes + 20).fill(255);
    const target = around.subarray(10, 10 + wantedBytes);
    const expected = BYTES.subarray(offset, offset + wantedBytes);
    expect(readNow(descriptor, target, offset)).toBe(expected.length);
    expect(Buffer.compare(target.subarray(0, expected.length), expected)).toBe(0);
    expect([...around.subarray(0, 10), ...around.subarray(10 + expected.length)].every((byte) => byte === 255)).toBe(
      true,
    );
  });

  it("says that it would have to wait for a disk, and is right when it does not", () => {
    // Tells the kernel to forget the file.
    execFileSync("dd", [`of=${path}`, "oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none"]);
    const target = new Uint8Array(BYTES.length);
    const count = readNow(descriptor, target, 0);
    if (count !== undefined) expect(Buffer.compare(target, BYTES)).toBe(0);
    expect([undefined, BYTES.length]).toContain(count);
  });

  it("leaves failures to the read that may wait", () => {
    const closed = openSync(path, "r");
    closeSync(closed);
    expect(readNow(closed, new Uint8Array(10), 0)).toBeUndefined();
  });
});
