import { describe, expect, it } from "vitest";
import { TreeCounters } from "../../nfs/tree-counters.ts";
import { at, name, openTree, ROOT } from "../../tree/tree-fixture.ts";
import { ActivityWatch } from "./activity-watch.ts";

async function setUp() {
  const { tree } = await openTree();
  const counters = new TreeCounters();
  const clock = { nowMs: 0, monotonicMs: () => clock.nowMs };
  const watch = new ActivityWatch(clock);
  const served = [{ node: "node1", kind: "root" as const, treeId: 7, volume: tree, tree }];
  const ask = () => {
    clock.nowMs += 1000;
    return watch.since(
      served,
      () => counters,
      () => tree.usedBytes(),
    );
  };
  /** As a WRITE after a LOOKUP. */
  const write = (fileId: number, bytes: number) => {
    counters.wrote(fileId, bytes, 0);
    counters.answered(7, "NFS3_OK", fileId, 1, 1);
  };
  /** Nothing is done for an hour, from its second minute on nobody asks. */
  const pause = () => {
    watch.rest(() => counters);
    clock.nowMs += 3_600_000;
    watch.begin();
  };
  return { tree, counters, ask, write, watch, pause };
}

const writtenPaths = ({ trees }: ReturnType<Awaited<ReturnType<typeof setUp>>["ask"]>) =>
  trees.flatMap(({ busy }) => busy.written.map(({ path }) => path));

describe("what a tree did is told", () => {
  it("once, and only of trees that did something", async () => {
    const { tree, ask, write } = await setUp();
    expect(ask().trees).toEqual([]);
    write(at(tree, "/etc/hostname"), 100);
    expect(ask().trees).toMatchObject([{ node: "node1", treeId: 7, activity: { operations: 1, writtenBytes: 100 } }]);
    expect(ask().trees).toEqual([]);
  });

  it("with what its node has stored, whenever that has changed", async () => {
    const { tree, ask, write } = await setUp();
    const file = await tree.create(at(tree, "/etc"), name("log"), { kind: "unchecked" }, ROOT);
    for (const bytes of [100, 20_000]) {
      await tree.write(file, 0, new Uint8Array(bytes), false);
      write(file, bytes);
      expect(ask().nodes).toEqual([{ node: "node1", usedBytes: bytes }]);
    }
    write(file, 100);
    expect(ask().nodes).toEqual([]);
  });

  it("with the paths of files by the names that clients looked up, while these are true", async () => {
    const { tree, counters, ask, write } = await setUp();
    const directory = at(tree, "/usr/share/doc");
    const file = await tree.create(directory, name("log"), { kind: "unchecked" }, ROOT);
    write(file, 10);
    expect(writtenPaths(ask())).toEqual([`(file ${file})`]);
    counters.sawName(file, directory, name("log"));
    write(file, 10);
    expect(writtenPaths(ask())).toEqual(["/usr/share/doc/log"]);
    // Another file takes the place in the memory of names: what is still busy keeps its path.
    counters.sawName(file + 256, directory, name("other"));
    write(file, 10);
    expect(writtenPaths(ask())).toEqual(["/usr/share/doc/log"]);
    await tree.rename(directory, name("log"), at(tree, "/etc"), name("log.1"));
    write(file, 10);
    expect(writtenPaths(ask())).toEqual([`(file ${file})`]);
    counters.sawName(file, at(tree, "/etc"), name("log.1"));
    write(file, 10);
    expect(writtenPaths(ask())).toEqual(["/etc/log.1"]);
  });

  it("after a pause as if nothing had been before it", async () => {
    const { tree, ask, write, pause } = await setUp();
    const [before, after] = [at(tree, "/etc/hostname"), at(tree, "/etc")];
    write(before, 1000);
    const [first] = ask().trees;
    pause();
    write(after, 1000);
    const [next] = ask().trees;
    expect(next!.busy.written).toEqual([{ path: "/etc", perS: first!.busy.written[0]!.perS }]);
  });

  it("with directories by where they are, which needs no name", async () => {
    const { tree, counters, ask } = await setUp();
    for (const path of ["/usr/share/doc", "/"]) counters.answered(3, "NFS3_OK", at(tree, path), 4, 1);
    const paths = ask().trees.flatMap(({ busy }) => busy.called.map(({ path }) => path));
    expect(paths.sort()).toEqual(["/", "/usr/share/doc"]);
  });

  it("with a file's number when it is gone", async () => {
    const { tree, counters, ask, write } = await setUp();
    const directory = at(tree, "/etc");
    const file = await tree.create(directory, name("tmp"), { kind: "unchecked" }, ROOT);
    counters.sawName(file, directory, name("tmp"));
    write(file, 10);
    await tree.remove(directory, name("tmp"));
    expect(writtenPaths(ask())).toEqual([`(file ${file})`]);
  });

  it("even if the image is too damaged to look a name up in", async () => {
    const { tree, counters, ask, write } = await setUp();
    const file = at(tree, "/etc/hostname");
    counters.sawName(file, at(tree, "/etc"), name("hostname"));
    tree.nodeLayer.lookup = () => {
      throw new Error("damaged");
    };
    write(file, 10);
    expect(writtenPaths(ask())).toEqual([`(file ${file})`]);
  });
});
