import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { replaceBoard } from "./manifest-board.ts";

const TEXT = `# The attic
cluster: attic
nodes:
  # the one with the display
  - { name: node1, mac: "dc:a6:32:70:da:b0", model: "4" }   # top shelf
  - { name: node2, serial: "91cdf03d", root: ephemeral }
  - name: node3   # below
    # its own
    mac: dc:a6:32:70:da:b2   # on the label
    serial: "10000003"
    address: 10.0.0.3
`;

describe("a replaced board", () => {
  it.each([
    [
      "node1",
      { mac: "e4:5f:01:00:00:01" },
      `{ name: node1, mac: "dc:a6:32:70:da:b0", model: "4" }`,
      `{ name: node1, mac: e4:5f:01:00:00:01, model: "4" }`,
    ],
    [
      "node1",
      { serial: "10000009", model: "5" },
      `mac: "dc:a6:32:70:da:b0", model: "4" }`,
      `serial: "10000009", model: "5" }`,
    ],
    ["node2", { serial: "5b154510", model: "cm4" }, `node2, serial: "91cdf03d"`, "node2, model: cm4, serial: 5b154510"],
    ["node2", { mac: "e4:5f:01:00:00:01" }, `serial: "91cdf03d"`, "mac: e4:5f:01:00:00:01"],
    [
      "node3",
      { mac: "e4:5f:01:00:00:01" },
      `dc:a6:32:70:da:b2   # on the label\n    serial: "10000003"\n`,
      "e4:5f:01:00:00:01   # on the label\n",
    ],
    [
      "node3",
      { serial: "5b154510", model: "4" },
      `  # below\n    # its own\n    mac: dc:a6:32:70:da:b2   # on the label\n    serial: "10000003"\n`,
      `  # below\n    model: "4"\n    # its own\n    serial: 5b154510\n`,
    ],
  ])("of %s by %j changes only what tells boards apart", (name, board, before, after) => {
    expect(TEXT).toContain(before);
    expect(replaceBoard(TEXT, name, board)).toBe(TEXT.replace(before, after));
  });

  it("may be told by a key that begins its node", () => {
    expect(replaceBoard("nodes:\n- serial: '1' # x\n  name: a\n", "a", { mac: "02:00:00:00:00:01" })).toBe(
      "nodes:\n- mac: 02:00:00:00:00:01 # x\n  name: a\n",
    );
    expect(
      replaceBoard("nodes:\n- mac: 02:00:00:00:00:01 # x\n  serial: '1'\n  name: a\n", "a", { serial: "00000002" }),
    ).toBe('nodes:\n- serial: "00000002"\n  name: a\n');
    expect(
      replaceBoard("nodes: [{ mac: 02:00:00:00:00:01, serial: '1', name: a }]\n", "a", { serial: "00000002" }),
    ).toBe('nodes: [{ serial: "00000002", name: a }]\n');
  });

  it("takes nothing from a manifest that has no such node", () => {
    expect(replaceBoard(TEXT, "node4", { serial: "1" })).toBeUndefined();
    expect(replaceBoard("cluster: attic\n", "node4", { serial: "1" })).toBeUndefined();
  });

  it.each([
    ["*base", "an alias"],
    ["{ name: a, serial: &s '1' }, { name: b, mac: *s }", "a value that another has too"],
  ])("is not written into %s: %s", (nodes) => {
    const text = `base: &base { name: a, serial: '1' }\nnodes: [${nodes}]\n`;
    expect(() => replaceBoard(text, "a", { serial: "2" })).toThrow("Cannot change the manifest: a is written with");
  });

  it("leaves a manifest that reads as before but for the board, however it is written", () => {
    const key = fc.constantFrom("mac: 02:00:00:00:00:01", "serial: '91cdf03d'", 'model: "4"', "address: 10.0.0.3");
    const node = fc.tuple(fc.uniqueArray(key, { minLength: 1 }), fc.nat(4), fc.constantFrom("flow", "block", "dash"));
    const board = fc.record(
      {
        mac: fc.constant("02:00:00:00:00:09"),
        serial: fc.constantFrom("10000000", "00e10000"),
        model: fc.constant("5"),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(node, board, fc.boolean(), ([keys, at, style], { mac, serial, model }, hasComments) => {
        fc.pre(keys.some((each) => /mac|serial/.test(each)) && (mac ?? serial) !== undefined);
        const pairs = [...keys.slice(0, at), "name: a", ...keys.slice(at)];
        const comment = hasComments ? " # said" : "";
        const written =
          style === "flow"
            ? `  - { ${pairs.join(", ")} }${comment}\n`
            : `  -${style === "dash" ? "\n    " : " "}${pairs.map((pair) => pair + comment).join("\n    ")}\n`;
        const text = `nodes:\n  - { name: b, serial: '7' }\n${written}after: 1 # end\n`;
        const given = { ...(mac && { mac }), ...(serial && { serial }), ...(model && { model }) };
        const edited = replaceBoard(text, "a", given)!;
        const { mac: _mac, serial: _serial, ...rest } = parse(text).nodes[1];
        expect(parse(edited)).toEqual({
          nodes: [
            { name: "b", serial: "7" },
            { ...rest, ...given },
          ],
          after: 1,
        });
        expect(edited).toMatch(/# end\n$/);
      }),
      { numRuns: 1000 },
    );
  });
});
