import { describe, expect, it } from "vitest";
import { addNode, removeNode } from "./manifest-edit.ts";

const TEXT = `# The attic
cluster: attic            # do not rename
image: a-very-long-name-of-an-image-file-that-must-not-be-folded/2025-10-01-raspios-trixie-arm64-lite.img.xz

nodes:
  # the one with the display
  - { name: node1, mac: "dc:a6:32:70:da:b0" }   # top shelf
  - { name: node2, serial: "91cdf03d", root: ephemeral }
orchestrator: { kind: swarm, managers: [node1] }
`;

describe("editing a manifest", () => {
  it("adds a node as one more line and touches nothing else", () => {
    const line = "  - { name: node3, mac: dc:a6:32:70:da:b2 }\n";
    expect(addNode(TEXT, { name: "node3", mac: "dc:a6:32:70:da:b2" })).toBe(
      TEXT.replace("orchestrator:", `${line}orchestrator:`),
    );
  });

  it("adds to a list in brackets, and to a last line without an end", () => {
    const added = "{ name: b, serial: 91cdf03d }";
    expect(addNode("nodes: [{ name: a }]\nx: 1\n", { name: "b", serial: "91cdf03d" })).toBe(
      `nodes: [{ name: a }, ${added}]\nx: 1\n`,
    );
    expect(addNode("nodes:\n- { name: a }", { name: "b", serial: "91cdf03d" })).toBe(
      `nodes:\n- { name: a }\n- ${added}\n`,
    );
  });

  it("writes a block where the nodes are written so", () => {
    expect(addNode("nodes:\n  - name: a\n    serial: '1'\n", { name: "b", serial: "10000000" })).toBe(
      "nodes:\n  - name: a\n    serial: '1'\n  - name: b\n    serial: \"10000000\"\n",
    );
  });

  it.each(["cluster: attic\n", "cluster: attic\nnodes: []\n", "cluster: attic\nnodes:\n"])(
    "makes the list in %j",
    (text) => {
      expect(addNode(text, { name: "a", serial: "91cdf03d" })).toBe(
        "cluster: attic\nnodes:\n  - { name: a, serial: 91cdf03d }\n",
      );
    },
  );

  it("removes a node and nothing else", () => {
    const line = '  - { name: node2, serial: "91cdf03d", root: ephemeral }\n';
    expect(removeNode(TEXT, "node2")).toBe(TEXT.replace(line, ""));
    expect(removeNode("nodes:\n  - name: a\n    serial: '1'\n  - name: b\n", "a")).toBe("nodes:\n  - name: b\n");
    expect(removeNode("nodes: [{ name: a }, { name: b }]\n", "a")).toBe("nodes: [{ name: b }]\n");
    expect(removeNode("nodes: [{ name: a }, { name: b }]\n", "b")).toBe("nodes: [{ name: a }]\n");
    expect(removeNode(TEXT, "node9")).toBeUndefined();
  });

  it.each([
    ["cluster: attic\nnodes:\n  - { name: a }\n# end\n", "cluster: attic\nnodes: []\n# end\n"],
    ["nodes: # mine\n  # old\n  - name: a\n    mac: x\n", "nodes: [] # mine\n  # old\n"],
    ["nodes: [{ name: a }]\n", "nodes: []\n"],
  ])("leaves an empty list in %j, which still is a list", (text, expected) => {
    expect(removeNode(text, "a")).toBe(expected);
  });

  it("gives back the same text when what was added is removed", () => {
    for (const text of [TEXT, "nodes:\n  - name: a\n    mac: x\n# end\n", "nodes: [{ name: a }]\n"]) {
      expect(removeNode(addNode(text, { name: "new", serial: "1a" }), "new")).toBe(text);
    }
  });

  it("refuses text that is not YAML", () => {
    expect(() => addNode("nodes: [", { name: "a" })).toThrow(/^Cannot change the manifest: it is not valid YAML/);
  });
});
