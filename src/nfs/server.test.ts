import { describe, expect, it } from "vitest";
import { parseIpv4 } from "../bytes/addresses.ts";
import type { FileName } from "../bytes/file-name.ts";
import { NFS_BYTES_IN_FLIGHT_MAX, NFS_CALLS_IN_FLIGHT_MAX } from "../limits.ts";
import type { ReceivedDatagram, UdpSocket } from "../ports.ts";
import { MemoryVolume } from "./memory-volume.ts";
import {
  acceptedBody,
  CLIENT,
  createBench,
  decodeReply,
  encodeRecord,
  MemoryConnection,
  TREE_ID,
} from "./test-client.ts";
import type { Volume, VolumeAttributes } from "./volume.ts";
import type { Encode } from "./xdr.ts";

const [GETATTR, READ, WRITE, REMOVE] = [1, 6, 7, 12];
const name = (text: string) => text as FileName;
const OWNED = { mode: 0o644, uid: 0, gid: 0 };

/** A volume whose getattr waits until it is let go. */
class SlowVolume extends MemoryVolume {
  isSlow = false;
  readonly waiting: (() => void)[] = [];

  override getattr(id: number): VolumeAttributes {
    const attributes = super.getattr(id);
    if (!this.isSlow) return attributes;
    const later = new Promise<VolumeAttributes>((resolve) => this.waiting.push(() => resolve(attributes)));
    return later as unknown as VolumeAttributes;
  }
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));
const xidOf = (reply: Uint8Array) => new DataView(reply.buffer, reply.byteOffset).getUint32(0);

function slowBench() {
  const volume = new SlowVolume();
  const bench = createBench({ volume: volume as Volume });
  return { ...bench, slow: volume };
}

const getattrRoot = (root: Uint8Array): Encode => {
  return (args) => args.opaque(root);
};

describe("a connection", () => {
  it("answers all calls of one chunk in one write, in order, across fragments of calls", () => {
    const { connection, root } = createBench();
    const calls = [1, 2, 3].map((xid) => encodeRecord(GETATTR, getattrRoot(root), { xid }));
    const stream = Buffer.concat(calls);
    connection.arrive(stream.subarray(0, stream.length - 5));
    expect(connection.written.length).toBe(1);
    expect(connection.takeReplies().map(xidOf)).toEqual([1, 2]);
    connection.arrive(stream.subarray(stream.length - 5));
    expect(connection.takeReplies().map(xidOf)).toEqual([3]);
  });

  it("need not be woken for each packet within a large call, and is for the next one", () => {
    const { connection, root } = createBench();
    const countBytes = 100_000;
    const write: Encode = (args) =>
      args.opaque(root).hyper(0).u32(countBytes).u32(0).opaque(new Uint8Array(countBytes));
    const call = encodeRecord(WRITE, write, { xid: 1 });
    const ends = [0, 3, 1000, 60_000, 95_000, call.length];
    const minimums = ends.slice(1).map((end, index) => {
      connection.arrive(call.subarray(ends[index], end));
      return connection.readMinimumBytes;
    });
    expect(minimums).toEqual([1, 65_536, call.length - 60_000, call.length - 95_000, 1]);
    expect(connection.takeReplies().map(xidOf)).toEqual([1]);
  });

  it("lets quick calls overtake slow ones", async () => {
    const { connection, root, slow } = slowBench();
    slow.isSlow = true;
    connection.arrive(encodeRecord(GETATTR, getattrRoot(root), { xid: 1 }));
    slow.isSlow = false;
    connection.arrive(encodeRecord(GETATTR, getattrRoot(root), { xid: 2 }));
    expect(connection.takeReplies().map(xidOf)).toEqual([2]);
    for (const go of slow.waiting) go();
    await settled();
    const [reply] = connection.takeReplies();
    expect(reply && [xidOf(reply), decodeReply(reply).status]).toEqual([1, "NFS3_OK"]);
  });

  it("reads no more while the peer does not take its replies, and answers what it had when it does", () => {
    const { connection, root } = createBench();
    connection.accepts = false;
    connection.arrive(encodeRecord(GETATTR, getattrRoot(root), { xid: 1 }));
    expect(connection.isPaused).toBe(true);
    connection.arrive(encodeRecord(GETATTR, getattrRoot(root), { xid: 2 }));
    expect(connection.takeReplies().map(xidOf)).toEqual([1]);
    connection.accepts = true;
    connection.drain();
    expect(connection.takeReplies().map(xidOf)).toEqual([2]);
    expect(connection.isPaused).toBe(false);
  });

  it("takes up only so many calls while the volume is slow, and all of them in the end", async () => {
    const { connection, root, slow } = slowBench();
    slow.isSlow = true;
    const calls = Array.from({ length: 300 }, (_, xid) => encodeRecord(GETATTR, getattrRoot(root), { xid }));
    connection.arrive(Buffer.concat(calls));
    expect([slow.waiting.length, connection.isPaused]).toEqual([NFS_CALLS_IN_FLIGHT_MAX, true]);
    const answered = new Set<number>();
    while (slow.waiting.length > 0) {
      for (const go of slow.waiting.splice(0)) go();
      await settled();
      for (const reply of connection.takeReplies()) answered.add(xidOf(reply));
    }
    expect([answered.size, connection.isPaused]).toEqual([300, false]);
  });

  it("counts what waiting READs will answer against its memory", () => {
    const { connection, root, slow } = slowBench();
    slow.isSlow = true;
    const read: Encode = (args) => args.opaque(root).hyper(0).u32(0xffff_ffff);
    connection.arrive(Buffer.concat(Array.from({ length: 50 }, (_, xid) => encodeRecord(READ, read, { xid }))));
    expect(slow.waiting.length).toBeLessThanOrEqual(NFS_BYTES_IN_FLIGHT_MAX / 2 ** 20);
  });

  it("is closed, after answering what was right, when its bytes stop being calls", () => {
    const { connection, root, observations } = createBench();
    const good = encodeRecord(GETATTR, getattrRoot(root), { xid: 1 });
    connection.arrive(Buffer.concat([good, Buffer.from("GET / HTTP/1.1\r\n\r\n")]));
    expect(connection.takeReplies().map(xidOf)).toEqual([1]);
    expect(connection.isClosed).toBe(true);
    expect(observations.at(-1)).toMatchObject({ kind: "bad-call", client: CLIENT });
  });

  it("drops answers that come after its end", async () => {
    const { connection, root, slow } = slowBench();
    slow.isSlow = true;
    connection.arrive(encodeRecord(GETATTR, getattrRoot(root)));
    connection.hangUp();
    for (const go of slow.waiting) go();
    await settled();
    expect(connection.written).toEqual([]);
  });
});

describe("a repeated call", () => {
  const remove = (root: Uint8Array, entry: string): Encode => {
    return (args) => args.opaque(root).name(name(entry));
  };

  it("gets the first answer again, also on a new connection", () => {
    const { connection, root, volume, service } = createBench();
    volume.create(2, name("f"), { kind: "guarded" }, OWNED);
    const call = encodeRecord(REMOVE, remove(root, "f"), { xid: 77 });
    connection.arrive(call);
    const [first] = connection.takeReplies();
    const again = new MemoryConnection();
    service.serveConnection(again);
    again.arrive(call);
    expect(first && decodeReply(first).status).toBe("NFS3_OK");
    expect(again.takeReplies()).toEqual([first]);
  });

  it.each([
    ["other arguments", CLIENT, "missing", 0],
    ["another user", CLIENT, "f", 5],
    ["another client", parseIpv4("192.0.2.99"), "f", 0],
  ])("is run on its own when the xid is the same but it has %s", (_, address, entry, uid) => {
    const { connection, root, volume, service } = createBench();
    volume.create(2, name("f"), { kind: "guarded" }, OWNED);
    connection.arrive(encodeRecord(REMOVE, remove(root, "f"), { xid: 77 }));
    const other = new MemoryConnection(address);
    service.serveConnection(other);
    other.arrive(encodeRecord(REMOVE, remove(root, entry), { xid: 77, uid }));
    const [reply] = other.takeReplies();
    expect(reply && decodeReply(reply).status).toBe(uid === 0 ? "NFS3ERR_NOENT" : "NFS3ERR_ACCES");
  });

  it("that arrives while the first is running is not run, and gets its answer on both connections", async () => {
    const { connection, root, slow, service } = slowBench();
    slow.create(2, name("f"), { kind: "guarded" }, OWNED);
    slow.isSlow = true;
    const call = encodeRecord(REMOVE, remove(root, "f"), { xid: 77 });
    connection.arrive(call);
    const again = new MemoryConnection();
    service.serveConnection(again);
    again.arrive(call);
    expect(slow.waiting.length).toBe(1);
    slow.isSlow = false;
    for (const go of slow.waiting) go();
    await settled();
    const replies = [connection, again].flatMap((peer) => peer.takeReplies());
    expect(replies.map((reply) => decodeReply(reply).status)).toEqual(["NFS3_OK", "NFS3_OK"]);
  });
});

describe("who may see what", () => {
  it("a handle of somebody else's tree is refused without data, and told once", () => {
    const bench = createBench({ exports: { volume: () => "forbidden" } });
    const read: Encode = (args) => args.opaque(bench.root).hyper(0).u32(10);
    const replies = [bench.nfs("READ", read), bench.nfs("READ", read)];
    expect(replies.map(({ status, body }) => [status, body.remainingBytes])).toEqual([
      ["NFS3ERR_ACCES", 4],
      ["NFS3ERR_ACCES", 4],
    ]);
    expect(bench.observations.filter(({ kind }) => kind === "forbidden-handle")).toEqual([
      { kind: "forbidden-handle", client: CLIENT, treeId: TREE_ID },
    ]);
  });

  it("handles are stale when the tree is gone or its epoch is another", () => {
    const gone = createBench({ exports: { volume: () => undefined } });
    expect(gone.nfs("GETATTR", getattrRoot(gone.root)).status).toBe("NFS3ERR_STALE");
    const reset = createBench();
    reset.volume.epoch++;
    expect(reset.nfs("GETATTR", getattrRoot(reset.root)).status).toBe("NFS3ERR_STALE");
  });

  it("NFS without AUTH_SYS credentials is refused as too weak, but NULL answers", () => {
    const { connection } = createBench();
    const call = (procedure: number) => {
      const record = Buffer.alloc(44);
      [0x8000_0028, 9, 0, 2, 100003, 3, procedure, 0, 0, 0, 0].forEach((word, index) => {
        record.writeUInt32BE(word, index * 4);
      });
      connection.arrive(record);
      return Buffer.from(connection.takeReplies()[0] ?? []).toString("hex");
    };
    expect(call(0)).toBe("000000090000000100000000000000000000000000000000");
    expect(call(GETATTR)).toBe("0000000900000001000000010000000100000005");
  });
});

describe("clients on unprivileged ports", () => {
  it.each([
    [true, 1024, "00000001 00000001 00000001 00000005"],
    [true, 1023, "00000001 00000000 00000000 00000000"],
    [false, 1024, "00000001 00000000 00000000 00000000"],
  ])("with requirePrivilegedPorts %s, port %i is answered %s to MNT", (requirePrivilegedPorts, port, header) => {
    const { service, observations } = createBench({ requirePrivilegedPorts });
    const connection = new MemoryConnection(CLIENT, port);
    service.serveConnection(connection);
    connection.arrive(encodeRecord(1, (args) => args.name(name("/tree")), { program: 100005 }));
    const [reply] = connection.takeReplies();
    expect(Buffer.from(reply ?? []).toString("hex", 4, 20)).toBe(header.replaceAll(" ", ""));
    const isRefused = requirePrivilegedPorts && port > 1023;
    expect(observations.at(-1)).toMatchObject(
      isRefused ? { kind: "bad-call", cause: "unprivileged-port" } : { kind: "mount" },
    );
  });
});

describe("a volume that fails", () => {
  it("answers IO, and the cause is told", () => {
    const volume = new MemoryVolume();
    const bench = createBench({ volume });
    const cause = new Error("EIO: the disk is broken");
    volume.readdir = () => {
      throw cause;
    };
    const { status } = bench.nfs("READDIR", (args) => args.opaque(bench.root).hyper(0).hyper(0).u32(1000));
    expect(status).toBe("NFS3ERR_IO");
    expect(bench.observations.at(-1)).toEqual({
      ...{ kind: "fault", client: CLIENT, treeId: TREE_ID, procedure: "READDIR", error: cause },
    });
  });
});

describe("a volume that answers nonsense", () => {
  it.each([
    ["GETATTR", GETATTR],
    ["REMOVE, which is remembered,", REMOVE],
  ])("makes %s fail as SYSTEM_ERR, and the connection goes on", (_, procedure) => {
    const volume = new MemoryVolume();
    const { connection, root, observations } = createBench({ volume });
    volume.create(2, name("f"), { kind: "guarded" }, OWNED);
    const { getattr } = volume;
    volume.getattr = (id) => ({ ...getattr.call(volume, id), uid: -1 });
    const args: Encode = (writer) => {
      writer.opaque(root);
      if (procedure === REMOVE) writer.name(name("f"));
    };
    connection.arrive(encodeRecord(procedure, args, { xid: 5 }));
    const replies = connection.takeReplies().map((reply) => Buffer.from(reply).toString("hex"));
    expect(replies).toEqual(["000000050000000100000000000000000000000000000005"]);
    expect([observations.at(-1)?.kind, connection.isClosed]).toEqual(["fault", false]);
  });
});

describe("replies that the kernel has not taken yet", () => {
  it("are not overwritten by those of other connections", () => {
    const { service, connection: slow } = createBench();
    const quick = new MemoryConnection();
    service.serveConnection(quick);
    const ask = (connection: MemoryConnection, xid: number) =>
      connection.arrive(encodeRecord(0, () => {}, { program: 100005, version: 3, xid }));
    ask(quick, 1);
    slow.accepts = false;
    ask(slow, 2);
    ask(quick, 3);
    const xids = [slow, quick].map(({ written }) => written.map((bytes) => Buffer.from(bytes).readUInt32BE(4)));
    expect(xids).toEqual([[2], [1, 3]]);
  });
});

describe("MOUNT", () => {
  const mount = (bench: ReturnType<typeof createBench>, procedure: number, path?: string) => {
    const args: Encode = (writer) => path !== undefined && writer.name(name(path));
    bench.connection.arrive(encodeRecord(procedure, args, { program: 100005 }));
    return acceptedBody(bench.connection.takeReplies()[0] ?? new Uint8Array(0));
  };

  it("gives a handle that works, and AUTH_SYS as the way to use it", () => {
    const bench = createBench();
    const body = mount(bench, 1, "/tree");
    expect(body.u32("status")).toBe(0);
    expect(bench.nfs("GETATTR", getattrRoot(body.opaque(64, "handle"))).status).toBe("NFS3_OK");
    expect([body.u32("flavors"), body.u32("flavor")]).toEqual([1, 1]);
    body.end();
  });

  it("says NOENT for a path that is not exported, and tells why", () => {
    const bench = createBench();
    expect(mount(bench, 1, "/other").u32("status")).toBe(2);
    expect(bench.observations.at(-1)).toMatchObject({ kind: "mount-refused", path: "/other", cause: "no-tree" });
  });

  it("lists mounts until they are taken back, and exports", () => {
    const bench = createBench();
    const dump = () => Buffer.from(mount(bench, 2).rest()).toString("latin1");
    expect(dump()).toContain("192.0.2.21");
    mount(bench, 3, "/tree").end();
    expect(dump()).toBe("\0\0\0\0");
    mount(bench, 1, "/tree");
    mount(bench, 4).end();
    expect(dump()).toBe("\0\0\0\0");
    expect(bench.observations.map(({ kind }) => kind)).toEqual(["mount", "unmount", "mount", "unmount"]);
    const exports = mount(bench, 5);
    expect([exports.bool("entry"), exports.name("dir"), exports.bool("group"), exports.name("name")]).toEqual([
      ...[true, "/tree", true, "192.0.2.21"],
    ]);
    expect([exports.bool("group"), exports.bool("entry")]).toEqual([false, false]);
    exports.end();
  });

  it("tells nobody of another client's mounts", () => {
    const { service } = createBench();
    const stranger = new MemoryConnection(parseIpv4("192.0.2.99"));
    service.serveConnection(stranger);
    stranger.arrive(encodeRecord(2, () => {}, { program: 100005 }));
    expect(acceptedBody(stranger.takeReplies()[0]!).bool("entry")).toBe(false);
  });

  it("answers version 1 with the versions there are", () => {
    const { connection } = createBench();
    connection.arrive(encodeRecord(1, (args) => args.name(name("/tree")), { program: 100005, version: 1, xid: 1 }));
    const [reply] = connection.takeReplies();
    expect(Buffer.from(reply ?? []).toString("hex")).toBe(
      "0000000100000001000000000000000000000000000000020000000300000003",
    );
  });
});

describe("datagrams", () => {
  function datagramBench(exports = {}) {
    const { service } = createBench({ exports });
    const sent: Uint8Array[] = [];
    let deliver: (datagram: ReceivedDatagram) => void = () => {};
    const socket: UdpSocket = {
      localPort: 111,
      send: (bytes) => void sent.push(bytes),
      onDatagram: (handler) => {
        deliver = handler;
      },
      close: () => {},
    };
    service.serveDatagrams(socket);
    return {
      sent,
      arrive: (bytes: Uint8Array) => deliver({ bytes, from: { address: CLIENT, port: 700 } }),
    };
  }

  /** PMAPPROC_GETPORT for NFS 3 over TCP, as klibc's nfsmount sends it. */
  const GETPORT = Buffer.from(
    `000000010000000000000002000186a00000000200000003${"0".repeat(32)}000186a3000000030000000600000000`,
    "hex",
  );

  it("ask the port mapper", () => {
    const bench = datagramBench();
    bench.arrive(GETPORT);
    expect(bench.sent.map((bytes) => Buffer.from(bytes).toString("hex"))).toEqual([
      "00000001000000010000000000000000000000000000000000000801",
    ]);
  });

  it("of strangers and of no sense are not answered", () => {
    const stranger = datagramBench({ list: () => [] });
    stranger.arrive(GETPORT);
    expect(stranger.sent).toEqual([]);
    const bench = datagramBench();
    bench.arrive(Buffer.from("nonsense"));
    expect(bench.sent).toEqual([]);
  });

  it("cannot speak NFS", () => {
    const bench = datagramBench();
    bench.arrive(encodeRecord(0, () => {}, { xid: 1 }).subarray(4));
    expect(Buffer.from(bench.sent[0] ?? []).readUInt32BE(20)).toBe(1); // PROG_UNAVAIL
  });
});

describe("the port mapper", () => {
  const ask = (procedure: number, words: number[], version = 2) => {
    const { connection } = createBench();
    const args: Encode = (writer) => {
      for (const word of words) writer.u32(word);
    };
    connection.arrive(encodeRecord(procedure, args, { program: 100000, version, xid: 1 }));
    return Buffer.from(connection.takeReplies()[0] ?? [])
      .subarray(20)
      .toString("hex");
  };

  it.each([
    ["the port of NFS over TCP", 3, [100003, 3, 6, 0], 2, "0000000000000801"],
    ["that port for NFS 4 too, so that NFS itself can say no", 3, [100003, 4, 6, 0], 2, "0000000000000801"],
    ["0 for NFS over UDP", 3, [100003, 3, 17, 0], 2, "0000000000000000"],
    ["0 for a program that is not there", 3, [100024, 1, 6, 0], 2, "0000000000000000"],
    ["no to SET", 1, [100003, 3, 6, 666], 2, "0000000000000000"],
    ["no to UNSET", 2, [100003, 3, 6, 666], 2, "0000000000000000"],
    ["the list to DUMP", 4, [], 2, "0000000000000001000186a300000003000000060000080100000000"],
    ["PROC_UNAVAIL to CALLIT", 5, [], 2, "00000003"],
    ["PROG_MISMATCH 2..2 to rpcbind version 4", 3, [], 4, "000000020000000200000002"],
  ])("answers %s", (_, procedure, words, version, reply) => {
    expect(ask(procedure, words, version)).toBe(reply);
  });
});
