/** Tables of the documents that repeat what the code says: they must say the same. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { manifestJsonSchema } from "../../src/cluster/manifest.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(join(ROOT, path), "utf8");

interface Schema {
  properties?: Record<string, Schema>;
  items?: Schema;
}

/** `network.dhcp`, `nodes[].mac`: every key of the manifest that holds a value. Inside `files` and `range` not. */
function manifestKeys({ properties = {} }: Schema, prefix = ""): string[] {
  return Object.entries(properties).flatMap(([key, schema]) => {
    const path = prefix + key;
    if (key === "nodes") return manifestKeys(schema.items ?? {}, `${path}[].`);
    return ["network", "access", "ports"].includes(key) ? manifestKeys(schema, `${path}.`) : [path];
  });
}

/** The code spans in the first column of a table row. A key after the first may leave out what they have in common. */
function keysOfRow(row: string): string[] {
  const [first = "", ...others] = Array.from(row.split("|")[1]!.matchAll(/`([^`]+)`/g), ([, key]) => key!);
  const stem = first.slice(0, first.lastIndexOf(".") + 1);
  return [first, ...others.map((key) => (key.includes(".") ? key : stem + key))];
}

describe("README.md", () => {
  it("has every key of the manifest, and no other", () => {
    const section = read("README.md").split("## The manifest")[1]!.split("\n## ")[0]!;
    const documented = section
      .split("\n")
      .filter((line) => line.startsWith("| `"))
      .flatMap(keysOfRow);
    expect(documented.sort()).toEqual(manifestKeys(manifestJsonSchema() as Schema).sort());
  });
});

describe("docs/ARCHITECTURE.md", () => {
  it("has the ranks that the source rules check", () => {
    const ranks = /const RANKS = \{(.*?)\n\}/s.exec(read("tools/check-source.mjs"))![1]!;
    const checked = Array.from(ranks.matchAll(/"?([\w.]+)"?: ([\d.]+),/g), ([, name, rank]) => `${name} ${rank}`);
    const rows = read("docs/ARCHITECTURE.md").matchAll(/^\| `([\w.]+?)\/?` \| ([\d.]+) \|/gm);
    const documented = Array.from(rows, ([, name, rank]) => `${name} ${rank}`);
    expect(documented.sort()).toEqual(checked.sort());
  });

  it("names no file of src, test or tools that is not there", () => {
    const text = read("docs/ARCHITECTURE.md");
    const named = Array.from(text.matchAll(/`((?:src|test|tools)\/[\w./-]+\.(?:ts|mjs))`/g), ([, path]) => path!);
    expect(named.length).toBeGreaterThan(10);
    for (const path of named) expect(() => read(path), path).not.toThrow();
  });
});
