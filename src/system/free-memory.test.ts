import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { returnFreeMemory } from "./free-memory.ts";

const BLOCK_BYTES = 100_000;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

function residentMb(): number {
  const kib = /^RssAnon:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  return (Number(kib) * 1024) / 1e6;
}

const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };

describe("returnFreeMemory", () => {
  test.runIf(header.glibcVersionRuntime)("gives back what was freed between things that are still used", () => {
    const blocks = Array.from({ length: 1000 }, () => Buffer.allocUnsafeSlow(BLOCK_BYTES).fill(1));
    const used = blocks.filter((_, index) => index % 10 === 0);
    blocks.length = 0;
    collect();
    collect();
    const beforeMb = residentMb();
    returnFreeMemory();
    expect(beforeMb - residentMb()).toBeGreaterThan(40);
    expect(used.every((block) => block[BLOCK_BYTES - 1] === 1)).toBe(true);
  });
});
