import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkOpened, type ManifestResult, openManifest, parseManifest } from "./manifest.ts";
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

  it("writes what was checked: the edited text reads as the manifest with the node added", () => {
    const heads = [
      "image: x\ncluster: a\n",
      "image: x\ncluster: a\nnodes:\n",
      "image: x\ncluster: a\nnodes: []\n# end\n",
    ];
    const lists = [
      "nodes:\n  - { name: n1, serial: '1' } # x\n",
      "nodes: [{ name: n1, serial: '1' }]\n",
      "nodes:\n- name: n1\n  serial: '1'\n",
    ];
    const texts = [
      ...heads,
      ...lists.map((list) => `image: x\ncluster: a\n${list}cmdline: b\n`),
      ...lists.map((list) => `image: x\ncluster: a\n${list}`),
    ];
    const hex = (length: number) =>
      fc.string({ unit: fc.constantFrom(..."0123456789abcdef"), minLength: length, maxLength: length });
    const entry = fc.record(
      {
        name: fc.constantFrom("n2", "n", "yes", "null", "1", "1e3", "0x10"),
        serial: hex(8),
        mac: hex(12),
        model: fc.constantFrom("4", "5", "3b+"),
      },
      { requiredKeys: ["name", "serial"] },
    );
    fc.assert(
      fc.property(fc.constantFrom(...texts), entry, (text, node) => {
        const surroundings = { fileExists: () => true };
        // Places differ: the node has none in the text that it is not in yet.
        const judged = (result: ManifestResult) =>
          result.ok ? result : result.problems.map(({ message }) => message).sort();
        const opened = openManifest(text);
        if ("problems" in opened) throw new Error("the text is wrong");
        expect(judged(parseManifest(addNode(text, node, opened.document), surroundings))).toEqual(
          judged(checkOpened(opened, surroundings, node)),
        );
      }),
    );
  });

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

  it.each([
    ["in braces", '{"cluster":"attic"}\n'],
    ["in braces, with an empty list", '{"cluster":"attic","nodes":[]}\n'],
    ["elsewhere", "orchestrator: { kind: swarm, all: &all [{ name: a }] }\nnodes: *all\n"],
    ["behind the end of the document", "cluster: attic\n...\n"],
  ])("refuses to add where nodes are written %s, rather than lose one", (_, text) => {
    expect(() => addNode(text, { name: "b", serial: "1a" })).toThrow(
      /^Cannot change the manifest: .*; add the node by hand$/,
    );
  });

  it("adds under the dashes, wherever the nodes begin", () => {
    expect(addNode("nodes:\n  -\n      name: a\n", { name: "b", serial: "1a" })).toBe(
      "nodes:\n  -\n      name: a\n  - name: b\n    serial: 1a\n",
    );
  });

  it("refuses text that is not YAML", () => {
    expect(() => addNode("nodes: [", { name: "a" })).toThrow(/^Cannot change the manifest: it is not valid YAML/);
  });
});
