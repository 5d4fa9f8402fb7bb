import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { releaseProgramPages } from "./program-pages.ts";

/** Pages of files that this process has mapped. */
function mappedMb(): number {
  const kib = /^RssFile:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  return (Number(kib) * 1024) / 1e6;
}

describe("releaseProgramPages", () => {
  test("lets go of pages of the program, which runs on with those that it needs again", () => {
    const beforeMb = mappedMb();
    releaseProgramPages();
    expect(beforeMb - mappedMb()).toBeGreaterThan(10);
    expect(createHash("sha256").update("abc").digest("hex")).toMatch(/^ba7816bf/);
    expect(new Date(0).toLocaleDateString("de", { timeZone: "UTC", month: "long" })).toBe("Januar");
  });
});
