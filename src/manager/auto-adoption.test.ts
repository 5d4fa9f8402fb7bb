import { beforeEach, describe, expect, it } from "vitest";
import { MemoryClock } from "../../test/memory-network.ts";
import { parseMac } from "../bytes/addresses.ts";
import type { SeenPi } from "../cluster/adoption.ts";
import type { BootOccurrence } from "../cluster/event.ts";
import { type Manifest, parseManifest } from "../cluster/manifest.ts";
import type { NodeEntry } from "../cluster/manifest-edit.ts";
import { Turn } from "../order/turns.ts";
import { ADOPTION_RETRY_MS, AutoAdoption } from "./auto-adoption.ts";

const board = (index: number, more: Omit<SeenPi, "mac"> = {}): SeenPi => ({
  mac: parseMac(`dc:a6:32:00:00:${index.toString(16).padStart(2, "0")}`),
  ...more,
});

describe("adopt: auto", () => {
  const clock = new MemoryClock();
  let manifest: Manifest;
  let told: [BootOccurrence, string | undefined][];
  let failure: Error | undefined;
  let kept: string[];
  let adoption: AutoAdoption;

  function useManifest(adopt: string, nodes: readonly object[] = []): void {
    const text = `cluster: attic\nimage: os.img\nadopt: ${adopt}\nnodes: ${JSON.stringify(nodes)}\n`;
    const result = parseManifest(text, { fileExists: () => true });
    if (!result.ok) throw new Error(JSON.stringify(result.problems));
    manifest = result.manifest;
  }

  beforeEach(() => {
    told = [];
    kept = [];
    failure = undefined;
    const turn = new Turn();
    useManifest("auto");
    adoption = new AutoAdoption({
      clock,
      manifest: () => manifest,
      addNode: (choose) =>
        turn.run(async () => {
          const entry = choose(manifest);
          // It takes a while, and others ask meanwhile.
          await new Promise(setImmediate);
          if (failure) throw failure;
          if (entry) manifest = { ...manifest, nodes: [...manifest.nodes, entry as Manifest["nodes"][number]] };
          return entry;
        }),
      isNode: ({ mac, serial }) =>
        manifest.nodes.some((node) => node.mac === mac || (serial !== undefined && node.serial === serial)),
      hasFiles: (name) => kept.includes(name),
      report: (occurrence, node) => told.push([occurrence, node]),
    });
  });

  async function seen(...pis: SeenPi[]): Promise<(NodeEntry | Manifest["nodes"][number])[]> {
    for (const pi of pis) adoption.seen(pi);
    for (let turn = 0; turn < 4 * pis.length; turn++) await new Promise(setImmediate);
    return [...manifest.nodes];
  }

  it("makes every Pi that asks a node, by the pattern, and tells it", async () => {
    useManifest("{ mode: auto, name: rack1-%02d }", [{ name: "rack1-03", serial: "1" }]);
    expect(await seen(board(1, { serial: "91cdf03d", model: "4" }), board(2))).toMatchObject([
      { name: "rack1-03" },
      { name: "rack1-04", serial: "91cdf03d", model: "4" },
      { name: "rack1-05", mac: board(2).mac },
    ]);
    expect(told).toEqual([
      [{ kind: "adopted", mac: board(1).mac, serial: "91cdf03d", model: "4" }, "rack1-04"],
      [{ kind: "adopted", mac: board(2).mac }, "rack1-05"],
    ]);
  });

  it("makes one node of a Pi that asks again before it is served, and of two packets of which one says more", async () => {
    expect(await seen(board(1), board(1), board(1, { serial: "91cdf03d" }))).toMatchObject([{ name: "node1" }]);
    expect(await seen(board(1, { serial: "91cdf03d" }))).toHaveLength(1);
  });

  it("gives nobody the files of a node that was taken out", async () => {
    kept = ["node1", "node2"];
    expect(await seen(board(1))).toMatchObject([{ name: "node3" }]);
  });

  it.each(["ask", "{ name: pi%d }"])("does nothing for adopt: %s", async (adopt) => {
    useManifest(adopt);
    expect(await seen(board(1))).toEqual([]);
    expect(told).toEqual([]);
  });

  it("stops at the number that the manifest allows, and says so once", async () => {
    useManifest("{ mode: auto, max: 2 }");
    expect(await seen(board(1), board(2), board(3))).toHaveLength(2);
    expect(await seen(board(4), board(5))).toHaveLength(2);
    const warnings = told.flatMap(([each]) => (each.kind === "warning" ? [each.message] : []));
    expect(warnings).toEqual(["Cannot adopt dc:a6:32:00:00:03: the manifest has 2 nodes, as many as adopt.max allows"]);
  });

  it("tells what is in the way, and tries again later", async () => {
    failure = new Error("this user may not write to its folder");
    expect(await seen(board(1), board(1))).toEqual([]);
    clock.pass(ADOPTION_RETRY_MS - 1);
    expect(await seen(board(1))).toEqual([]);
    expect(told.map(([each]) => each)).toEqual([
      { kind: "warning", message: "Cannot adopt dc:a6:32:00:00:01: this user may not write to its folder" },
    ]);
    failure = undefined;
    clock.pass(1);
    expect(await seen(board(1))).toMatchObject([{ name: "node1" }]);
  });
});
