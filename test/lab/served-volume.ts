/** A volume served on loopback, for a client that mounts /tree. */
import { parseIpv4 } from "../../src/bytes/addresses.ts";
import type { NfsObservation } from "../../src/nfs/observation.ts";
import { createNfsService, type NfsService } from "../../src/nfs/server.ts";
import type { Volume } from "../../src/nfs/volume.ts";
import type { TcpListener } from "../../src/ports.ts";
import { systemClock } from "../../src/system/clock.ts";
import { nodeTcpListeners } from "../../src/system/tcp.ts";

/** Of the volume in the service's counters. */
export const SERVED_TREE_ID = 7;

export interface ServedVolume {
  service: NfsService;
  listener: TcpListener;
}

/** `port` 0 for any. `start` counts the starts of one server: clients send again what they have not committed. */
export async function serveVolume(
  volume: Volume,
  { port, start, observe }: { port: number; start: number; observe: (observation: NfsObservation) => void },
): Promise<ServedVolume> {
  const service = createNfsService({
    exports: {
      find: (path) =>
        path === "/tree" ? { treeId: SERVED_TREE_ID, volume } : { refused: "no-tree", reason: "no such tree" },
      volume: (treeId) => (treeId === SERVED_TREE_ID ? volume : undefined),
      list: () => ["/tree"],
    },
    clock: systemClock,
    handleKey: new Uint8Array(16).fill(7),
    writeVerifier: new Uint8Array(8).fill(start),
    observe,
    portMappings: () => [],
  });
  const listener = await nodeTcpListeners.listen({ address: parseIpv4("127.0.0.1"), port }, (connection) =>
    service.serveConnection(connection),
  );
  return { service, listener };
}
