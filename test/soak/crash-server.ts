/**
 * The server that is killed: trees and NFS on a folder and a port of loopback, as the program composes them.
 * Arguments: folder, then how much faster than real time its timers run. Prints its port when it is ready.
 */
import { join } from "node:path";
import { parseIpv4 } from "../../src/bytes/addresses.ts";
import { createNfsService } from "../../src/nfs/server.ts";
import type { Clock } from "../../src/ports.ts";
import { systemClock } from "../../src/system/clock.ts";
import { openDataFiles } from "../../src/system/data-files.ts";
import { openLmdbStore } from "../../src/system/lmdb-store.ts";
import { systemRandom } from "../../src/system/random.ts";
import { nodeTcpListeners } from "../../src/system/tcp.ts";
import { type ImageNode, MemoryImage } from "../../src/tree/memory-image.ts";
import { openTreeStore } from "../../src/tree/tree-store.ts";

/** Files that the node finds, to be changed in part: one that is large, one that lives in a record, one of two names. */
export function soakImage(): Record<string, ImageNode> {
  const large = Uint8Array.from({ length: 100_000 }, (_, index) => (index * 31 + (index >> 9)) & 0xff);
  return {
    shared: { directory: {} },
    image: {
      directory: { large, small: "small file of the image\n", one: large.slice(0, 9000), other: { link: "image/one" } },
    },
  };
}

export const EXPORT_PATH = "/tree";

async function serve(folder: string, speed: number): Promise<void> {
  const clock: Clock = { ...systemClock, after: (delayMs, run) => systemClock.after(delayMs / speed, run) };
  const trees = await openTreeStore({
    keyValueStore: openLmdbStore(join(folder, "trees")),
    dataFiles: openDataFiles(join(folder, "data")),
    clock,
    random: systemRandom,
  });
  const tree = await trees.tree({
    node: "node1",
    kind: "root",
    image: new MemoryImage(soakImage()),
    imageId: "soak",
    generated: [
      { kind: "file", path: "/image/generated", content: Buffer.alloc(6000, "g"), mode: 0o644, uid: 0, gid: 0 },
    ],
  });
  const { treeId } = tree;
  const volume = trees.volume("node1", "root")!;
  const service = createNfsService({
    exports: {
      find: (path) => (path === EXPORT_PATH ? { treeId, volume } : { refused: "NOENT", reason: "no such tree" }),
      volume: (id) => (id === treeId ? volume : undefined),
      list: () => [EXPORT_PATH],
    },
    handleKey: new Uint8Array(16).fill(3),
    writeVerifier: systemRandom.bytes(8),
    clock,
    observe: (observation) => {
      if (observation.kind === "fault") console.error(observation.procedure, observation.error);
    },
    portMappings: () => [],
  });
  const listener = await nodeTcpListeners.listen({ address: parseIpv4("127.0.0.1"), port: 0 }, (connection) => {
    service.serveConnection(connection);
  });
  console.log(listener.localPort);
}

if (process.argv[1] === import.meta.filename) await serve(process.argv[2]!, Number(process.argv[3]));
