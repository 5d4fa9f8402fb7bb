import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hashFile, hashGrowingImage } from "./file-hash.ts";
import { SparseFile } from "./sparse-file.ts";

const never = new AbortController().signal;

describe("SparseFile and hashGrowingImage()", () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-sparse-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Runs of zeros and of something else, cut into chunks at other places. */
  const pieces = fc.array(fc.tuple(fc.nat({ max: 300_000 }), fc.constantFrom(0, 0, 7)), { maxLength: 6 });

  async function write(path: string, bytes: Buffer, chunkBytes: number): Promise<void> {
    const file = await open(path, "w+");
    const sparse = new SparseFile(file);
    for (let offset = 0; offset < bytes.length; offset += chunkBytes) {
      await sparse.write(bytes.subarray(offset, offset + chunkBytes));
    }
    await sparse.finish();
    expect(sparse.sizeBytes).toBe(bytes.length);
    await file.close();
  }

  it("writes the same bytes, whatever they are and however they come", async () => {
    const path = join(folder, "same");
    await fc.assert(
      fc.asyncProperty(pieces, fc.integer({ min: 1000, max: 200_000 }), async (runs, chunkBytes) => {
        const bytes = Buffer.concat(runs.map(([length, value]) => Buffer.alloc(length, value)));
        await write(path, bytes, chunkBytes);
        expect(readFileSync(path).equals(bytes)).toBe(true);
      }),
      { numRuns: 40 },
    );
  });

  it("leaves holes for blocks of zeros, at the end too", async () => {
    const path = join(folder, "holes");
    const bytes = Buffer.alloc(8 * 1024 * 1024);
    bytes.write("something", 3_000_000);
    await write(path, bytes, 65_536);
    const { size, blocks } = statSync(path);
    expect(size).toBe(bytes.length);
    expect(blocks * 512).toBeLessThanOrEqual(8192);
  });

  it("names equal contents alike, however they are stored, and others not", async () => {
    const [sparse, dense] = [join(folder, "sparse"), join(folder, "dense")];
    const hash = (path: string) => hashGrowingImage(path, { isComplete: () => true, signal: never });
    await fc.assert(
      fc.asyncProperty(pieces, fc.nat(), async (runs, place) => {
        const bytes = Buffer.concat([Buffer.from("x"), ...runs.map(([length, value]) => Buffer.alloc(length, value))]);
        await write(sparse, bytes, 100_000);
        const file = await open(dense, "w");
        await file.writeFile(bytes);
        expect(await hash(sparse)).toBe(await hash(dense));

        const at = place % bytes.length;
        await file.write(Buffer.of((bytes[at] ?? 0) ^ 1), 0, 1, at);
        expect(await hash(dense)).not.toBe(await hash(sparse));
        await file.write(bytes, 0, bytes.length, 0);
        await file.truncate(bytes.length + 1);
        expect(await hash(dense)).not.toBe(await hash(sparse));
        await file.close();
      }),
      { numRuns: 30 },
    );
  });

  it("hashes a file that grows meanwhile as it hashes the finished one", async () => {
    const path = join(folder, "growing");
    const file = await open(path, "w+");
    const sparse = new SparseFile(file);
    let isComplete = false;
    const hashing = hashGrowingImage(path, { isComplete: () => isComplete, signal: never });
    for (let part = 0; part < 40; part += 1) {
      await sparse.write(Buffer.alloc(100_001, part % 3));
      if (part % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await sparse.finish();
    isComplete = true;
    expect(await hashing).toBe(await hashGrowingImage(path, { isComplete: () => true, signal: never }));
    await file.close();
  });

  it("hashes a file as sha256sum does", async () => {
    const path = join(folder, "abc");
    const file = await open(path, "w");
    await file.writeFile("abc");
    await file.close();
    // FIPS 180-2, appendix B.1.
    expect(await hashFile(path, never)).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  });
});
