import { describe, expect, it } from "vitest";
import { DEBIAN, planImage } from "../../test/plan-images.ts";
import type { Ipv4 } from "../bytes/addresses.ts";
import type { BootOccurrence } from "../cluster/event.ts";
import { parseManifest } from "../cluster/manifest.ts";
import { createNodeSecrets } from "../cluster/ssh-keys.ts";
import type { OsImage } from "../disk/os-image.ts";
import { systemRandom } from "../system/random.ts";
import { MemoryImage } from "../tree/memory-image.ts";
import type { Tree } from "../tree/tree.ts";
import { openTreeCatalog } from "../tree/tree-catalog.ts";
import { makeFile, Storage, textOf } from "../tree/tree-fixture.ts";
import { openTreeStore, type TreeStore } from "../tree/tree-store.ts";
import type { NodeServing } from "./data-plane/messages.ts";
import type { Images, OpenedImage } from "./images.ts";
import type { LoadedManifest } from "./manifest-file.ts";
import { NodeLayers } from "./node-layers.ts";
import { NodeSet } from "./node-set.ts";
import type { Secrets } from "./secrets.ts";

/** An image whose root tells by /etc/issue which one it is; what the plan reads is Debian's. */
function imageOf(name: string): OpenedImage {
  const root = new MemoryImage({ etc: { directory: { issue: name } } });
  const boot = new MemoryImage({ "start4.elf": name }, { caseSensitive: false });
  return { ...planImage(name, DEBIAN), contentSha256: name, path: name, disk: { boot, root } as unknown as OsImage };
}

/** A store that keeps no catalog of its own. */
function withoutRandom({ keyValueStore, dataFiles, clock }: Storage) {
  return { keyValueStore, dataFiles, clock };
}

/** Serves the trees of a store in this process. */
function servingOf(store: TreeStore, images: Record<string, OpenedImage>) {
  const roots = new Map<string, Tree>();
  const serving: NodeServing = {
    async open({ node, imagePath, trees }) {
      for (const description of trees) {
        const tree = await store.open(description, images[imagePath]!.disk[description.kind]);
        if (description.kind === "root") roots.set(node, tree);
      }
      return { usedBytes: 0 };
    },
    async release(node, how) {
      const usedBytes = roots.get(node)!.usedBytes();
      await store.release(node, how);
      return { usedBytes };
    },
    forget: (node) => store.forget(node),
    flush: async () => {},
    overriddenPaths: async () => [],
  };
  return { serving, roots };
}

async function nodeSet() {
  const opened: Record<string, OpenedImage> = { old: imageOf("old"), new: imageOf("new") };
  const storage = new Storage();
  const { serving, roots } = servingOf(await openTreeStore(withoutRandom(storage)), opened);
  const said: BootOccurrence[] = [];
  const secrets = createNodeSecrets(systemRandom);
  const catalog = await openTreeCatalog(storage);
  const nodes = new NodeSet({
    catalog,
    serving,
    onOpened: () => {},
    images: { open: async ({ source }: { source: string }) => opened[source]! } as unknown as Images,
    secrets: {
      managerPublicKey: () => secrets.sshHostKey.publicKey,
      forNode: () => secrets,
      writeKnownHosts: () => {},
    } as unknown as Secrets,
    report: (occurrence) => void said.push(occurrence),
    serverAddressFor: () => "10.77.0.1" as Ipv4,
    ports: { nfs: 2049, mount: 20048 },
  });
  const apply = async (lines: string) => {
    const text = `cluster: test\nnodes:\n  - { name: node1, mac: "dc:a6:32:00:00:01" }\n${lines}`;
    const result = parseManifest(text, { fileExists: () => true, imageNames: Object.keys(opened) });
    if (!result.ok) throw new Error(JSON.stringify(result.problems));
    await nodes.apply({ manifest: result.manifest, resolvePath: (path: string) => path } as LoadedManifest);
  };
  const clear = async () => {
    const empty = parseManifest("cluster: test\nimage: old\n", { fileExists: () => true });
    if (!empty.ok) throw new Error(JSON.stringify(empty.problems));
    await nodes.apply({ manifest: empty.manifest, resolvePath: (path: string) => path } as LoadedManifest);
  };
  const shown = (path: string) => textOf(roots.get("node1")!, path);
  const warnings = () => said.flatMap((each) => (each.kind === "warning" ? [each.message] : []));
  const layers = new NodeLayers({
    nodes,
    catalog,
    serving,
    isMember: () => false,
    stateFolder: "/state",
    report: (occurrence) => void said.push(occurrence),
  });
  return { nodes, catalog, layers, storage, serving, roots, apply, clear, shown, warnings };
}

describe("a manifest that changes", () => {
  it("shows a running node nothing new until it boots again", async () => {
    const { nodes, apply, shown } = await nodeSet();
    await apply("image: old\nfiles: [{ path: /etc/motd, content: one }]\n");
    await apply("image: old\nfiles: [{ path: /etc/motd, content: two }]\n");
    expect(shown("/etc/motd")).toBe("one");
    await nodes.beginBoot("node1");
    expect(shown("/etc/motd")).toBe("two");
    expect(nodes.beginBoot("node1")).toBeUndefined();
  });

  it("moves a node that wrote nothing to another image when it boots again, tree and plan together", async () => {
    const { nodes, roots, apply, shown } = await nodeSet();
    await apply("image: old\n");
    const tree = roots.get("node1");
    await apply("image: new\n");
    expect(shown("/etc/issue")).toBe("old");
    await nodes.beginBoot("node1");
    expect(shown("/etc/issue")).toBe("new");
    expect(roots.get("node1")).toBe(tree);
    expect(nodes.served.get(tree!.treeId)?.volume).toEqual({ rootId: tree!.rootId, epoch: tree!.epoch });
  });

  it("leaves a node that has written on its image, says so, and moves it after a reset", async () => {
    const { nodes, roots, apply, shown, warnings } = await nodeSet();
    await apply("image: old\n");
    await makeFile(roots.get("node1")!, "/etc", "mine", "precious");
    await apply("image: new\n");
    expect(warnings()).toContainEqual(
      expect.stringMatching(/^Cannot move node1 to image new: .* bramble nodes reset node1$/),
    );
    expect(nodes.beginBoot("node1")).toBeUndefined();
    expect(shown("/etc/mine")).toBe("precious");
    expect(nodes.plan("node1")?.image).toBe("old");

    await nodes.reset("node1");
    await apply("image: new\n");
    await nodes.beginBoot("node1");
    expect(shown("/etc/issue")).toBe("new");
  });

  it("moves neither tree of a node that has written since it was to move", async () => {
    const { nodes, catalog, roots, apply, shown } = await nodeSet();
    await apply("image: old\n");
    await apply("image: new\n");
    await makeFile(roots.get("node1")!, "/etc", "mine", "precious");
    await expect(nodes.beginBoot("node1")).rejects.toThrow("Cannot move node1 to image new");
    expect(shown("/etc/mine")).toBe("precious");
    for (const { description, image } of nodes.treesOf("node1")) {
      const generated = description.generated.files;
      expect((await catalog.tree({ ...description, image, generated })).layers).toEqual(description.layers);
    }
    await apply("image: old\n");
    expect(nodes.refusal("node1")).toBeUndefined();
    await nodes.beginBoot("node1");
    expect([shown("/etc/mine"), nodes.plan("node1")?.image]).toEqual(["precious", "old"]);
  });

  it("drops what an ephemeral node wrote when it boots, and keeps its snapshots", async () => {
    const { nodes, layers, roots, apply, shown } = await nodeSet();
    await apply("image: old\nroot: ephemeral\n");
    await makeFile(roots.get("node1")!, "/etc", "mine", "precious");
    await layers.snapshot("node1", "a");
    await makeFile(roots.get("node1")!, "/etc", "later", "");
    await nodes.beginBoot("node1");
    const there = () => ["/etc/mine", "/etc/later"].map((path) => roots.get("node1")!.lookupPath(path) !== undefined);
    expect(there()).toEqual([false, false]);
    expect(layers.snapshots("node1").map(({ name }) => name)).toEqual(["a"]);
    await layers.restore("node1", "a");
    expect(there()).toEqual([true, false]);
    expect(shown("/etc/mine")).toBe("precious");
  });

  it("takes a node that is gone out of what is served", async () => {
    const { nodes, apply, clear } = await nodeSet();
    await apply("image: old\n");
    expect(nodes.served.size).toBe(2);
    await clear();
    expect(nodes.served.size).toBe(0);
    expect(nodes.plan("node1")).toBeUndefined();
  });

  it("takes a node out also when its last writes cannot be made durable, and says so", async () => {
    const { nodes, serving, apply, clear, warnings } = await nodeSet();
    await apply("image: old\n");
    serving.forget = () => Promise.reject(new Error("the disk is full"));
    await clear();
    expect(nodes.served.size).toBe(0);
    expect(warnings()).toEqual(["the disk is full"]);
  });

  it("takes a node out also while its layers are changed, and refuses what was to change them then", async () => {
    const { nodes, apply, clear } = await nodeSet();
    await apply("image: old\n");
    const how = { abandon: false };
    let go = () => {};
    let first: Promise<void> | undefined;
    await new Promise<void>((underWay) => {
      first = nodes.changeLayers(["node1"], how, () => {
        underWay();
        return new Promise((done) => {
          go = done;
        });
      });
    });
    const second = nodes.changeLayers(["node1"], how, async () => {});
    const refusal = expect(second).rejects.toThrow(
      "Cannot change the trees of node1: it has been taken out of the manifest",
    );
    const cleared = clear();
    go();
    await Promise.all([first, refusal, cleared]);
    expect(nodes.served.size).toBe(0);
    expect(nodes.usedBytes("node1")).toBe(0);
  });
});

describe("what is asked of the layers of a node", () => {
  const failing = (message: string, code?: string) => () => Promise.reject(Object.assign(new Error(message), { code }));
  const FULL = "No space left on device";

  it.each<[string, (set: Awaited<ReturnType<typeof nodeSet>>) => void, object]>([
    [
      "is refused as a conflict when the catalog refuses it",
      () => {},
      { statusCode: 409, message: "Cannot restore snapshot a of node1: it has no snapshots" },
    ],
    [
      "is refused for want of room when the disk of the store is full",
      ({ storage, catalog }) => {
        catalog.restore = () => storage.keyValueStore.write([]);
        storage.keyValueStore.write = failing(
          `Cannot write to /state/trees/meta: ${FULL}: fewer than 9 MiB are free`,
          "ENOSPC",
        );
      },
      {
        statusCode: 507,
        message:
          "Cannot restore snapshot a of node1: the disk with the state folder /state is full; make room there, and ask again",
      },
    ],
    [
      "is refused for want of room when a worker tells of a full disk",
      ({ serving }) => {
        serving.release = failing(`Cannot write to /state/trees/data: ${FULL}: fewer than 33 MiB are free`);
      },
      { statusCode: 507 },
    ],
    [
      "fails when the disk fails",
      ({ catalog }) => {
        catalog.restore = failing("Cannot do it: Input/output error");
      },
      { message: "Cannot do it: Input/output error", statusCode: undefined },
    ],
  ])("%s", async (_, spoil, expected) => {
    const set = await nodeSet();
    await set.apply("image: old\n");
    spoil(set);
    const failure = await set.layers.restore("node1", "a").catch((error: unknown) => error);
    const { statusCode, message } = failure as { statusCode?: number; message: string };
    expect({ statusCode, message }).toMatchObject(expected);
  });

  it("is refused for want of room where it drops all of them, and nothing is dropped", async () => {
    const { layers, storage, roots, apply, shown } = await nodeSet();
    await apply("image: old\n");
    await makeFile(roots.get("node1")!, "/etc", "mine", "precious");
    const write = storage.keyValueStore.write;
    storage.keyValueStore.write = failing(`Cannot write to /state/trees/meta: ${FULL}: fewer than 9 MiB are free`);
    await expect(layers.reset("node1")).rejects.toMatchObject({
      statusCode: 507,
      message: "Cannot reset node1: the disk with the state folder /state is full; make room there, and ask again",
    });
    expect(shown("/etc/mine")).toBe("precious");
    storage.keyValueStore.write = write;
    expect(await layers.reset("node1")).toEqual({ droppedBytes: expect.any(Number) });
    expect(() => shown("/etc/mine")).toThrow();
  });
});
