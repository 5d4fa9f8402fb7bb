import { describe, expect, it } from "vitest";
import type { Ipv4, Mac } from "../bytes/addresses.ts";
import { NodeDirectory } from "./node-directory.ts";

const mac1 = "dc:a6:32:70:da:b0" as Mac;
const mac2 = "dc:a6:32:70:da:b1" as Mac;
const stranger = "02:00:00:00:00:01" as Mac;
const address = "10.0.0.11" as Ipv4;

function directory() {
  return new NodeDirectory([
    { name: "node1", mac: mac1 },
    { name: "node2", serial: "91cdf03d" },
  ]);
}

describe("NodeDirectory", () => {
  it("knows a node by the MAC of the manifest, whatever serial is claimed", () => {
    expect(directory().identify(mac1, "91cdf03d")?.name).toBe("node1");
  });

  it("remembers the MAC of a node known by serial, for requests without one", () => {
    const nodes = directory();
    expect(nodes.identify(mac2, undefined)).toBeUndefined();
    expect(nodes.identify(mac2, "91cdf03d")?.name).toBe("node2");
    expect(nodes.identify(mac2, undefined)?.name).toBe("node2");
  });

  it("knows after a restart the MAC that it remembered, and forgets it with the serial", () => {
    const memory = new Map<string, Mac>();
    new NodeDirectory([{ name: "node2", serial: "91cdf03d" }], memory).identify(mac2, "91cdf03d");
    const again = new NodeDirectory([{ name: "renamed", serial: "91cdf03d" }], memory);
    again.learnNeighbour(address, mac2);
    expect(again.byAddress(address)?.name).toBe("renamed");
    again.setNodes([{ name: "renamed", serial: "11111111" }]);
    expect(again.byMac(mac2)).toBeUndefined();
  });

  it.each([
    { name: "node3", mac: stranger },
    { name: "node3", serial: "10000003" },
    { name: "node3", mac: mac2, address },
  ])("takes one node more, $name with $mac $serial $address, as it takes them all", (node) => {
    const told: string[][] = [[], []];
    const [one, all] = told.map((changes) => {
      const nodes = directory();
      nodes.identify(mac2, "91cdf03d");
      nodes.learnNeighbour(address, mac2);
      nodes.onOwnerChange = (changed, owner) => changes.push(`${changed} ${owner}`);
      return nodes;
    });
    one!.addNode([...one!.nodes, node], node);
    all!.setNodes([...all!.nodes, node]);
    expect(told[0]).toEqual(told[1]);
    for (const mac of [mac1, mac2, stranger]) expect(one!.byMac(mac)).toEqual(all!.byMac(mac));
    expect(one!.bySerial("10000003")).toEqual(all!.bySerial("10000003"));
    expect(one!.byAddress(address)).toEqual(all!.byAddress(address));
    expect(one!.byName("node3")).toEqual(node);
  });

  it("does not take a machine for a node that the manifest pins to another MAC", () => {
    const nodes = new NodeDirectory([{ name: "node1", mac: mac1, serial: "91cdf03d" }]);
    expect(nodes.identify(mac2, "91cdf03d")).toBeUndefined();
  });

  it("knows a 3B, whose ROM tells no serial, by the part of it in the MAC", () => {
    const nodes = new NodeDirectory([{ name: "old", serial: "b66c4c16" }]);
    expect(nodes.identify("b8:27:eb:6c:4c:16" as Mac, undefined)?.name).toBe("old");
    expect(nodes.identify("b8:27:eb:6c:4c:17" as Mac, undefined)).toBeUndefined();
    expect(nodes.identify("dc:a6:32:6c:4c:16" as Mac, undefined)).toBeUndefined();
  });

  it("lets a MAC outrank a serial prefix, and not the other way round", () => {
    const nodes = directory();
    const [node1, node2] = nodes.nodes;
    nodes.learnAddress(address, node2!, "serial");
    expect(nodes.byAddress(address)?.name).toBe("node2");
    nodes.learnNeighbour(address, mac1);
    nodes.learnAddress(address, node2!, "serial");
    expect(nodes.byAddress(address)?.name).toBe("node1");
    expect(nodes.addressesOf(node1!)).toEqual([address]);
  });

  it("forgets an address that a stranger now holds", () => {
    const nodes = directory();
    nodes.learnNeighbour(address, mac1);
    nodes.learnNeighbour(address, stranger);
    expect(nodes.byAddress(address)).toBeUndefined();
  });

  it("keeps what it learned when the manifest changes, except about nodes that are gone", () => {
    const nodes = directory();
    nodes.identify(mac2, "91cdf03d");
    nodes.learnNeighbour(address, mac2);
    nodes.setNodes([{ name: "node2", serial: "91cdf03d", address: "10.0.0.12" as Ipv4 }]);
    expect(nodes.byAddress(address)?.name).toBe("node2");
    expect(nodes.identify(mac2, undefined)?.name).toBe("node2");
    expect(nodes.identify(mac1, undefined)).toBeUndefined();
    nodes.setNodes([]);
    expect(nodes.byAddress(address)).toBeUndefined();
  });

  it("tells of every address that has another owner than before, and of nothing else", () => {
    const nodes = directory();
    const told: string[] = [];
    nodes.onOwnerChange = (of, owner) => void told.push(`${of} ${owner}`);
    const [node1, node2] = nodes.nodes;
    const steps: [string, () => void, string[]][] = [
      ["learned", () => nodes.learnAddress(address, node1!, "serial"), [`${address} node1`]],
      ["learned again by better evidence", () => nodes.learnNeighbour(address, mac1), []],
      ["claimed by weaker evidence", () => nodes.learnAddress(address, node2!, "serial"), []],
      ["taken over by a MAC", () => nodes.learnAddress(address, node2!, "mac"), [`${address} node2`]],
      ["held by a stranger", () => nodes.learnNeighbour(address, stranger), [`${address} undefined`]],
      ["back", () => nodes.learnNeighbour(address, mac1), [`${address} node1`]],
      ["another manifest with the node", () => nodes.setNodes([{ name: "node1", mac: mac1 }]), []],
      ["a manifest that gives it away", () => nodes.setNodes([{ name: "node3", address }]), [`${address} node3`]],
      ["a manifest without the node", () => nodes.setNodes([]), [`${address} undefined`]],
    ];
    for (const [name, step, expected] of steps) {
      step();
      expect([name, told.splice(0)]).toEqual([name, expected]);
    }
    expect([...nodes.owners()]).toEqual([]);
  });

  it.each([
    ["another MAC", { name: "node1", mac: mac2 }],
    ["a serial number of which no MAC is known", { name: "node2", serial: "11111111" }],
    ["a MAC instead of a serial number", { name: "node2", mac: stranger }],
  ])("forgets the address of a board when its node gets another one, with %s", (_, node) => {
    const nodes = directory();
    nodes.identify(mac2, "91cdf03d");
    nodes.learnNeighbour(address, node.name === "node1" ? mac1 : mac2);
    const told: (string | undefined)[] = [];
    nodes.onOwnerChange = (_changed, owner) => told.push(owner);
    nodes.setNodes([node]);
    expect(nodes.ownerOf(address)).toBeUndefined();
    expect(told).toEqual([undefined]);
  });

  it("keeps the address of a board whose node is named by its MAC from now on, or by its serial number", () => {
    const nodes = directory();
    nodes.identify(mac2, "91cdf03d");
    nodes.learnNeighbour(address, mac2);
    nodes.setNodes([{ name: "node2", mac: mac2 }]);
    expect(nodes.ownerOf(address)).toBe("node2");
    nodes.setNodes([{ name: "node2", serial: "91cdf03d" }]);
    expect(nodes.ownerOf(address)).toBe("node2");
  });

  it("finds who somebody is without taking it for said", () => {
    const nodes = directory();
    expect(nodes.find(mac2, "91cdf03d")?.name).toBe("node2");
    expect(nodes.find(mac2, undefined)).toBeUndefined();
    expect(nodes.find(mac1, "11111111")?.name).toBe("node1");
    expect(nodes.find(stranger, "11111111")).toBeUndefined();
  });
});
