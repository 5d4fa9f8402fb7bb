import { expect, it } from "vitest";
import { CacheBudget, LayerCache } from "./layer-cache.ts";
import { NodeAccount } from "./node-account.ts";
import { NodeLayer } from "./node-layer.ts";
import { at, listing, makeFile, name, openTree, ROOT } from "./tree-fixture.ts";

it("counts what values gain after they were put in, and keeps the one in use", () => {
  const budget = new CacheBudget(100);
  const [old, busy] = [new LayerCache<string>(budget), new LayerCache<string>(budget)];
  old.set(1, "one", 10);
  busy.set(2, "two", 10);
  busy.grow(2, 80, 90);
  expect([old.get(1), busy.get(2)]).toEqual(["one", "two"]);
  busy.grow(2, 1, 91);
  expect([old.get(1), busy.get(2)]).toEqual([undefined, "two"]);
  busy.set(3, "three", 5);
  busy.grow(2, 20, 111);
  expect([busy.get(2), busy.get(3)]).toEqual(["two", undefined]);
  old.set(1, "one", 10);
  expect([old.get(1), busy.get(2)]).toEqual(["one", undefined]);
});

it("has the room again of what was deleted, or has become lighter", () => {
  const budget = new CacheBudget(100);
  const [one, other] = [new LayerCache<string>(budget), new LayerCache<string>(budget)];
  other.set(1, "kept", 10);
  for (let id = 2; id < 10; id += 1) {
    one.set(id, "gone", 60);
    one.grow(id, -20, 40);
    one.grow(id, 50, 90);
    one.delete(id, 90);
    // There is no second time.
    one.delete(id, 90);
  }
  expect([one.get(9), other.get(1)]).toEqual([undefined, "kept"]);
  one.set(10, "too much soon", 90);
  other.set(11, "too much", 1);
  expect([one.get(10), other.get(1), other.get(11)]).toEqual([undefined, "kept", "too much"]);
});

it("may forget a directory's names while one of them is moved: listings follow all the same", async () => {
  const { tree, image } = await openTree();
  const { treeId, epoch, fsid, generatedLayer, nodeLayer } = tree;
  const shared = { ...nodeLayer.shared, cachedNames: new CacheBudget(4) };
  const layer = new NodeLayer(nodeLayer.layerId, image.lastId + 100_000, nodeLayer, shared, new NodeAccount());
  tree.stack({ treeId, epoch, fsid }, generatedLayer, layer);
  const directories = ["from", "to"].map((directory) => tree.mkdir(tree.rootId, name(directory), ROOT));
  const [from, to] = (await Promise.all(directories)) as [number, number];
  for (const file of ["a", "b", "c"]) await makeFile(tree, "/from", file, "");
  for (const file of ["d", "e", "f"]) await makeFile(tree, "/to", file, "");
  expect(listing(tree, "/from")).toEqual([".", "..", "a", "b", "c"]);
  expect(listing(tree, "/to")).toEqual([".", "..", "d", "e", "f"]);
  await tree.rename(from, name("a"), to, name("moved"));
  expect(listing(tree, "/from")).toEqual([".", "..", "b", "c"]);
  expect(listing(tree, "/to")).toEqual([".", "..", "d", "e", "f", "moved"]);
  await tree.rename(from, name("b"), to, name("d"));
  expect(listing(tree, "/from")).toEqual([".", "..", "c"]);
  expect(listing(tree, "/to")).toEqual([".", "..", "d", "e", "f", "moved"]);
  expect(tree.readdir(to, 0, 9).entries.find(({ name }) => name === "d")!.id).toBe(at(tree, "/to/d"));
});
