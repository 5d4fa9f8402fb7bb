import { execFileSync } from "node:child_process";
import { chmodSync, closeSync, mkdirSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NFS_TRANSFER_BYTES_MAX } from "../limits.ts";
import { viewPageCache } from "./page-cache.ts";
import { readNow } from "./read-now.ts";

const FILE_BYTES = 5_000_001;

describe("what the kernel has of a file", () => {
  let folder: string;
  let path: string;
  let descriptor: number;

  beforeAll(() => {
    // On a disk: what is on a memory file system is always in memory.
    mkdirSync(".cache", { recursive: true });
    folder = mkdtempSync(join(".cache", "page-cache-"));
    path = join(folder, "file");
    writeFileSync(path, Buffer.alloc(FILE_BYTES, "x"), { flush: true });
    descriptor = openSync(path, "r");
  });
  afterAll(() => {
    closeSync(descriptor);
    rmSync(folder, { recursive: true });
  });

  it.each([
    { offset: 0, lengthBytes: 131_072 },
    { offset: 4095, lengthBytes: 2 },
    { offset: 4097, lengthBytes: NFS_TRANSFER_BYTES_MAX },
    { offset: 4_900_000, lengthBytes: 100_001 },
  ])("is told of bytes just written: from $offset on, $lengthBytes", ({ offset, lengthBytes }) => {
    const view = viewPageCache(descriptor, path, FILE_BYTES)!;
    expect(readNow(descriptor, new Uint8Array(lengthBytes), offset)).toBe(lengthBytes);
    expect(view.has(offset, lengthBytes)).toBe(true);
    view.close();
  });

  it("is nothing behind the end, nor behind what it was when it was opened, nor of more than a READ", () => {
    const view = viewPageCache(descriptor, path, 1_000_000)!;
    expect(view.has(999_999, 2)).toBe(false);
    view.close();
    const all = viewPageCache(descriptor, path, FILE_BYTES)!;
    expect(all.has(0, 2 * NFS_TRANSFER_BYTES_MAX)).toBe(false);
    all.close();
  });

  it("does not have what it was told to forget, nor what the file lost", () => {
    const copy = join(folder, "copy");
    writeFileSync(copy, Buffer.alloc(FILE_BYTES, "x"), { flush: true });
    const opened = openSync(copy, "r");
    const view = viewPageCache(opened, copy, FILE_BYTES)!;
    expect(view.has(0, 131_072)).toBe(true);
    execFileSync("dd", [`of=${copy}`, "oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none"]);
    expect(view.has(0, 131_072)).toBe(false);
    writeFileSync(copy, Buffer.alloc(FILE_BYTES, "x"), { flush: true });
    expect(view.has(0, 131_072)).toBe(true);
    truncateSync(copy, 65_536);
    expect(view.has(0, 131_072)).toBe(false);
    view.close();
    closeSync(opened);
  });

  it.skipIf(process.geteuid?.() !== 0)("is not told, where the file is neither ours nor ours to write", () => {
    chmodSync(path, 0o644);
    process.setegid!(65534);
    process.seteuid!(65534);
    try {
      expect(viewPageCache(descriptor, path, FILE_BYTES)).toBeUndefined();
    } finally {
      process.seteuid!(0);
      process.setegid!(0);
    }
  });
});
