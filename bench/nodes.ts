/**
 * What a node costs before it boots: its boot and root tree, added one node after the other to a cluster of 1,000.
 * Compared with the limits that were promised, as nothing else keeps nodes this way.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { systemClock } from "../src/system/clock.ts";
import { openDataFiles } from "../src/system/data-files.ts";
import { openLmdbStore } from "../src/system/lmdb-store.ts";
import { systemRandom } from "../src/system/random.ts";
import { type ImageNode, MemoryImage } from "../src/tree/memory-image.ts";
import type { PlacedFile } from "../src/tree/placed-file.ts";
import { openTreeStore } from "../src/tree/tree-store.ts";
import type { Measure } from "./instruments/measure.ts";

const NODES = 1000;
const ADD_MS_MAX = 50;
const ADD_KIB_MAX = 64;

export async function run(report: (line: Measure) => void): Promise<void> {
  // On a disk: /tmp may be memory, where nothing has to be flushed.
  const folder = mkdtempSync(join(process.cwd(), ".bench-nodes-"));
  try {
    const times = await addNodes(folder);
    const kibPerNode = diskKib(folder) / NODES;
    report({ name: "nodes.add.median", ours: quantile(times, 0.5), peer: ADD_MS_MAX, unit: "ms", goal: "<=1" });
    // Not the slowest: on a shared disk that is somebody else's flush.
    report({ name: "nodes.add.p99", ours: quantile(times, 0.99), peer: ADD_MS_MAX, unit: "ms", goal: "<=1" });
    report({ name: "nodes.add.disk", ours: kibPerNode, peer: ADD_KIB_MAX, unit: "KiB", goal: "<=1" });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Milliseconds for each node. */
async function addNodes(folder: string): Promise<number[]> {
  const keyValueStore = openLmdbStore(join(folder, "meta"));
  const dataFiles = openDataFiles(join(folder, "data"));
  const trees = await openTreeStore({ keyValueStore, dataFiles, clock: systemClock, random: systemRandom });
  const images = { boot: distribution({ caseSensitive: false }), root: distribution({ caseSensitive: true }) };
  const times: number[] = [];
  for (let index = 0; index < NODES; index += 1) {
    const node = `node${index}`;
    const startMs = performance.now();
    const open = (kind: "boot" | "root") => {
      const generated = generatedFiles(node, kind === "boot" ? 3 : 40);
      return trees.tree({ node, kind, image: images[kind], imageId: "distribution", generated });
    };
    await Promise.all([open("boot"), open("root")]);
    times.push(performance.now() - startMs);
  }
  await trees.close();
  await keyValueStore.close();
  return times;
}

function quantile(values: readonly number[], part: number): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length * part)]!;
}

function distribution(options: { caseSensitive: boolean }): MemoryImage {
  const files = (count: number): Record<string, ImageNode> =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`file${index}`, "content"]));
  const etc = { directory: { ...files(150), systemd: { directory: { system: { directory: files(30) } } } } };
  return new MemoryImage(
    { etc, lib: { symlink: "usr/lib" }, usr: { directory: { lib: { directory: files(500) } } } },
    options,
  );
}

/** As many and as large as those of a real node: identity, keys, units. */
function generatedFiles(node: string, count: number): PlacedFile[] {
  return Array.from({ length: count }, (_, index) => ({
    kind: "file",
    path: index % 2 === 0 ? `/etc/file${index}` : `/etc/systemd/system/unit${index}.service`,
    content: Buffer.from(`${node} ${index}\n`.repeat(20)),
    mode: 0o644,
    uid: 0,
    gid: 0,
  }));
}

function diskKib(folder: string): number {
  return Number(execFileSync("du", ["-sk", folder], { encoding: "utf8" }).split("\t")[0]);
}
