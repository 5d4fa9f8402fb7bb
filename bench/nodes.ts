/**
 * What a node costs before it boots. 1,000 of them are added to a running manager one after the other, as `bramble nodes
 * add` does it: the manifest is edited, read again, and the node planned and given its trees. Compared with the limits
 * that were promised, as nothing else keeps nodes this way.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { type Manager, startManager } from "../src/manager/manager.ts";
import { addNodeToManifest, loadManifest } from "../src/manager/manifest-file.ts";
import { writeFileAtomically } from "../src/system/atomic-file.ts";
import type { Measure } from "./instruments/measure.ts";

const NODES = 1000;
const ADD_MS_MAX = 50;
const ADD_KIB_MAX = 64;

export async function run(report: (line: Measure) => void): Promise<void> {
  // On a disk: /tmp may be memory, where nothing has to be flushed.
  mkdirSync(".cache", { recursive: true });
  const folder = mkdtempSync(join(".cache", "bench-nodes-"));
  try {
    const image = execFileSync(process.execPath, ["tools/demo-image.mjs"], { encoding: "utf8" }).trim();
    const path = join(folder, "bramble.yaml");
    writeFileSync(path, manifestOf(image));
    const manager = await startManager({ loaded: await loadManifest(path, join(folder, "state")) });
    const emptyKib = diskKib(folder);
    const times = await addNodes(manager, path);
    await manager.stop();
    for (const [name, values] of Object.entries(times)) {
      const line = (what: string, ours: number) =>
        report({ name: `nodes.${name}.${what}`, ours, peer: ADD_MS_MAX, unit: "ms", goal: "<=1" });
      line("mean", values.reduce((sum, value) => sum + value, 0) / NODES);
      line("p99", values.toSorted((one, other) => one - other)[Math.floor(NODES * 0.99)]!);
      line("slowest", Math.max(...values));
    }
    const kibPerNode = (diskKib(folder) - emptyKib) / NODES;
    report({ name: "nodes.add.disk", ours: kibPerNode, peer: ADD_KIB_MAX, unit: "KiB", goal: "<=1" });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A manager that needs no privilege: on loopback, on any free ports. */
function manifestOf(image: string): string {
  return `cluster: bench
image: ${image}
network:
  address: 127.0.0.1
  dhcp: external
  ports: { tftp: 0, nfs: 0, mount: 0, portmap: 0 }
nodes:
  - { name: first, mac: "02:00:00:00:ff:ff" }
`;
}

/** Milliseconds for each node: of the command, which edits the manifest, and of the manager, until it serves the node. */
async function addNodes(manager: Manager, path: string): Promise<{ edit: number[]; add: number[] }> {
  const times = { edit: [] as number[], add: [] as number[] };
  for (let index = 0; index < NODES; index += 1) {
    const mac = `02:00:00:00:${hexByte(index >> 8)}:${hexByte(index & 0xff)}`;
    const startMs = performance.now();
    const edited = await addNodeToManifest(path, readFileSync(path, "utf8"), { name: `node${index}`, mac });
    writeFileAtomically(path, edited);
    const editedMs = performance.now();
    await manager.reload();
    times.edit.push(editedMs - startMs);
    times.add.push(performance.now() - editedMs);
  }
  return times;
}

function hexByte(value: number): string {
  return value.toString(16).padStart(2, "0");
}

/** Without the image, whose blocks the file system may give it only some seconds later. */
function diskKib(folder: string): number {
  return Number(execFileSync("du", ["-sk", "--exclude=images", folder], { encoding: "utf8" }).split("\t")[0]);
}
