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

export interface ServedTree {
  node: string;
  kind: TreeKind;
  treeId: number;
  volume: Volume;
}

/** The trees being served, by id. Changes when the manifest does. */
export type ServedTrees = ReadonlyMap<number, ServedTree>;

export function exportPath(node: string, kind: TreeKind): string {
  return `/bramble/${node}/${kind}`;
}

export function nodeExports(directory: NodeDirectory, trees: ServedTrees): Exports {
  const visibleTo = (client: Ipv4): ServedTree[] => {
    const owner = directory.byAddress(client)?.name;
    return owner === undefined ? [] : [...trees.values()].filter((tree) => tree.node === owner);
  };
  return {
    find(path, client) {
      const owner = directory.byAddress(client);
      if (!owner) return { refused: "ACCES", reason: `${client} is the address of no node in the manifest` };
      const wanted = path.replace(/\/+$/, "");
      for (const tree of trees.values()) {
        if (exportPath(tree.node, tree.kind) !== wanted) continue;
        if (tree.node === owner.name) return tree;
        return { refused: "ACCES", reason: `${client} is ${owner.name}, and this tree is ${tree.node}'s` };
      }
      return { refused: "NOENT", reason: `there is no such tree; ${owner.name} has ${exportPath(owner.name, "root")}` };
    },
    volume(treeId, client) {
      const tree = trees.get(treeId);
      if (!tree) return undefined;
      return directory.byAddress(client)?.name === tree.node ? tree.volume : "forbidden";
    },
    list: (client) => visibleTo(client).map((tree) => exportPath(tree.node, tree.kind)),
  };
}

/** Turns what the NFS service saw into events. */
export function observeNfs(
  directory: NodeDirectory,
  trees: ServedTrees,
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
      case "mount-refused":
        report({ kind: "mount-refused", path: observation.path, client, reason: observation.reason }, node);
        break;
      case "forbidden-handle": {
        const owner = trees.get(observation.treeId)?.node ?? "nobody";
        report(
          { kind: "warning", message: `${client} used a file handle of a tree that is ${owner}'s; it was refused` },
          node,
        );
        break;
      }
      case "bad-call":
        report({ kind: "warning", message: `An NFS call from ${client} was damaged: ${observation.reason}` }, node);
        break;
      case "fault": {
        const why = observation.error instanceof Error ? observation.error.message : String(observation.error);
        report({ kind: "warning", message: `${observation.procedure} failed on the manager's side: ${why}` }, node);
        break;
      }
    }
  };
}
