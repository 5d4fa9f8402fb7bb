/**
 * What a node gets of another's files: nothing, whichever handle, path or address it uses. Over TCP, from several
 * addresses of the loopback network, which stand for as many nodes.
 */
import { connect, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NodeDirectory } from "../../src/boot/node-directory.ts";
import { exportPath, nodeExports, type ServedTree } from "../../src/boot/node-exports.ts";
import { parseIpv4, parseMac } from "../../src/bytes/addresses.ts";
import type { FileName } from "../../src/bytes/file-name.ts";
import { NFS_PROCEDURES } from "../../src/nfs/procedures/table.ts";
import { RecordAssembler } from "../../src/nfs/record-marking.ts";
import { createNfsService } from "../../src/nfs/server.ts";
import { acceptedBody, decodeReply, encodeRecord, newAttributes } from "../../src/nfs/test-client.ts";
import type { Encode } from "../../src/nfs/xdr.ts";
import type { TcpListener } from "../../src/ports.ts";
import { systemClock } from "../../src/system/clock.ts";
import { nodeTcpListeners } from "../../src/system/tcp.ts";
import { MemoryImage } from "../../src/tree/memory-image.ts";
import type { Tree } from "../../src/tree/tree.ts";
import { at, Storage } from "../../src/tree/tree-fixture.ts";
import { openTreeStore } from "../../src/tree/tree-store.ts";

const MOUNT = { program: 100005 };
const NODE1 = parseIpv4("127.0.0.11");
const NODE2 = parseIpv4("127.0.0.12");
const STRANGER = parseIpv4("127.0.0.13");
const MAC1 = parseMac("dc:a6:32:00:00:01");
const MAC2 = parseMac("dc:a6:32:00:00:02");
const SECRET = "the key of node2";
const name = (text: string) => text as FileName;

let directory: NodeDirectory;
let trees: ServedTree[];
let listener: TcpListener;
let sockets: Socket[];
let observed: string[];
/** All that was ever answered. */
let answered: Buffer[];

beforeEach(async () => {
  [sockets, observed, answered] = [[], [], []];
  directory = new NodeDirectory([
    { name: "node1", mac: MAC1 },
    { name: "node2", mac: MAC2 },
  ]);
  directory.learnNeighbour(NODE1, MAC1);
  directory.learnNeighbour(NODE2, MAC2);
  const store = await openTreeStore(new Storage());
  const open = (node: string, text: string) => {
    const image = new MemoryImage({ etc: { directory: { key: text, link: { symlink: text } } } });
    return store.tree({ node, kind: "root", image, imageId: text, generated: [] });
  };
  const served = (node: string, tree: Tree): ServedTree => ({ node, kind: "root", treeId: tree.treeId, volume: tree });
  trees = [served("node1", await open("node1", "nothing")), served("node2", await open("node2", SECRET))];
  const service = createNfsService({
    exports: nodeExports(directory, new Map(trees.map((tree) => [tree.treeId, tree]))),
    handleKey: new Uint8Array(16).fill(9),
    writeVerifier: new Uint8Array(8),
    clock: systemClock,
    observe: (observation) => observed.push(observation.kind),
    portMappings: () => [],
  });
  listener = await nodeTcpListeners.listen({ address: parseIpv4("0.0.0.0"), port: 0 }, (connection) =>
    service.serveConnection(connection),
  );
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await listener.close();
});

type Call = (procedure: number, args: Encode, options?: { program?: number }) => Promise<Uint8Array>;

/** A client with an address of its own, which keeps one connection. */
async function client(address: string): Promise<Call> {
  const socket = connect({ host: "127.0.0.1", port: listener.localPort, localAddress: address });
  sockets.push(socket);
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  const assembler = new RecordAssembler();
  const waiting: ((reply: Uint8Array) => void)[] = [];
  socket.on("data", (bytes) => {
    answered.push(bytes);
    assembler.push(bytes);
    for (let reply = assembler.next(); reply !== undefined; reply = assembler.next()) waiting.shift()?.(reply.slice());
  });
  return (procedure, args, options) => {
    socket.write(encodeRecord(procedure, args, options));
    return new Promise((resolve) => waiting.push(resolve));
  };
}

async function mount(call: Call, path: string): Promise<{ status: number; root: Uint8Array }> {
  const body = acceptedBody(await call(1, (args) => args.name(name(path)), MOUNT));
  const status = body.u32("status");
  return { status, root: status === 0 ? body.opaque(64, "handle").slice() : new Uint8Array(0) };
}

async function nfs(call: Call, procedure: string, args: Encode) {
  const number = NFS_PROCEDURES.findIndex((each) => each.name === procedure);
  return decodeReply(await call(number, args));
}

async function handleOf(call: Call, directoryHandle: Uint8Array, file: string): Promise<Uint8Array> {
  const { status, body } = await nfs(call, "LOOKUP", (args) => args.opaque(directoryHandle).name(name(file)));
  expect(status).toBe("NFS3_OK");
  return body.opaque(64, "handle").slice();
}

/** Every procedure with a handle, asked for a file in a directory of another node. */
const PROCEDURES: [procedure: string, args: (directory: Uint8Array, file: Uint8Array) => Encode][] = [
  ["GETATTR", (_, file) => (args) => args.opaque(file)],
  ["SETATTR", (_, file) => (args) => newAttributes(0o777)(args.opaque(file)) ?? args.bool(false)],
  ["LOOKUP", (folder) => (args) => args.opaque(folder).name(name("key"))],
  ["ACCESS", (_, file) => (args) => args.opaque(file).u32(0x3f)],
  ["READLINK", (_, file) => (args) => args.opaque(file)],
  ["READ", (_, file) => (args) => args.opaque(file).hyper(0).u32(100)],
  ["WRITE", (_, file) => (args) => args.opaque(file).hyper(0).u32(2).u32(2).opaque(Buffer.from("hi"))],
  ["CREATE", (folder) => (args) => newAttributes(0o644)(args.opaque(folder).name(name("new")).u32(0))],
  ["MKDIR", (folder) => (args) => newAttributes(0o755)(args.opaque(folder).name(name("new")))],
  [
    "SYMLINK",
    (folder) => (args) => newAttributes()(args.opaque(folder).name(name("new"))) ?? args.name(name("target")),
  ],
  ["MKNOD", (folder) => (args) => newAttributes(0o644)(args.opaque(folder).name(name("new")).u32(7))],
  ["REMOVE", (folder) => (args) => args.opaque(folder).name(name("key"))],
  ["RMDIR", (folder) => (args) => args.opaque(folder).name(name("key"))],
  ["RENAME", (folder) => (args) => args.opaque(folder).name(name("key")).opaque(folder).name(name("new"))],
  ["LINK", (folder, file) => (args) => args.opaque(file).opaque(folder).name(name("new"))],
  ["READDIR", (folder) => (args) => args.opaque(folder).u64(0n).zeros(8).u32(4096)],
  ["READDIRPLUS", (folder) => (args) => args.opaque(folder).u64(0n).zeros(8).u32(4096).u32(4096)],
  ["FSSTAT", (folder) => (args) => args.opaque(folder)],
  ["FSINFO", (folder) => (args) => args.opaque(folder)],
  ["PATHCONF", (folder) => (args) => args.opaque(folder)],
  ["COMMIT", (_, file) => (args) => args.opaque(file).hyper(0).u32(0)],
];

/** What is in /etc of node2, which nobody else may see or change. */
async function secrets() {
  const tree = trees[1]!.volume as Tree;
  const { bytes } = await tree.read(at(tree, "/etc/key"), 0, 100);
  const { entries } = await tree.readdir(at(tree, "/etc"), 0, 100);
  return { key: Buffer.from(bytes).toString(), names: entries.map((entry) => entry.name).join() };
}

/** Node2 gives its handles to others. */
async function stolenHandles() {
  const owner = await client(NODE2);
  const { root } = await mount(owner, exportPath("node2", "root"));
  const folder = await handleOf(owner, root, "etc");
  const file = await handleOf(owner, folder, "key");
  answered = [];
  return { root, folder, file };
}

describe("a node that asks for another's files", () => {
  afterEach(async () => {
    expect(await secrets()).toEqual({ key: SECRET, names: ".,..,key,link" });
    expect(Buffer.concat(answered).includes(SECRET)).toBe(false);
  });

  it("is refused another's path, and sees only its own", async () => {
    const call = await client(NODE1);
    expect((await mount(call, exportPath("node2", "root"))).status).toBe(13);
    expect((await mount(call, `${exportPath("node1", "root")}/../../node2/root`)).status).not.toBe(0);
    expect((await mount(call, exportPath("node1", "root"))).status).toBe(0);
    const exported = acceptedBody(await call(5, () => {}, MOUNT));
    expect(exported.bool("an export")).toBe(true);
    expect(exported.name("path")).toBe(exportPath("node1", "root"));
    expect(observed.filter((kind) => kind === "mount-refused")).toHaveLength(2);
  });

  it.each(PROCEDURES)("is refused %s on another's handle, and told nothing", async (procedure, args) => {
    const { folder, file } = await stolenHandles();
    const { status, body } = await nfs(await client(NODE1), procedure, args(folder, file));
    expect(status).toBe("NFS3ERR_ACCES");
    // Nothing but the marks of attributes that are not there.
    while (body.remainingBytes > 0) expect(body.bool("attributes follow")).toBe(false);
    expect(observed).toContain("forbidden-handle");
  });

  it.each(PROCEDURES)("is refused %s as a stranger", async (procedure, args) => {
    const { folder, file } = await stolenHandles();
    expect((await nfs(await client(STRANGER), procedure, args(folder, file))).status).toBe("NFS3ERR_ACCES");
  });

  it("cannot bring another's file into its own tree, nor its own into another's", async () => {
    const { folder, file } = await stolenHandles();
    const call = await client(NODE1);
    const { root } = await mount(call, exportPath("node1", "root"));
    const etc = await handleOf(call, root, "etc");
    const key = await handleOf(call, etc, "key");
    const attempts: [string, Encode][] = [
      ["LINK", (args) => args.opaque(file).opaque(etc).name(name("mine"))],
      ["LINK", (args) => args.opaque(key).opaque(folder).name(name("theirs"))],
      ["RENAME", (args) => args.opaque(folder).name(name("key")).opaque(etc).name(name("mine"))],
      ["RENAME", (args) => args.opaque(etc).name(name("key")).opaque(folder).name(name("key"))],
    ];
    for (const [procedure, args] of attempts) expect((await nfs(call, procedure, args)).status).toBe("NFS3ERR_ACCES");
    expect((await nfs(call, "LOOKUP", (args) => args.opaque(etc).name(name("mine")))).status).toBe("NFS3ERR_NOENT");
    expect((await nfs(call, "LOOKUP", (args) => args.opaque(root).name(name("..")))).status).toBe("NFS3_OK");
  });

  it("cannot forge a handle from its own: any changed bit makes it none", async () => {
    await stolenHandles();
    const call = await client(NODE1);
    const { root } = await mount(call, exportPath("node1", "root"));
    for (let bit = 0; bit < 8 * root.length; bit++) {
      const forged = Uint8Array.from(root);
      forged[bit >> 3]! ^= 1 << (bit & 7);
      const { status } = await nfs(call, "GETATTR", (args) => args.opaque(forged));
      expect([bit, status]).toEqual([bit, "NFS3ERR_BADHANDLE"]);
    }
  });

  it("loses what it had when its address becomes another's, on the same connection", async () => {
    const { file } = await stolenHandles();
    const holder = await client(NODE2);
    const getattr: Encode = (args) => args.opaque(file);
    expect((await nfs(holder, "GETATTR", getattr)).status).toBe("NFS3_OK");
    directory.learnNeighbour(NODE2, MAC1);
    expect((await nfs(holder, "GETATTR", getattr)).status).toBe("NFS3ERR_ACCES");
    expect((await mount(holder, exportPath("node2", "root"))).status).toBe(13);
    expect((await mount(holder, exportPath("node1", "root"))).status).toBe(0);
    directory.learnNeighbour(STRANGER, MAC2);
    expect((await nfs(await client(STRANGER), "GETATTR", getattr)).status).toBe("NFS3_OK");
    directory.learnNeighbour(STRANGER, parseMac("02:00:00:00:00:01"));
    expect((await nfs(await client(STRANGER), "GETATTR", getattr)).status).toBe("NFS3ERR_ACCES");
  });

  it("gets nothing with the address that the manifest gives another, whoever answers for it on the network", async () => {
    const { file } = await stolenHandles();
    directory.setNodes([
      { name: "node1", mac: MAC1 },
      { name: "node2", mac: MAC2, address: NODE2 },
    ]);
    directory.learnNeighbour(NODE2, MAC1);
    expect(directory.ownerOf(NODE2)).toBe("node2");
    directory.learnNeighbour(NODE1, MAC1);
    expect((await nfs(await client(NODE1), "GETATTR", (args) => args.opaque(file))).status).toBe("NFS3ERR_ACCES");
  });
});
