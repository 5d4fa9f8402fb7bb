import { describe, expect, it } from "vitest";
import type { Ipv4, Mac } from "../bytes/addresses.ts";
import type { Volume } from "../nfs/volume.ts";
import { NodeDirectory } from "./node-directory.ts";
import { nodeExports, type ServedTree } from "./node-exports.ts";

const address1 = "10.0.0.11" as Ipv4;
const address2 = "10.0.0.12" as Ipv4;
const strangerAddress = "10.0.0.99" as Ipv4;

function exportsOfTwoNodes(others?: "forbidden") {
  const directory = new NodeDirectory([
    { name: "node1", mac: "dc:a6:32:00:00:01" as Mac, address: address1 },
    { name: "node2", mac: "dc:a6:32:00:00:02" as Mac, address: address2 },
  ]);
  const tree = (treeId: number, node: string, kind: "boot" | "root"): [number, ServedTree] => [
    treeId,
    { node, kind, treeId, volume: { fsid: BigInt(treeId) } as Volume },
  ];
  return nodeExports(
    directory,
    new Map([tree(1, "node1", "root"), tree(2, "node1", "boot"), tree(3, "node2", "root")]),
    others,
  );
}

describe("nodeExports", () => {
  it("lets a node mount its own trees, with or without a final slash", () => {
    expect(exportsOfTwoNodes().find("/bramble/node1/root", address1)).toMatchObject({ treeId: 1 });
    expect(exportsOfTwoNodes().find("/bramble/node1/boot/", address1)).toMatchObject({ treeId: 2 });
  });

  it.each([
    ["another node's path", "/bramble/node2/root", address1, "another-node"],
    ["the path of a node that is not there, as that of one that is", "/bramble/node7/root", address1, "another-node"],
    ["a stranger", "/bramble/node1/root", strangerAddress, "unknown-address"],
    ["a path that is not there", "/srv/nfs", address1, "no-tree"],
  ] as const)("refuses %s", (_, path, client, refused) => {
    expect(exportsOfTwoNodes().find(path, client)).toMatchObject({ refused });
  });

  it("gives nothing for another node's handle, and calls a handle of no tree stale", () => {
    expect(exportsOfTwoNodes().volume(3, address1)).toBe("forbidden");
    expect(exportsOfTwoNodes().volume(3, strangerAddress)).toBe("forbidden");
    expect(exportsOfTwoNodes().volume(9, address1)).toBeUndefined();
    expect(exportsOfTwoNodes().volume(1, address1)).toMatchObject({ fsid: 1n });
    expect(exportsOfTwoNodes("forbidden").volume(9, address1)).toBe("forbidden");
  });

  it("shows a stranger an empty list", () => {
    expect(exportsOfTwoNodes().list(strangerAddress)).toEqual([]);
    expect(exportsOfTwoNodes().list(address1)).toEqual(["/bramble/node1/root", "/bramble/node1/boot"]);
  });
});
