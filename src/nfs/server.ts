/**
 * The NFS service: NFS, MOUNT and the port mapper behind connections and datagrams that someone else accepts.
 *
 *     const service = createNfsService({ … });
 *     await listeners.listen({ address, port: 2049 }, (connection) => service.serveConnection(connection));
 *     await listeners.listen({ address, port: 111 }, (connection) => service.serveConnection(connection));
 *     service.serveDatagrams(await sockets.bind({ address, port: 111 }));
 *
 * Every connection may speak all three programs, so one port is enough for clients that can be told. Datagrams
 * speak the port mapper and MOUNT; NFS itself is TCP only.
 */
import type { Ipv4 } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import type { Clock, ReceivedDatagram, TcpConnection, UdpPeer, UdpSocket } from "../ports.ts";
import type { CallEnvironment } from "./call.ts";
import { serveRpcConnection } from "./connection.ts";
import { ConnectionTable } from "./connection-table.ts";
import type { Exports } from "./exports.ts";
import { createHandleCodec } from "./handle.ts";
import { createMountProgram } from "./mount.ts";
import { createNfsProgram } from "./nfs-program.ts";
import type { FileChange, ObserveNfs } from "./observation.ts";
import { createPortmapProgram, type PortMapping } from "./portmap.ts";
import { createDispatcher, type DispatchEvents, type RpcProgram } from "./program.ts";
import { authRefusal, type KnownRefusal } from "./rpc.ts";
import { TreeCounters } from "./tree-counters.ts";
import { XdrWriter } from "./xdr.ts";

/** Pairs of client and tree that were told as forbidden; beyond that they are told again. */
const FORBIDDEN_PAIRS_MAX = 1024;

const PRIVILEGED_PORTS_END = 1024;

export interface NfsServiceOptions {
  exports: Exports;
  /** 16 secret bytes, the same in every run of this manager: file handles are sealed with them. */
  handleKey: Uint8Array;
  /** 8 bytes, other ones in every run: clients see by them that unstable writes may be lost. */
  writeVerifier: Uint8Array;
  /**
   * Serve NFS and MOUNT only to ports below 1024, which a kernel mounts from: without it, any process of a node can say
   * it is root. Absent: false, since QEMU's user networking and unprivileged test clients cannot have such ports.
   */
  requirePrivilegedPorts?: boolean;
  observe: ObserveNfs;
  /** For timing calls, and for ending connections that do not go on. */
  clock: Pick<Clock, "after" | "monotonicMs">;
  /** Called after each CREATE, WRITE, SETATTR and RENAME that succeeded, so it must be quick. */
  onFileChanged?: (change: FileChange) => void;
  /** Called when the first call of a tree was answered since its counters' activity was taken. */
  onWork?: () => void;
  /** What the port mapper tells. */
  portMappings: () => readonly PortMapping[];
}

export interface NfsService {
  serveConnection(connection: TcpConnection): void;
  serveDatagrams(socket: UdpSocket): void;
  /** What clients do in a tree: a live object. */
  counters(treeId: number): TreeCounters;
  /** Keeps no counters of a tree that is gone. Should it come back, they begin anew. */
  forgetTree(treeId: number): void;
}

export function createNfsService(options: NfsServiceOptions): NfsService {
  const { exports, observe } = options;
  if (options.writeVerifier.length !== 8) {
    throw new RangeError(`Cannot use the write verifier: ${options.writeVerifier.length} bytes instead of 8`);
  }
  const handles = createHandleCodec(options.handleKey);
  const counters = new Map<number, TreeCounters>();
  const forbidden = new Set<string>();
  const environment: CallEnvironment = {
    exports,
    handles,
    writeVerifier: options.writeVerifier,
    counters: countersOf,
    onForbiddenHandle(client, treeId) {
      const pair = `${client} ${treeId}`;
      if (forbidden.has(pair)) return;
      if (forbidden.size >= FORBIDDEN_PAIRS_MAX) forbidden.clear();
      forbidden.add(pair);
      observe({ kind: "forbidden-handle", client, treeId });
    },
    onFileChanged: options.onFileChanged ?? (() => {}),
  };
  const badCall = (client: Ipv4, reason: string, cause?: KnownRefusal) =>
    observe({ kind: "bad-call", client, reason, ...(cause && { cause }) });
  const fault = (client: Ipv4, treeId: number, procedure: string, error: unknown) =>
    observe({ kind: "fault", client, treeId, procedure, error });

  const portmap = createPortmapProgram(options.portMappings);
  const mount = createMountProgram(exports, handles, observe);
  const nfs = createNfsProgram(environment, options.clock, fault);
  const events: DispatchEvents = {
    onBadCall: badCall,
    onWrongVersion: (client, program, version) => observe({ kind: "wrong-version", client, program, version }),
    onFault: (client, error) => fault(client, 0, "RPC", error),
  };
  const answerRecord = createDispatcher([nfs, mount, portmap], events);
  const answerUnprivileged = createDispatcher([refusing(nfs), refusing(mount), portmap], events);
  const answerDatagram = createDispatcher([portmap, mount], events);
  const table = new ConnectionTable(options.clock);
  const isTrusted = ({ port }: UdpPeer) => !options.requirePrivilegedPorts || port < PRIVILEGED_PORTS_END;

  return {
    counters: countersOf,
    forgetTree: (treeId) => void counters.delete(treeId),

    serveConnection(connection) {
      const client = connection.remote.address;
      let isKnown = false;
      serveRpcConnection(connection, {
        answer: isTrusted(connection.remote) ? answerRecord : answerUnprivileged,
        table,
        isKnown() {
          isKnown ||= exports.list(client).length > 0;
          return isKnown;
        },
        onBadStream: (reason) => badCall(client, reason),
        onEnded: (reason) => observe({ kind: "connection-ended", client, reason }),
      });
    },

    serveDatagrams(socket) {
      socket.onDatagram((datagram) => {
        const reply = replyTo(datagram);
        if (reply === undefined) return;
        const { from, localAddress } = datagram;
        socket.send(reply, from, localAddress === undefined ? undefined : { localAddress });
      });
    },
  };

  function countersOf(treeId: number): TreeCounters {
    let known = counters.get(treeId);
    if (known === undefined) {
      known = new TreeCounters(options.onWork);
      counters.set(treeId, known);
    }
    return known;
  }

  /** Strangers get no answer to a datagram: a port mapper that answers anybody is an amplifier of forged requests. */
  function replyTo({ bytes, from }: ReceivedDatagram): Uint8Array | undefined {
    if (exports.list(from.address).length === 0) return undefined;
    try {
      const answer = (isTrusted(from) ? answerDatagram : answerUnprivileged)(bytes, from.address);
      if (typeof answer !== "function") throw new Error("Cannot answer a datagram later");
      const reply = new XdrWriter();
      answer(reply);
      return reply.finish();
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      badCall(from.address, error.message);
      return undefined;
    }
  }
}

/** The program for those we do not trust: it is there (procedure 0), and that is all. */
function refusing(program: RpcProgram): RpcProgram {
  return {
    ...program,
    call(call, client) {
      if (call.procedure === 0) return program.call(call, client);
      const reason = "it came from a port above 1023, so not from a kernel";
      throw authRefusal(call.xid, "AUTH_TOOWEAK", reason, "unprivileged-port");
    },
  };
}
