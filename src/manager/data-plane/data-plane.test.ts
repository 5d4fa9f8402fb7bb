import { expect, it } from "vitest";
import { MemoryClock } from "../../../test/memory-network.ts";
import { parseIpv4 } from "../../bytes/addresses.ts";
import type { FileName } from "../../bytes/file-name.ts";
import { UP_REPORT_PATH } from "../../cluster/generated/up-report.ts";
import type { OsImage } from "../../disk/os-image.ts";
import { NFS_PROCEDURES } from "../../nfs/procedures/table.ts";
import {
  acceptedBody,
  CLIENT,
  decodeReply,
  encodeRecord,
  MemoryConnection,
  newAttributes,
} from "../../nfs/test-client.ts";
import type { Encode, XdrReader } from "../../nfs/xdr.ts";
import type { UdpSocket } from "../../ports.ts";
import { MemoryImage } from "../../tree/memory-image.ts";
import { openTreeCatalog } from "../../tree/tree-catalog.ts";
import { TREE_KINDS } from "../../tree/tree-description.ts";
import { Storage } from "../../tree/tree-fixture.ts";
import { createDataPlane } from "./data-plane.ts";
import type { DataPlaneObservation } from "./messages.ts";

const NODE = "node1";
const UP = UP_REPORT_PATH.split("/").slice(1);
const MOUNT_PROGRAM = 100005;
const FILE_SYNC = 2;

/** A data plane in this process over a store in memory, with one client: the node. */
async function lab() {
  const storage = new Storage();
  const { keyValueStore, dataFiles } = storage;
  const clock = new MemoryClock();
  const observed: DataPlaneObservation[] = [];
  const openImages: string[] = [];
  const imageAt = (path: string): OsImage => {
    const boot = new MemoryImage({}, { caseSensitive: false });
    const root = new MemoryImage({ var: { directory: { lib: { directory: { bramble: { directory: {} } } } } } });
    openImages.push(path);
    return { boot, root, close: () => openImages.splice(openImages.indexOf(path), 1) } as unknown as OsImage;
  };
  const socket: UdpSocket = { localPort: 1, send: () => {}, onDatagram: () => {}, close: () => {} };
  const catalog = await openTreeCatalog(storage);
  const plane = await createDataPlane({
    settings: {
      handleKey: new Uint8Array(16),
      requirePrivilegedPorts: false,
      portMappings: [],
      tftpBinding: { address: parseIpv4("192.0.2.1") },
    },
    keyValueStore,
    dataFiles,
    clock,
    sockets: { bind: async () => socket },
    writeVerifier: new Uint8Array(8),
    openImage: imageAt,
    observe: (observation) => void observed.push(observation),
  });
  plane.setOwners([[CLIENT, NODE]]);
  const sample = imageAt("sample");
  openImages.length = 0;

  const open = async (imageId = "image", node = NODE) => {
    const trees = TREE_KINDS.map((kind) => catalog.tree({ node, kind, image: sample[kind], imageId, generated: [] }));
    return plane.open({ node, imageId, imagePath: imageId, trees: await Promise.all(trees) });
  };
  return { plane, clock, catalog, observed, openImages, open };
}

type Lab = Awaited<ReturnType<typeof lab>>;

/** The node's kernel, with its root mounted anew. */
async function mounted({ plane }: Lab) {
  const connection = new MemoryConnection();
  plane.serveConnection(NODE, connection);
  const send = async (procedure: number, args: Encode, program?: number): Promise<Uint8Array> => {
    connection.arrive(encodeRecord(procedure, args, program === undefined ? {} : { program }));
    while (connection.written.length === 0) await new Promise((done) => setImmediate(done));
    return connection.takeReplies()[0]!;
  };
  const call = async (name: string, args: Encode): Promise<XdrReader> => {
    const { status, body } = decodeReply(
      await send(
        NFS_PROCEDURES.findIndex((procedure) => procedure.name === name),
        args,
      ),
    );
    if (status !== "NFS3_OK") throw new Error(`${name} was answered with ${status}`);
    return body;
  };
  const mount = acceptedBody(await send(1, (args) => args.name(`/bramble/${NODE}/root` as FileName), MOUNT_PROGRAM));
  mount.u32("status");
  const root = mount.opaque(64, "handle").slice();
  const find = async (path: readonly string[]) => {
    let at = root;
    for (const name of path) {
      at = (await call("LOOKUP", (args) => args.opaque(at).name(name as FileName))).opaque(64, "handle").slice();
    }
    return at;
  };
  return { call, find };
}

/** As the shell does for `> file`. */
async function report(client: Awaited<ReturnType<typeof mounted>>, bootId: string, isNew: boolean): Promise<void> {
  if (isNew) {
    const folder = await client.find(UP.slice(0, -1));
    await client.call("CREATE", (args) => {
      args
        .opaque(folder)
        .name(UP.at(-1) as FileName)
        .u32(0);
      newAttributes(0o644)(args);
    });
  }
  const text = Buffer.from(`${bootId} 12.5 up\n`);
  const file = await client.find(UP);
  await client.call("WRITE", (args) => args.opaque(file).hyper(0).u32(text.length).u32(FILE_SYNC).opaque(text));
}

it("hears that a node is up that writes into the report file of a snapshot it was put back to", async () => {
  const here = await lab();
  const { plane, catalog, observed, open } = here;
  const bootIds = [1, 2, 3].map((digit) => `${digit}`.repeat(36));
  await open();
  await report(await mounted(here), bootIds[0]!, true);
  await plane.release(NODE, { abandon: false });
  await catalog.snapshot(NODE, "first");
  await open();
  await plane.release(NODE, { abandon: true });
  await catalog.dropNodeLayer(NODE);
  await open();
  await report(await mounted(here), bootIds[1]!, true);
  await plane.release(NODE, { abandon: true });
  await catalog.restore(NODE, "first");
  await open();
  await report(await mounted(here), bootIds[2]!, false);
  const heard = observed.flatMap((each) => (each.kind === "up-report" ? [each.report.bootId] : []));
  expect(heard).toEqual(bootIds);
});

it("has the images open that its nodes are served from, and no others", async () => {
  const { plane, openImages, open } = await lab();
  await Promise.all([open("old"), open("old", "node2")]);
  expect(openImages).toEqual(["old"]);
  await plane.release(NODE, { abandon: false });
  await open("new");
  expect(openImages).toEqual(["old", "new"]);
  await plane.release("node2", { abandon: false });
  await open("new", "node2");
  expect(openImages).toEqual(["new"]);
  await plane.forget(NODE);
  expect(openImages).toEqual(["new"]);
  await plane.forget("node2");
  expect(openImages).toEqual([]);
});

it("tells each second of what was done, also of what comes after a long pause", async () => {
  const here = await lab();
  const { clock, observed, open } = here;
  const written = () => observed.splice(0).flatMap((each) => (each.kind === "activity" ? each.trees : []));
  await open();
  const node = await mounted(here);
  await node.find(UP.slice(0, 1));
  clock.pass(1000);
  expect(written()).toMatchObject([{ node: NODE, kind: "root", activity: { operations: 1 } }]);
  clock.pass(3_600_000);
  expect(written()).toEqual([]);
  await node.find(UP.slice(0, 2));
  clock.pass(999);
  expect(written()).toEqual([]);
  clock.pass(1);
  expect(written()).toMatchObject([{ node: NODE, kind: "root", activity: { operations: 2 } }]);
});

it("counts anew for a node that comes back after it was forgotten", async () => {
  const here = await lab();
  const { plane, clock, observed, open } = here;
  const operations = () => {
    clock.pass(1000);
    const told = observed.splice(0).flatMap((each) => (each.kind === "activity" ? each.trees : []));
    return told.map(({ activity }) => activity.operations);
  };
  await open();
  await (await mounted(here)).find(UP.slice(0, -1));
  await plane.forget(NODE);
  await open();
  expect(operations()).toEqual([]);
  await (await mounted(here)).find(UP.slice(0, 1));
  expect(operations()).toEqual([1]);
});
