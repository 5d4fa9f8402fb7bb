/** What the tests of this folder share: an image like a small distribution, storage in memory, and trees by path. */
import { fileNameFromText } from "../bytes/file-name.ts";
import type { Clock, DataFiles, KeyValueStore, Random } from "../ports.ts";
import { MemoryImage } from "./memory-image.ts";
import { MemoryDataFiles, MemoryStore } from "./memory-store.ts";
import type { PlacedFile } from "./placed-file.ts";
import type { Tree } from "./tree.ts";
import type { TreeKind } from "./tree-description.ts";
import { openTreeStore, type TreeStore } from "./tree-store.ts";

export const ROOT = { mode: 0o644, uid: 0, gid: 0 };
export const BIG = Uint8Array.from({ length: 50_000 }, (_, index) => (index * 7 + (index >> 8)) & 0xff);

export function imageOfADistribution(): MemoryImage {
  return new MemoryImage({
    bin: { symlink: "usr/bin" },
    etc: { directory: { hostname: "raspberrypi\n", fstab: "/dev/mmcblk0p2 / ext4\n", "os-release": "ID=debian\n" } },
    usr: {
      directory: {
        bin: { directory: { perl: "#!perl", "perl5.36": { link: "usr/bin/perl" } } },
        share: { directory: { doc: { directory: { copyright: "free" } } } },
      },
    },
    var: { directory: { big: BIG, dev: { special: "character" } } },
  });
}

/** The clock stands still, so that tests see what the tree itself does about time; timers run when told to. */
export class Storage {
  keyValueStore: KeyValueStore = new MemoryStore();
  dataFiles: DataFiles = new MemoryDataFiles();
  readonly random: Random = { bytes: (countBytes) => new Uint8Array(countBytes).fill(7) };
  readonly clock: Clock = {
    unixMs: () => this.#unixMs,
    monotonicMs: () => this.#unixMs,
    unixNs: () => BigInt(this.#unixMs) * 1_000_000n,
    after: (delayMs, run) => {
      const timer = { dueMs: this.#unixMs + delayMs, run };
      this.#timers.add(timer);
      return { cancel: () => this.#timers.delete(timer) };
    },
  };
  readonly #timers = new Set<{ dueMs: number; run: () => void }>();
  #unixMs = 1_800_000_000_000;

  advance(ms: number): void {
    this.#unixMs += ms;
    for (const timer of this.#timers) {
      if (timer.dueMs > this.#unixMs) continue;
      this.#timers.delete(timer);
      timer.run();
    }
  }
}

interface Setup {
  storage?: Storage;
  image?: MemoryImage;
  imageId?: string;
  generated?: PlacedFile[];
  node?: string;
  kind?: TreeKind;
}

export async function openTree(setup: Setup = {}) {
  const storage = setup.storage ?? new Storage();
  const image = setup.image ?? imageOfADistribution();
  const trees = await openTreeStore(storage);
  const options = { node: "node1", kind: "root" as TreeKind, imageId: "debian", generated: [], ...setup, image };
  return { trees, image, storage, tree: await trees.tree(options) };
}

/** Lays the tree that `openTree` made over other generated files, as for the next boot. */
export function layGenerated(trees: TreeStore, image: MemoryImage, generated: readonly PlacedFile[]): Promise<Tree> {
  return trees.tree({ node: "node1", kind: "root", imageId: "debian", image, generated });
}

export const name = fileNameFromText;

export function at(tree: Tree, path: string): number {
  const id = tree.lookupPath(path);
  if (id === undefined) throw new Error(`no ${path}`);
  return id;
}

export function textOf(tree: Tree, path: string): string {
  const file = tree.fileByPath(path)!;
  const target = new Uint8Array(file.sizeBytes);
  tree.readSync(file.id, target, 0);
  return Buffer.from(target).toString();
}

export function listing(tree: Tree, path: string): string[] {
  const { entries, complete } = tree.readdir(at(tree, path), 0, 10_000);
  if (!complete) throw new Error(`the listing of ${path} is cut`);
  return entries.map((entry) => entry.name);
}

export async function makeFile(tree: Tree, directory: string, file: string, content: string): Promise<number> {
  const id = await tree.create(at(tree, directory), name(file), { kind: "guarded" }, ROOT);
  await tree.write(id, 0, Buffer.from(content), true);
  return id;
}

export async function status(operation: () => unknown): Promise<string> {
  try {
    await operation();
    return "NFS3_OK";
  } catch (error) {
    return (error as { status: string }).status;
  }
}
