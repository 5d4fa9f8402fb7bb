/**
 * Which trees the NFS service shows to whom: a client sees the trees of the node that owns its address, and no
 * others, whatever path or handle it names. Paths are `/bramble/<node>/<boot|root>`.
 */
import type { Ipv4 } from "../bytes/addresses.ts";
import type { TreeKind } from "../cluster/generated-file.ts";
import type { Exports } from "../nfs/exports.ts";
import type { NfsObservation } from "../nfs/observation.ts";
import type { Volume } from "../nfs/volume.ts";
import type { NodeDirectory } from "./node-directory.ts";
import type { Report } from "./report.ts";

/** Whose an address is at this moment: the name of a node. */
export interface AddressOwners {
  ownerOf(address: Ipv4): string | undefined;
}

/** A tree as MOUNT needs it. */
export interface ExportedTree {
  node: string;
  kind: TreeKind;
  treeId: number;
  volume: Pick<Volume, "rootId" | "epoch">;
}

export interface ServedTree extends ExportedTree {
  volume: Volume;
}

/** Trees by id. Changes when the manifest does. */
export type TreesById<Tree extends ExportedTree = ExportedTree> = ReadonlyMap<number, Tree>;

const EXPORT_PATH = /^\/bramble\/([^/]+)\/(boot|root)$/;

export function exportPath(node: string, kind: TreeKind): string {
  return `/bramble/${node}/${kind}`;
}

/** What MOUNT tells and shows. */
export function mountExports(owners: AddressOwners, trees: TreesById): Pick<Exports, "find" | "list"> {
  const treesOf = (node: string) => [...trees.values()].filter((tree) => tree.node === node);
  return {
    find(path, client) {
      const owner = owners.ownerOf(client);
      if (owner === undefined) {
        return { refused: "unknown-address", reason: `${client} is the address of no node in the manifest` };
      }
      const [, node, kind] = EXPORT_PATH.exec(path.replace(/\/+$/, "")) ?? [];
      // The same whether there is such a node or not.
      if (node !== undefined && node !== owner) {
        return { refused: "another-node", reason: `${client} is ${owner}, and this tree is ${node}'s` };
      }
      const found = treesOf(owner).find((tree) => tree.node === node && tree.kind === kind);
      return (
        found ?? { refused: "no-tree", reason: `there is no such tree; ${owner} has ${exportPath(owner, "root")}` }
      );
    },
    list(client) {
      const owner = owners.ownerOf(client);
      return owner === undefined ? [] : treesOf(owner).map((tree) => exportPath(tree.node, tree.kind));
    },
  };
}

/**
 * `others` is what is answered to the handle of a tree that is not here: stale where all trees are, and forbidden where
 * it may be served elsewhere.
 */
export function nodeExports(
  owners: AddressOwners,
  trees: TreesById<ServedTree>,
  others: undefined | "forbidden" = undefined,
): Exports {
  return {
    ...mountExports(owners, trees),
    volume(treeId, client) {
      const tree = trees.get(treeId);
      if (!tree) return others;
      return owners.ownerOf(client) === tree.node ? tree.volume : "forbidden";
    },
  };
}

/** Turns what the NFS service saw into events. */
export function observeNfs(
  directory: NodeDirectory,
  trees: TreesById,
  report: Report,
): (observation: NfsObservation) => void {
  return (observation) => {
    const { client } = observation;
    const node = directory.byAddress(client)?.name;
    switch (observation.kind) {
      case "mount": {
        const tree = trees.get(observation.treeId);
        if (tree) report({ kind: "mount", tree: tree.kind, client }, node);
        break;
      }
      case "unmount":
        break;
      case "mount-refused": {
        const { path, cause, reason } = observation;
        report({ kind: "mount-refused", path, client, cause, reason }, node);
        break;
      }
      case "wrong-version": {
        const { program, version } = observation;
        report({ kind: "nfs-version-refused", client, program, version }, node);
        break;
      }
      case "forbidden-handle": {
        const owner = trees.get(observation.treeId)?.node ?? "nobody";
        report(
          {
            kind: "warning",
            message: `${client} used a file handle of a tree that is ${owner}'s; it was refused`,
            about: "forbidden-handle",
          },
          node,
        );
        break;
      }
      case "connection-ended":
        if (node) {
          const message = `A connection of ${client} was ended: ${observation.reason}`;
          report({ kind: "warning", message, about: "connection-ended" }, node);
        }
        break;
      case "bad-call":
        report(
          {
            kind: "warning",
            message: `An NFS call from ${client} was damaged: ${observation.reason}`,
            about: observation.cause ?? "nfs-call",
          },
          node,
        );
        break;
      case "fault": {
        const why = observation.error instanceof Error ? observation.error.message : String(observation.error);
        const message = `${observation.procedure} failed on the manager's side: ${why}`;
        report({ kind: "warning", message, about: "volume-fault" }, node);
        break;
      }
    }
  };
}
