/**
 * RPC records and what is in them: NFS, MOUNT and the port mapper. A damaged call is refused by its answer, or by the end
 * of the connection; neither is an exception, and an answer of SYSTEM_ERR or a fault that is told would be a mistake of
 * ours.
 */
import { DecodeError } from "../../src/bytes/decode-error.ts";
import type { FileName } from "../../src/bytes/file-name.ts";
import { MOUNT_PROGRAM } from "../../src/nfs/mount.ts";
import { PORTMAP_PROGRAM, type PortMapping } from "../../src/nfs/portmap.ts";
import { registerWithPortmapper } from "../../src/nfs/portmap-registration.ts";
import { RecordAssembler } from "../../src/nfs/record-marking.ts";
import { validCalls } from "../../src/nfs/test-calls.ts";
import { CLIENT, createBench, encodeRecord, MemoryConnection } from "../../src/nfs/test-client.ts";
import type { Encode } from "../../src/nfs/xdr.ts";
import type { ReceivedDatagram, UdpSocket } from "../../src/ports.ts";
import { check, type FuzzedDecoder, hex } from "./fuzzed-decoder.ts";

const MARK_BYTES = 4;
const LAST = 0x8000_0000;
/** Then the service is made anew: damaged names have filled its directory. Its handles stay the same. */
const CALLS_MAX = 10_000;

let bench = createBench();
const none: Encode = () => {};
const path: Encode = (args) => args.name("/tree" as FileName);
const mapping: Encode = (args) => args.u32(100003).u32(3).u32(6).u32(0);
const withoutMark = (record: Uint8Array) => record.subarray(MARK_BYTES);

const NFS_CALLS = validCalls(bench).map(withoutMark);
const MOUNT_CALLS = [none, path, none, path, none, none]
  .map((args, procedure) => encodeRecord(procedure, args, { program: MOUNT_PROGRAM, groups: [1, 2, 3] }))
  .map(withoutMark);
const PORTMAP_CALLS = [none, mapping, mapping, mapping, none]
  .map((args, procedure) => encodeRecord(procedure, args, { program: PORTMAP_PROGRAM, version: 2 }))
  .map(withoutMark);

/** MSG_ACCEPTED with SUCCESS; else the call was refused. A status of NFS or MOUNT is an answer as any. */
function judge(reply: Uint8Array): void {
  const words = Buffer.from(reply.buffer, reply.byteOffset, reply.length);
  const isAccepted = words.readUInt32BE(8) === 0;
  const status = words.readUInt32BE(isAccepted ? 20 : 12);
  check(!isAccepted || status <= 4, `answered with status ${status}`);
  if (!isAccepted || status !== 0) throw new DecodeError("RPC call", "answer", `refused with ${status}`);
}

let connection = connect();
let calls = 0;

function connect(): MemoryConnection {
  const made = new MemoryConnection();
  bench.service.serveConnection(made);
  return made;
}

/** A whole record in one connection, which is made anew when it was ended. */
function call(bytes: Uint8Array): void {
  if (++calls % CALLS_MAX === 0) {
    bench = createBench();
    connection = connect();
  }
  const mark = Buffer.alloc(MARK_BYTES);
  mark.writeUInt32BE(LAST + bytes.length);
  connection.arrive(Buffer.concat([mark, bytes]));
  check(!bench.observations.some(({ kind }) => kind === "fault"), "a fault of the volume");
  bench.observations.length = 0;
  bench.changes.length = 0;
  const [reply] = connection.takeReplies();
  if (connection.isClosed) {
    connection.hangUp();
    connection = connect();
    throw new DecodeError("RPC call", "connection", "closed");
  }
  check(reply !== undefined, "no answer");
  judge(reply!);
}

/** Each record in fragments of some bytes. */
function inFragments(record: Uint8Array, fragmentBytes: number): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < record.length; at += fragmentBytes) {
    const part = record.subarray(at, at + fragmentBytes);
    const mark = Buffer.alloc(MARK_BYTES);
    mark.writeUInt32BE((at + fragmentBytes >= record.length ? LAST : 0) + part.length);
    parts.push(mark, part);
  }
  return Buffer.concat(parts);
}

function assemble(bytes: Uint8Array): void {
  const assembler = new RecordAssembler(() => false);
  let recordBytes = 0;
  for (let at = 0; at < bytes.length; at += 11) {
    assembler.push(bytes.subarray(at, at + 11));
    for (let record = assembler.next(); record !== undefined; record = assembler.next()) recordBytes += record.length;
  }
  check(recordBytes <= bytes.length, "more than came");
}

let deliver: (datagram: ReceivedDatagram) => void = () => {};
let answered: Uint8Array | undefined;
const datagrams = createBench();
datagrams.service.serveDatagrams({
  localPort: 111,
  send: (bytes) => {
    answered = Uint8Array.from(bytes);
  },
  onDatagram: (handler) => {
    deliver = handler;
  },
  close: () => {},
});

function datagram(bytes: Uint8Array): void {
  answered = undefined;
  deliver({ bytes, from: { address: CLIENT, port: 700 } });
  datagrams.observations.length = 0;
  if (answered === undefined) throw new DecodeError("RPC datagram", "answer", "none");
  judge(answered);
}

/** We ask rpcbind, and this comes from its port. Settled or not, nothing is thrown at the socket. */
function portMapperAnswer(bytes: Uint8Array): void {
  let hear: (datagram: ReceivedDatagram) => void = () => {};
  const socket: UdpSocket = {
    localPort: 40000,
    send: () => {},
    onDatagram: (handler) => {
      hear = handler;
    },
    close: () => {},
  };
  const nfs: PortMapping = { program: 100003, version: 3, protocol: "tcp", port: 2049 };
  const clock = { after: () => ({ cancel: () => {} }) } as never;
  registerWithPortmapper({ socket, clock, random: { bytes: (count) => new Uint8Array(count) } }, [nfs]).catch(() => {});
  hear({ bytes, from: { address: CLIENT, port: 111 } });
}

export const NFS_DECODERS: readonly FuzzedDecoder[] = [
  {
    name: "record marking",
    corpus: NFS_CALLS.map((each, index) => inFragments(each, 7 + 13 * index)),
    decode: assemble,
  },
  { name: "the call of NFS", corpus: NFS_CALLS, decode: call },
  { name: "the call of MOUNT", corpus: MOUNT_CALLS, decode: call },
  { name: "the call of the port mapper", corpus: PORTMAP_CALLS, decode: call },
  {
    name: "the datagram to the port mapper and to MOUNT",
    corpus: [...PORTMAP_CALLS, ...MOUNT_CALLS],
    decode: datagram,
  },
  {
    name: "the answer of rpcbind",
    corpus: [hex("00000001 00000001 00000000 00000000 00000000 00000000 00000001")],
    decode: portMapperAnswer,
    takesAll: true,
  },
];
