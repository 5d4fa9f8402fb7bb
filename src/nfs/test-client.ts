/** Test support: an RPC client that talks to a service through a connection in memory. */
import { type Ipv4, parseIpv4 } from "../bytes/addresses.ts";
import type { FileName } from "../bytes/file-name.ts";
import type { Clock, FileRange, TcpConnection } from "../ports.ts";
import type { Exports } from "./exports.ts";
import { MemoryVolume } from "./memory-volume.ts";
import { NFS_PROGRAM } from "./nfs-program.ts";
import type { FileChange, NfsObservation } from "./observation.ts";
import { NFS_PROCEDURES } from "./procedures/table.ts";
import { RecordAssembler } from "./record-marking.ts";
import { createNfsService, type NfsService } from "./server.ts";
import { NFS_STATUS, type Volume } from "./volume.ts";
import { type Encode, XdrReader, XdrWriter } from "./xdr.ts";

export const CLIENT = parseIpv4("192.0.2.21");
export const TREE_ID = 7;

/** One accepted connection, seen from both sides: `arrive` is the peer sending, `written` what we sent. */
export class MemoryConnection implements TcpConnection {
  readonly remote: { address: Ipv4; port: number };
  readonly localAddress = parseIpv4("192.0.2.1");
  readonly written: Uint8Array[] = [];
  /** What `write` answers: false plays a peer that does not read. */
  accepts = true;
  isPaused = false;
  readMinimumBytes = 1;
  isClosed = false;
  arrive: (bytes: Uint8Array) => void = () => {};
  drain: () => void = () => {};
  hangUp: () => void = () => {};

  constructor(address: Ipv4 = CLIENT, port = 800) {
    this.remote = { address, port };
  }

  /** A peer that reads takes everything at once; what waits for one that does not is kept as the buffers that were given. */
  get pendingBytes(): number {
    return this.accepts ? 0 : this.written.reduce((sum, bytes) => sum + bytes.length, 0);
  }

  write(bytes: Uint8Array): boolean {
    this.written.push(this.accepts ? bytes.slice() : bytes);
    return this.accepts;
  }
  writeFile(head: Uint8Array, { file, offset, lengthBytes }: FileRange): boolean {
    const content = new Uint8Array(lengthBytes);
    file.readSync(content, offset);
    this.write(head);
    return this.write(content);
  }
  onData(handler: (bytes: Uint8Array) => void): void {
    this.arrive = handler;
  }
  onDrain(handler: () => void): void {
    this.drain = handler;
  }
  onClose(handler: () => void): void {
    this.hangUp = handler;
  }
  pause(): void {
    this.isPaused = true;
  }
  resume(): void {
    this.isPaused = false;
  }
  setReadMinimum(countBytes: number): void {
    this.readMinimumBytes = countBytes;
  }
  close(): void {
    this.isClosed = true;
  }

  /** Takes all replies written so far, without their record marks. */
  takeReplies(): Uint8Array[] {
    const assembler = new RecordAssembler();
    const replies: Uint8Array[] = [];
    for (const bytes of this.written.splice(0)) {
      assembler.push(bytes);
      for (let reply = assembler.next(); reply !== undefined; reply = assembler.next()) replies.push(reply.slice());
    }
    return replies;
  }
}

export interface CallOptions {
  program?: number;
  version?: number;
  xid?: number;
  uid?: number;
  gid?: number;
  groups?: readonly number[];
}

let nextXid = 0x1000;

/** The bytes of one call with AUTH_SYS credentials, with its record mark. */
export function encodeRecord(procedure: number, args: Encode, options: CallOptions = {}): Uint8Array {
  const { program = NFS_PROGRAM, version = 3, xid = nextXid++, uid = 0, gid = 0, groups = [] } = options;
  const call = new XdrWriter();
  call.u32(0).u32(xid).u32(0).u32(2).u32(program).u32(version).u32(procedure);
  call.u32(1).u32(20 + 4 * groups.length);
  call.u32(0).u32(0).u32(uid).u32(gid).u32(groups.length);
  for (const group of groups) call.u32(group);
  call.u32(0).u32(0);
  args(call);
  call.patchU32(0, 0x8000_0000 + call.lengthBytes - 4);
  return call.finish();
}

export interface Bench {
  service: NfsService;
  volume: MemoryVolume;
  connection: MemoryConnection;
  observations: NfsObservation[];
  changes: FileChange[];
  /** Calls an NFS procedure by name and returns the reply's body after the status, with the status. */
  nfs(procedure: string, args: Encode, options?: CallOptions): { status: string; body: XdrReader };
  /** The handle of the root, as MNT gives it. */
  root: Uint8Array;
}

/** A service with one tree in memory, and a client of it. `volume` stands in front of the one in memory. */
export function createBench(
  options: {
    volume?: Volume;
    exports?: Partial<Exports>;
    requirePrivilegedPorts?: boolean;
    clock?: Pick<Clock, "after" | "monotonicMs">;
  } = {},
): Bench {
  const memory = new MemoryVolume();
  const volume = options.volume ?? memory;
  const observations: NfsObservation[] = [];
  const changes: FileChange[] = [];
  const service = createNfsService({
    exports: {
      find: (path) => (path === "/tree" ? { treeId: TREE_ID, volume } : { refused: "no-tree", reason: "no such tree" }),
      volume: (treeId) => (treeId === TREE_ID ? volume : undefined),
      list: () => ["/tree"],
      ...options.exports,
    },
    handleKey: new Uint8Array(16).fill(1),
    writeVerifier: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
    requirePrivilegedPorts: options.requirePrivilegedPorts ?? false,
    observe: (observation) => observations.push(observation),
    clock: options.clock ?? { after: () => ({ cancel: () => {} }), monotonicMs: () => 0 },
    onFileChanged: (change) => changes.push(change),
    portMappings: () => [{ program: NFS_PROGRAM, version: 3, protocol: "tcp", port: 2049 }],
  });
  const connection = new MemoryConnection();
  service.serveConnection(connection);

  const nfs: Bench["nfs"] = (procedure, args, callOptions) => {
    const number = NFS_PROCEDURES.findIndex(({ name }) => name === procedure);
    connection.arrive(encodeRecord(number, args, callOptions));
    return decodeReply(connection.takeReplies()[0] ?? new Uint8Array(0));
  };
  connection.arrive(encodeRecord(1, (args) => args.name("/tree" as FileName), { program: 100005 }));
  const mounted = acceptedBody(connection.takeReplies()[0] ?? new Uint8Array(0));
  mounted.u32("status");
  return {
    service,
    volume: memory,
    connection,
    observations,
    changes,
    nfs,
    root: mounted.opaque(64, "handle").slice(),
  };
}

/** What follows the header of a successful reply. */
export function acceptedBody(reply: Uint8Array): XdrReader {
  const reader = new XdrReader(reply, "reply");
  reader.u32("xid");
  const header = [1, 0, 0, 0, 0].map(() => reader.u32("header")).join(" ");
  if (header !== "1 0 0 0 0") throw new Error(`Cannot use the reply: its header is ${header}`);
  return reader;
}

export function decodeReply(reply: Uint8Array): { status: string; body: XdrReader } {
  const body = acceptedBody(reply);
  const number = body.u32("status");
  const status = Object.entries(NFS_STATUS).find(([, value]) => value === number)?.[0] ?? String(number);
  return { status, body };
}

/** Reads `fattr3`. */
export function readAttributes(body: XdrReader) {
  const attributes = {
    ...{ type: body.u32("type"), mode: body.u32("mode"), linkCount: body.u32("nlink") },
    ...{ uid: body.u32("uid"), gid: body.u32("gid"), sizeBytes: body.hyper("size") },
  };
  body.skip(16, "used, rdev");
  const fsid = body.u64("fsid");
  const id = body.hyper("fileid");
  const times = [0, 1, 2].map(() => [body.u32("seconds"), body.u32("nseconds")]);
  return { ...attributes, fsid, id, times };
}

export function readPostAttributes(body: XdrReader) {
  return body.bool("attributes follow") ? readAttributes(body) : undefined;
}

export function readWcc(body: XdrReader) {
  const before = body.bool("before") ? { sizeBytes: body.hyper("size") } : undefined;
  if (before) body.skip(16, "mtime, ctime");
  return { before, after: readPostAttributes(body) };
}

/** `sattr3` with nothing but, perhaps, a mode. */
export function newAttributes(mode?: number): Encode {
  return (args) => {
    args.bool(mode !== undefined);
    if (mode !== undefined) args.u32(mode);
    args.u32(0).u32(0).u32(0).u32(0).u32(0);
  };
}
