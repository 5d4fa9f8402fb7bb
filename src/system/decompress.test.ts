import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Container } from "./container.ts";
import { decompress } from "./decompress.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bramble-decompress-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const IMAGE = Uint8Array.from({ length: 8 * 1024 * 1024 }, (_, index) => (Math.imul(index, 2654435761) >>> 13) & 0xff);

/** How often this process has the file open. */
function openCount(path: string): number {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path;
    } catch {
      return false; // the descriptor that listed them
    }
  }).length;
}

async function unpack(container: Container, bytes: Uint8Array, outputFlags: string) {
  const [path, target] = [join(folder, "in"), join(folder, "out")];
  writeFileSync(path, bytes);
  writeFileSync(target, "");
  const output = await open(target, outputFlags);
  const { signal } = new AbortController();
  const outcome = await decompress({ container, path, output, onInput: () => {}, signal, useSystemTools: false }).then(
    () => "unpacked",
    () => "failed",
  );
  await output.close();
  for (let turn = 0; turn < 20 && openCount(path) > 0; turn++) await new Promise((go) => setTimeout(go, 25));
  return { outcome, stillOpen: openCount(path) };
}

describe.runIf(process.platform === "linux")("a container that cannot be unpacked", () => {
  const gzip = gzipSync(IMAGE, { level: 0 });
  const corrupt = Uint8Array.from(gzip);
  corrupt.fill(0xff, 100_000, 200_000);

  it.each<[string, Container, Uint8Array, string]>([
    ["a damaged gzip file", "gzip", corrupt, "w"],
    ["a gzip file for a disk that is full", "gzip", gzip, "r"],
    ["a raw image for a disk that is full", "raw", IMAGE, "r"],
    ["a damaged xz file", "xz", Uint8Array.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, ...IMAGE]), "w"],
    ["a damaged zstd file", "zstd", Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, ...IMAGE]), "w"],
  ])("is closed: %s", async (_, container, bytes, outputFlags) => {
    expect(await unpack(container, bytes, outputFlags)).toEqual({ outcome: "failed", stillOpen: 0 });
  });
});
