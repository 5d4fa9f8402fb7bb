import { describe, expect, it } from "vitest";
import { formatProblem, parseManifest } from "./manifest.ts";

const MIB = 1024 * 1024;

function parse(line: string, nodeLine = "") {
  const node = `{ name: a, mac: dc:a6:32:70:da:b0, ${nodeLine} }`;
  return parseManifest(`cluster: attic\nimage: pi.img\n${line}\nnodes: [${node}]\n`, { fileExists: () => true });
}

describe("logs and swap in the manifest", () => {
  it.each<[string, string, object]>([
    ["logs", "{ keep: memory }", { keep: "memory", sizeBytes: 64 * MIB, flushS: 3600 }],
    ["logs", "{ keep: memory, size: 16MiB, flush: 5m }", { keep: "memory", sizeBytes: 16 * MIB, flushS: 300 }],
    ["logs", "{ keep: none, size: 1GiB }", { keep: "none", sizeBytes: 1024 * MIB }],
    ["logs", "{ keep: disk }", { keep: "disk" }],
    ["logs", "{ keep: disk, size: 200MiB }", { keep: "disk", sizeBytes: 200 * MIB }],
    ["swap", "{ kind: zram }", { kind: "zram", size: { percent: 50 } }],
    ["swap", "{ kind: zram, size: 200% }", { kind: "zram", size: { percent: 200 } }],
    ["swap", "{ kind: zram, size: 512MiB }", { kind: "zram", size: { bytes: 512 * MIB } }],
    ["swap", "{ kind: none }", { kind: "none" }],
  ])("%s: %s is understood, for all nodes and for one", (key, text, expected) => {
    const all = parse(`${key}: ${text}`);
    expect(all.ok && all.manifest).toMatchObject({ [key]: expected });
    const one = parse("", `${key}: ${text}`);
    expect(one.ok && one.manifest.nodes[0]).toMatchObject({ [key]: expected });
    expect(one.ok && one.manifest).not.toHaveProperty(key);
  });

  const SWAP_SIZE = "Expected a part of the memory, as 50%, or a size, as 512MiB; at most 200%, at least 16MiB";
  it.each([
    ["logs: memory", "3:7: logs: Expected a map of keys and values"],
    ["logs: { keep: ram }", "3:15: logs.keep: Expected one of disk, memory, none"],
    ["logs: { size: 64MiB }", "3:7: logs.keep: Expected one of disk, memory, none"],
    ["logs: { keep: memory, size: 8MiB }", "3:29: logs.size: Expected 16MiB to 1GiB"],
    ["logs: { keep: memory, size: 2GiB }", "3:29: logs.size: Expected 16MiB to 1GiB"],
    ["logs: { keep: memory, flush: 59s }", "3:30: logs.flush: Expected at least 60s"],
    ["logs: { keep: memory, flush: hourly }", "3:30: logs.flush: Expected a time with its unit, as 12h, 30m or 7d"],
    ["logs: { keep: none, flush: 1h }", "3:7: logs: Expected flush only with keep: memory; other logs are not flushed"],
    ["swap: { kind: file }", "3:15: swap.kind: Expected one of zram, none"],
    ["swap: { kind: zram, size: 201% }", `3:27: swap.size: ${SWAP_SIZE}`],
    ["swap: { kind: zram, size: 0% }", `3:27: swap.size: ${SWAP_SIZE}`],
    ["swap: { kind: zram, size: 1MiB }", `3:27: swap.size: ${SWAP_SIZE}`],
    ["swap: { kind: none, size: 50% }", "3:7: swap: Expected no size with kind none"],
  ])("%s is refused", (line, expected) => {
    const result = parse(line);
    const problems = result.ok ? [] : result.problems;
    expect(problems.map((problem) => formatProblem("", problem).replace(/^:/, ""))).toEqual([expected]);
  });
});
