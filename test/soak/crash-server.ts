/**
 * The server that is killed: trees and NFS on a folder and a port of loopback, as the program composes them.
 * Arguments: folder, how much faster than real time its timers run, durability. Prints its port when it is ready.
 */
import { join } from "node:path";
import { parseIpv4 } from "../../src/bytes/addresses.ts";
import { createNfsService, type NfsService } from "../../src/nfs/server.ts";
import type { Random } from "../../src/ports.ts";
import { systemClock } from "../../src/system/clock.ts";
import { openDataFiles } from "../../src/system/data-files.ts";
import { openJournaledStore } from "../../src/system/journal-file.ts";
import { systemRandom } from "../../src/system/random.ts";
import { nodeTcpListeners } from "../../src/system/tcp.ts";
import { type ImageNode, MemoryImage } from "../../src/tree/memory-image.ts";
import type { StorageRules } from "../../src/tree/tree-description.ts";
import { openTreeStore, type TreeStoreOptions } from "../../src/tree/tree-store.ts";

const LARGE = Uint8Array.from({ length: 100_000 }, (_, index) => (index * 31 + (index >> 9)) & 0xff);

/** Files that the node finds, to be changed in part: one that is large, one that lives in a record, one of two names. */
function soakImage(): Record<string, ImageNode> {
  return {
    shared: { directory: {} },
    image: {
      directory: {
        large: LARGE,
        small: "small file of the image\n",
        one: LARGE.slice(0, 9000),
        other: { link: "image/one" },
      },
    },
  };
}

export const EXPORT_PATH = "/tree";

/** The NFS service over a tree of the soak image in this store. A new one for every start of the server. */
export async function openService(
  storage: TreeStoreOptions & { random: Random },
  durability: StorageRules["durability"],
): Promise<NfsService> {
  const trees = await openTreeStore(storage);
  const content = Buffer.alloc(6000, "g");
  const tree = await trees.tree({
    node: "node1",
    kind: "root",
    image: new MemoryImage(soakImage()),
    imageId: "soak",
    rules: { durability },
    generated: [{ kind: "file", path: "/image/generated", content, mode: 0o644, uid: 0, gid: 0 }],
  });
  const { treeId } = tree;
  const volume = trees.volume("node1", "root")!;
  return createNfsService({
    exports: {
      find: (path) => (path === EXPORT_PATH ? { treeId, volume } : { refused: "no-tree", reason: "no such tree" }),
      volume: (id) => (id === treeId ? volume : undefined),
      list: () => [EXPORT_PATH],
    },
    handleKey: new Uint8Array(16).fill(3),
    writeVerifier: storage.random.bytes(8),
    clock: storage.clock,
    observe: (observation) => {
      if (observation.kind === "fault") console.error(observation.procedure, observation.error);
    },
    portMappings: () => [],
  });
}

async function serve(folder: string, speed: number, durability: StorageRules["durability"]): Promise<void> {
  const storage = {
    keyValueStore: await openJournaledStore(join(folder, "trees"), "1"),
    dataFiles: openDataFiles(join(folder, "data")),
    clock: { ...systemClock, after: (delayMs: number, run: () => void) => systemClock.after(delayMs / speed, run) },
    random: systemRandom,
  };
  const service = await openService(storage, durability);
  const listener = await nodeTcpListeners.listen({ address: parseIpv4("127.0.0.1"), port: 0 }, (connection) => {
    service.serveConnection(connection);
  });
  console.log(listener.localPort);
}

if (process.argv[1] === import.meta.filename) {
  await serve(process.argv[2]!, Number(process.argv[3]), process.argv[4] === "async" ? "async" : "sync");
}
