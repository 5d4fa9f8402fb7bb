import { describe, expect, it } from "vitest";
import { parseManifest } from "./manifest.ts";
import { managersOf } from "./orchestrator-managers.ts";

function manifestOf(nodes: readonly string[], lines: string) {
  const list = nodes.map((node, index) => `  - { mac: "dc:a6:32:00:00:0${index}", ${node} }\n`).join("");
  return parseManifest(`cluster: attic\nimage: pi.img\n${lines}\nnodes:\n${list}`, { fileExists: () => true });
}

const SWARM = "orchestrator: { kind: swarm }";
const NODES = ["name: a", "name: b", "name: c", "name: d"];

describe("managers are", () => {
  it.each<[string, readonly string[], string, readonly string[]]>([
    ["nobody without an orchestrator", NODES, "", []],
    ["those of the manifest", NODES, "orchestrator: { kind: swarm, managers: [d, b] }", ["d", "b"]],
    ["the first of fewer than three nodes", NODES.slice(0, 2), SWARM, ["a"]],
    ["the first three of more", NODES, SWARM, ["a", "b", "c"]],
    ["none of those that forget", ["name: a, root: ram", "name: b", "name: c"], SWARM, ["b"]],
    [
      "none of those whose containers are in memory",
      ["name: a, storage: { kind: memory, size: 64MiB }", ...NODES.slice(1)],
      SWARM,
      ["b", "c", "d"].slice(0, 3),
    ],
  ])("%s", (_, nodes, lines, expected) => {
    const result = manifestOf(nodes, lines);
    if (!result.ok) throw new Error(JSON.stringify(result.problems));
    expect(managersOf(result.manifest)).toEqual(expected);
  });
});

describe("a manifest is refused", () => {
  it.each<[string, readonly string[], string, string]>([
    [
      "when a manager forgets the cluster at each boot",
      ["name: a", "name: b, root: ephemeral"],
      "orchestrator: { kind: swarm, managers: [a, b] }",
      "b would manage the cluster, and forget it when it boots again",
    ],
    [
      "when nobody can manage the cluster",
      ["name: a", "name: b"],
      "root: ephemeral\norchestrator: { kind: swarm }",
      "No node can manage the cluster: each forgets it when it boots again",
    ],
  ])("%s", (_, nodes, lines, expected) => {
    const result = manifestOf(nodes, lines);
    expect(result.ok ? [] : result.problems.map(({ message }) => message)).toEqual([expect.stringContaining(expected)]);
  });
});
