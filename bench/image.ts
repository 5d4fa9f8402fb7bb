/**
 * From a compressed image to the first byte served from it, beside the time its decompression alone takes:
 * what hashing, writing, syncing and opening add must stay small.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { copyFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { performance } from "node:perf_hooks";
import { imageFiles } from "../src/disk/image-files.ts";
import { ImageStore } from "../src/manager/image-store.ts";
import { makeOsImage } from "../test/images/os-image-file.ts";
import type { Measure } from "./instruments/measure.ts";

const ROUNDS = 3;
const SHARED_IMAGE = resolve("../shared/images/debian-12-pi-arm64.img.xz");

export async function run(report: (line: Measure) => void): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "bramble-bench-image-"));
  try {
    const image = existsSync(SHARED_IMAGE) ? SHARED_IMAGE : await makeImage(folder);
    const ours: number[] = [];
    const plain: number[] = [];
    const threaded: number[] = [];
    // In turns, so that a slow minute of the machine is one of both; the fastest round is the least disturbed one.
    for (let round = 0; round < ROUNDS; round += 1) {
      plain.push(await seconds(async () => decompressToNothing(image, "-dc")));
      threaded.push(await seconds(async () => decompressToNothing(image, "-T0", "-dc")));
      ours.push(await seconds(() => readFirstByte(image, join(folder, `state${round}`))));
      rmSync(join(folder, `state${round}`), { recursive: true });
    }
    const line = (name: string, peer: number[]) =>
      report({ name, ours: Math.min(...ours), peer: Math.min(...peer), unit: "s", goal: "<=1.15" });
    line("image.import", plain);
    // The harder peer: with a thread for each core, as we call it too, nothing is left for hashing and writing.
    line("image.import.beside-threads", threaded);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function decompressToNothing(image: string, ...flags: string[]): void {
  execFileSync("sh", ["-c", 'xz "$@" > /dev/null', "sh", ...flags, image]);
}

async function seconds(work: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await work();
  return (performance.now() - startMs) / 1000;
}

async function readFirstByte(path: string, stateDir: string): Promise<void> {
  const store = new ImageStore({ stateDir });
  const opened = store.open(await store.import(path));
  const content = imageFiles(opened.root).readFile("/etc/os-release");
  opened.close();
  if (content === undefined || content.length === 0)
    throw new Error("Cannot measure: /etc/os-release is not in the image");
}

/** About 350 MB of programs, which compress as an operating system does. */
async function makeImage(folder: string): Promise<string> {
  const bootTree = join(folder, "boot");
  const rootTree = join(folder, "root");
  mkdirSync(bootTree);
  mkdirSync(join(rootTree, "etc"), { recursive: true });
  writeFileSync(join(bootTree, "config.txt"), "arm_64bit=1\n");
  writeFileSync(join(rootTree, "etc/os-release"), "ID=bench\n");
  for (const copy of ["a", "b", "c"]) await copyFile(process.execPath, join(rootTree, copy));
  const path = join(folder, "bench.img");
  makeOsImage(path, { bootTree, rootTree, rootMiB: 700 });
  execFileSync("xz", ["-T0", "-1", path]);
  return `${path}.xz`;
}
