import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import type { NodeEntry } from "../cluster/manifest-edit.ts";
import { LiveManifest } from "./live-manifest.ts";
import { addNodeToFile, removeNodeFromFile, replaceBoardInFile } from "./manifest-editing.ts";
import { type LoadedManifest, loadManifest } from "./manifest-file.ts";

const TEXT = `# the attic
cluster: attic
network: { address: 127.0.0.1 }
image: os.img
nodes:
  - { name: node0, serial: "00001000" } # the first
`;

let folder: string;
let path: string;
/** What the cluster runs. */
let taken: LoadedManifest | undefined;
let isServing: boolean;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bramble-live-manifest-"));
  path = join(folder, "bramble.yaml");
  writeFileSync(join(folder, "os.img"), "");
  taken = undefined;
  isServing = true;
});

afterEach(() => rmSync(folder, { recursive: true }));

const soon = () => new Promise((resolve) => setImmediate(resolve));

async function openLive(text = TEXT): Promise<LiveManifest> {
  writeFileSync(path, text);
  return new LiveManifest(await loadManifest(path, join(folder, "state")), {
    isServing: () => isServing,
    prepareNode: async () => {},
    // Nodes are planned and served meanwhile.
    async take(loaded) {
      await soon();
      taken = loaded;
    },
  });
}

const entryOf = (index: number): NodeEntry => ({ name: `node${index}`, serial: String(1000 + index).padStart(8, "0") });
const namesInFile = () =>
  (parse(readFileSync(path, "utf8")) as { nodes: { name: string }[] }).nodes.map(({ name }) => name);
const namesTaken = () => taken!.manifest.nodes.map(({ name }) => name);

describe("changes of a manifest that are asked for at the same time", () => {
  const change = fc.record({
    what: fc.constantFrom("add" as const, "adopt" as const, "remove" as const, "replace" as const, "look" as const),
    index: fc.integer({ min: 0, max: 5 }),
    waits: fc.integer({ min: 0, max: 3 }),
  });

  it("are made one after the other: none is lost, whoever asks", () =>
    fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 2, maxLength: 12 }), async (changes) => {
        const live = await openLive();
        const expected = new Map([["node0", "00001000"]]);
        const done: Promise<unknown>[] = [];
        for (const [at, { what, index, waits }] of changes.entries()) {
          const entry = entryOf(index);
          const { name } = entry;
          const isThere = expected.has(name);
          const serial = String(2000 + at).padStart(8, "0");
          if (what === "add") {
            const added = live.addNode(entry, path);
            done.push(isThere ? expect(added).rejects.toMatchObject({ statusCode: 422 }) : added);
          } else if (what === "adopt") {
            done.push(live.addChosen(({ nodes }) => (nodes.some((node) => node.name === name) ? undefined : entry)));
          } else if (what === "look") done.push(live.reloadIfChanged());
          else {
            const changed = what === "remove" ? live.removeNode(name, path) : live.replaceBoard(name, { serial }, path);
            done.push(isThere ? changed : expect(changed).rejects.toMatchObject({ statusCode: 404 }));
          }
          if (what === "remove") expected.delete(name);
          else if (what === "replace" && isThere) expected.set(name, serial);
          else if ((what === "add" || what === "adopt") && !isThere) expected.set(name, entry.serial!);
          for (let turn = 0; turn < waits; turn += 1) await soon();
        }
        await Promise.all(done);
        await live.reload();
        expect(new Map(taken!.manifest.nodes.map(({ name, serial }) => [name, serial]))).toEqual(expected);
        expect(namesInFile()).toEqual([...namesTaken()]);
      }),
      { numRuns: 60 },
    ));

  it("keep what the file says beside them, and stand in it and in the cluster when they are answered", async () => {
    const live = await openLive();
    await Promise.all([
      live.addChosen(() => entryOf(1)),
      live.removeNode("node0", path),
      live.addChosen(() => entryOf(2)),
    ]);
    expect(namesTaken()).toEqual(["node1", "node2"]);
    expect(readFileSync(path, "utf8")).toBe(
      `${TEXT.slice(0, TEXT.indexOf("  - {"))}  - { name: node1, serial: "00001001" }\n  - { name: node2, serial: "00001002" }\n`,
    );
  });
});

it("nothing is lost where commands edit the file themselves, as those do that may not ask the manager", async () => {
  const live = await openLive();
  const place = { path, stateFolder: join(folder, "state") };
  for (const index of [1, 2, 3]) await live.addNode(entryOf(index), path);
  await Promise.all([
    ...[11, 12, 13, 14].map((index) => live.addChosen(() => entryOf(index))),
    ...[1, 2].map((index) => removeNodeFromFile(place, entryOf(index).name)),
    ...[21, 22].map((index) => addNodeToFile(place, entryOf(index))),
    replaceBoardInFile(place, "node3", { serial: "00000077" }),
  ]);
  await live.reloadIfChanged();
  const expected = ["node0", "node3", ...[11, 12, 13, 14, 21, 22].map((index) => `node${index}`)];
  expect(namesInFile().sort()).toEqual(expected.sort());
  expect([...namesTaken()].sort()).toEqual(expected);
  expect(taken!.manifest.nodes.find(({ name }) => name === "node3")).toMatchObject({ serial: "00000077" });
});

describe("a manager that is still starting", () => {
  it("changes the file alone, and takes it up when it serves", async () => {
    const live = await openLive();
    isServing = false;
    expect(await live.addNode(entryOf(1), path)).toBe(false);
    expect(await live.replaceBoard("node0", { serial: "00000077" }, path)).toBe(false);
    expect(await live.addNode(entryOf(2), path)).toBe(false);
    expect(await live.removeNode("node1", path)).toBe(false);
    expect(namesInFile()).toEqual(["node0", "node2"]);
    expect(taken).toBeUndefined();
    isServing = true;
    await live.reloadIfChanged();
    expect(namesTaken()).toEqual(["node0", "node2"]);
    expect(taken!.manifest.nodes[0]).toMatchObject({ serial: "00000077" });
  });

  it("loses nothing of a change that it is at when it begins to serve", async () => {
    const live = await openLive();
    isServing = false;
    const removed = live.removeNode("node0", path);
    await soon();
    isServing = true;
    const others = [live.reloadIfChanged(), live.addChosen(() => entryOf(1))];
    expect(await removed).toBe(false);
    await Promise.all(others);
    expect(namesInFile()).toEqual(["node1"]);
    expect(namesTaken()).toEqual(["node1"]);
  });
});

it("refuses changes of another manifest than its own", async () => {
  const live = await openLive();
  const other = join(folder, "other.yaml");
  writeFileSync(other, TEXT);
  await expect(live.removeNode("node0", other)).rejects.toMatchObject({
    statusCode: 409,
    message: `Cannot remove node0 from ${other}: the manager serves ${path}`,
  });
  expect(readFileSync(other, "utf8")).toBe(TEXT);
});
