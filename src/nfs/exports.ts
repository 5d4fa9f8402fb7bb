/** What the NFS server asks the rest of the program: which trees there are, and which of them a client may see. */
import type { Ipv4 } from "../bytes/addresses.ts";
import type { Volume } from "./volume.ts";

/** Why a path may not be mounted: the client is nobody, the tree is somebody else's, or there is none at that path. */
export type MountRefusal = "unknown-address" | "another-node" | "no-tree";

export interface Exports {
  /** For MNT. `path` is what the client asked for, as text. */
  find(
    path: string,
    client: Ipv4,
  ): { treeId: number; volume: Pick<Volume, "rootId" | "epoch"> } | { refused: MountRefusal; reason: string };
  /**
   * For every call with a file handle, so it must be quick. `undefined`: no such tree (any more), its handles are
   * stale. `"forbidden"`: the tree is not this client's.
   */
  volume(treeId: number, client: Ipv4): Volume | undefined | "forbidden";
  /** Paths this client may mount. A client with none is a stranger; its datagrams are not answered. */
  list(client: Ipv4): string[];
}
