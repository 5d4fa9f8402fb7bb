import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkOpened, type ManifestSurroundings, openManifest } from "./manifest.ts";
import { type CheckedManifest, extendManifest } from "./manifest-addition.ts";
import { addNode, type NodeEntry, placeForNode } from "./manifest-edit.ts";

const SURROUNDINGS: ManifestSurroundings = { fileExists: (path) => path !== "gone.img", imageNames: ["debian"] };
const HEAD = "image: debian\ncluster: a\n";

/** `undefined` when it is wrong. */
function read(text: string, surroundings = SURROUNDINGS): CheckedManifest | undefined {
  const opened = openManifest(text);
  if ("problems" in opened) return undefined;
  const result = checkOpened(opened, surroundings);
  if (!result.ok) return undefined;
  return { text, manifest: result.manifest, data: result.data, nextNode: placeForNode(text, opened.document) };
}

/** What a reader of the edited text would know. */
function addByReading(text: string, entry: NodeEntry): CheckedManifest | undefined {
  const opened = openManifest(text);
  if ("problems" in opened) throw new Error("the text is wrong");
  return placeForNode(text, opened.document) && read(addNode(text, entry));
}

const hex = (length: number) =>
  fc.string({ unit: fc.constantFrom(..."0123456789abcdef"), minLength: length, maxLength: length });
const oneOf = (...values: readonly string[]) => fc.constantFrom(...values);

/** Few enough values that some collide with others, and some are wrong. */
const entries: fc.Arbitrary<NodeEntry> = fc.record(
  {
    name: oneOf("n2", "n3", "n4", "n5", "yes", "null", "1", "1e3", "0x10", "N", "-", "# n", "a: b"),
    mac: fc.oneof(hex(12), oneOf("dc:a6:32:00:00:01", "DC-A6-32-00-00-01", "none")),
    serial: fc.oneof(hex(8), oneOf("1", "00000001", "0x1", "12345678", "1e5", "serial")),
    address: oneOf("10.0.0.1", "10.0.0.9", "10.0.0.10", "10.0.1.7", "10.0.0.255", "10.0.0.2"),
    model: oneOf("4", "5", "3b+", "zero"),
  },
  { requiredKeys: ["name"] },
);

const NETWORKS = ["", "network: { subnet: 10.0.0.0/24, address: 10.0.0.1, router: 10.0.0.2, dhcp: server }\n"];
const LISTS = [
  "",
  "nodes: []\n",
  "nodes: [] # mine\n",
  "nodes:   [ ]\n",
  "nodes:\n  - { name: n1, serial: '1', address: 10.0.0.10 } # the first\n",
  "nodes:\n- { name: n1, serial: '1', address: 10.0.0.10 }",
  "nodes: [{ name: n1, serial: '1', address: 10.0.0.10 }]\n",
  "nodes: [\n  { name: n1, serial: '1', address: 10.0.0.10 },\n  ]\n",
  "nodes:\n- name: n1\n  serial: '1'\n  address: 10.0.0.10\n",
  "nodes:\n    -\n      address: 10.0.0.10\n      name: n1\n      serial: '1'",
  "nodes:\n  - name: n1\n    serial: '1'\n    address: 10.0.0.10 # here\n    # and below\n\n",
  "nodes:\n  - name: n1\n    mac: dc:a6:32:00:00:01\n    address: 10.0.0.10\n    cmdline: |\n      quiet\n\n      splash\n",
  "nodes:\n  - { name: n0, mac: dc-a6-32-00-00-01, address: 10.0.0.9 }\n\n  # a gap\n  - name: n1\n    serial: 1\n    address: 10.0.0.10\n    files:\n      - { path: /etc/motd, content: hi }\n",
  "nodes:\r\n  - { name: n1, serial: '1', address: 10.0.0.10 }\r\n",
];
const TAILS = ["", "# end\n", "\n\n# end", "cmdline: b\n", "  # deeper\ncmdline: b\n", "...\n", "---\n"];

describe("adding to a manifest that is known", () => {
  it("gives the text, and all that is known of it, that reading the edited text gives; and nothing when that is wrong", () => {
    const seen = { added: 0, refused: 0 };
    const texts = fc.tuple(fc.constantFrom(...NETWORKS), fc.constantFrom(...LISTS), fc.constantFrom(...TAILS));
    fc.assert(
      fc.property(texts, fc.array(entries, { minLength: 1, maxLength: 6 }), ([network, list, tail], more) => {
        let known = read(HEAD + network + list + tail);
        for (const entry of more) {
          if (!known) return;
          const expected = addByReading(known.text, entry);
          const extended = extendManifest(known, entry, SURROUNDINGS);
          if (!expected) {
            seen.refused += 1;
            expect(extended).toBeUndefined();
            continue;
          }
          seen.added += 1;
          const { added, index: _, ...now } = extended!;
          expect(now).toEqual(expected);
          // Keys in the same order too: the manager compares what it knows as JSON.
          expect(JSON.stringify(now.manifest)).toBe(JSON.stringify(expected.manifest));
          expect(added).toBe(now.manifest.nodes.at(-1));
          known = extended;
        }
      }),
      { numRuns: 400 },
    );
    expect(seen.added).toBeGreaterThan(100);
    expect(seen.refused).toBeGreaterThan(100);
  });

  it.each([
    ["another's MAC in another form", { name: "n2", mac: "DC-A6-32-00-00-01" }],
    ["another's serial number in another form", { name: "n2", serial: "0x00000007" }],
    ["another's name", { name: "n1", serial: "8" }],
    ["nothing that identifies it", { name: "n2" }],
    ["a key that no node has", { name: "n2", serial: "8", colour: "red" }],
  ])("refuses a node with %s", (_, entry) => {
    const known = read(`${HEAD}nodes:\n  - { name: n1, mac: dc:a6:32:00:00:01 }\n  - { name: n0, serial: "7" }\n`)!;
    expect(extendManifest(known, { name: "n2", serial: "8" }, SURROUNDINGS)?.manifest.nodes).toHaveLength(3);
    expect(extendManifest(known, entry, SURROUNDINGS)).toBeUndefined();
  });

  it("refuses when the file of another node is gone meanwhile", () => {
    const text = `${HEAD}nodes:\n  - { name: n1, serial: "1", image: gone.img }\n`;
    const known = read(text, { ...SURROUNDINGS, fileExists: () => true })!;
    expect(extendManifest(known, { name: "n2", serial: "2" }, SURROUNDINGS)).toBeUndefined();
  });

  it("refuses when the interface has another network meanwhile, which the addresses of others may be outside of", () => {
    const known = read(`${HEAD}nodes:\n  - { name: n1, serial: "1" }\n`)!;
    const first = extendManifest(
      known,
      { name: "n2", serial: "2" },
      { ...SURROUNDINGS, interfaceSubnet: "10.0.0.0/24" },
    );
    const moved = { ...SURROUNDINGS, interfaceSubnet: "10.0.1.0/24" };
    expect(extendManifest(first!, { name: "n3", serial: "3" }, moved)).toBeUndefined();
  });

  it("refuses to make a manifest longer than one may be", () => {
    const room = "# ".padEnd(4 * 1024 * 1024 - 100, "x");
    const known = read(`${room}\n${HEAD}nodes:\n  - { name: n1, serial: "1" }\n`)!;
    const fits = extendManifest(known, { name: "n2", serial: "2" }, SURROUNDINGS);
    expect(fits).toBeDefined();
    expect(extendManifest(fits!, { name: "n3", serial: "3" }, SURROUNDINGS)).toBeUndefined();
  });
});
