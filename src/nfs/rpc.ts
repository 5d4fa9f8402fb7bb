/**
 * ONC RPC version 2 messages: RFC 5531 sections 9 (messages) and 8.2 / appendix A (AUTH_SYS).
 * Left out: being a client (portmap registration builds its own calls), RPCSEC_GSS, and verifiers other than AUTH_NONE.
 */
import { DecodeError } from "../bytes/decode-error.ts";
import { RPC_AUTH_BYTES_MAX, RPC_GROUPS_MAX, RPC_MACHINE_NAME_BYTES_MAX } from "../limits.ts";
import { XdrReader, type XdrWriter } from "./xdr.ts";

export const RPC_VERSION = 2;
export const MESSAGE_TYPE = { CALL: 0, REPLY: 1 } as const;
export const REPLY_STATUS = { ACCEPTED: 0, DENIED: 1 } as const;
export const ACCEPT_STATUS = {
  SUCCESS: 0,
  PROG_UNAVAIL: 1,
  PROG_MISMATCH: 2,
  PROC_UNAVAIL: 3,
  GARBAGE_ARGS: 4,
  SYSTEM_ERR: 5,
} as const;
export const REJECT_STATUS = { RPC_MISMATCH: 0, AUTH_ERROR: 1 } as const;
export const AUTH_STATUS = { AUTH_BADCRED: 1, AUTH_TOOWEAK: 5 } as const;
export const AUTH_FLAVOR = { AUTH_NONE: 0, AUTH_SYS: 1 } as const;

export type AuthStatus = keyof typeof AUTH_STATUS;

/** Who asks, as AUTH_SYS tells it. The client's kernel is trusted with this; that is what AUTH_SYS means. */
export interface Credentials {
  flavor: "AUTH_NONE" | "AUTH_SYS";
  uid: number;
  gid: number;
  groups: readonly number[];
}

export interface RpcCall {
  xid: number;
  program: number;
  version: number;
  procedure: number;
  credentials: Credentials;
  /** Positioned at the procedure's arguments. */
  args: XdrReader;
  /** The same arguments as they came. */
  argumentBytes: Uint8Array;
}

/** Refusals that something is known about but their words. */
export type KnownRefusal = "unprivileged-port";

/** A call that is refused before its program sees it, with the reply that says so. */
export class RpcRefusal extends Error {
  readonly encode: (reply: XdrWriter) => void;
  readonly known: KnownRefusal | undefined;

  constructor(reason: string, encode: (reply: XdrWriter) => void, known?: KnownRefusal) {
    super(reason);
    this.name = "RpcRefusal";
    this.encode = encode;
    this.known = known;
  }
}

/** Traditional `nobody`, for calls without credentials. */
const NOBODY = 65534;
const ANONYMOUS: Credentials = { flavor: "AUTH_NONE", uid: NOBODY, gid: NOBODY, groups: [] };

/**
 * Reads the header of a call. Throws `RpcRefusal` for what has a reply in the RFC, and `DecodeError` for what is no
 * call at all (there is nothing to answer).
 */
export function decodeCall(record: Uint8Array): RpcCall {
  const args = new XdrReader(record, "RPC call");
  const xid = args.u32("xid");
  const type = args.u32("mtype");
  if (type !== MESSAGE_TYPE.CALL) throw args.error("mtype", `${type} is not a call`);
  const rpcVersion = args.u32("rpcvers");
  if (rpcVersion !== RPC_VERSION) {
    throw new RpcRefusal(`RPC version ${rpcVersion}`, (reply) => {
      reply.u32(xid).u32(MESSAGE_TYPE.REPLY).u32(REPLY_STATUS.DENIED);
      reply.u32(REJECT_STATUS.RPC_MISMATCH).u32(RPC_VERSION).u32(RPC_VERSION);
    });
  }
  const program = args.u32("prog");
  const version = args.u32("vers");
  const procedure = args.u32("proc");
  const credentials = decodeCredentials(args, xid);
  args.u32("verf.flavor"); // only RPCSEC_GSS gives verifiers of calls a meaning
  args.opaque(RPC_AUTH_BYTES_MAX, "verf.body");
  return { xid, program, version, procedure, credentials, args, argumentBytes: record.subarray(args.position) };
}

function decodeCredentials(args: XdrReader, xid: number): Credentials {
  const flavor = args.u32("cred.flavor");
  const body = args.opaque(RPC_AUTH_BYTES_MAX, "cred.body");
  if (flavor === AUTH_FLAVOR.AUTH_NONE) return ANONYMOUS;
  if (flavor !== AUTH_FLAVOR.AUTH_SYS) throw authRefusal(xid, "AUTH_BADCRED", `credential flavor ${flavor}`);
  try {
    return decodeAuthSys(body);
  } catch (error) {
    if (error instanceof DecodeError) throw authRefusal(xid, "AUTH_BADCRED", error.message);
    throw error;
  }
}

function decodeAuthSys(body: Uint8Array): Credentials {
  const reader = new XdrReader(body, "AUTH_SYS credentials");
  reader.u32("stamp");
  reader.opaque(RPC_MACHINE_NAME_BYTES_MAX, "machinename");
  const uid = reader.u32("uid");
  const gid = reader.u32("gid");
  const count = reader.u32("gids");
  if (count > RPC_GROUPS_MAX) throw reader.error("gids", `${count} groups, at most ${RPC_GROUPS_MAX}`);
  const groups: number[] = [];
  for (let index = 0; index < count; index++) groups.push(reader.u32("gids"));
  reader.end();
  return { flavor: "AUTH_SYS", uid, gid, groups };
}

export function authRefusal(xid: number, status: AuthStatus, reason: string, known?: KnownRefusal): RpcRefusal {
  const encode = (reply: XdrWriter) => {
    reply.u32(xid).u32(MESSAGE_TYPE.REPLY).u32(REPLY_STATUS.DENIED);
    reply.u32(REJECT_STATUS.AUTH_ERROR).u32(AUTH_STATUS[status]);
  };
  return new RpcRefusal(reason, encode, known);
}

/** The header of an accepted reply, up to where the result (or the version range) follows. */
export function writeAcceptedReply(reply: XdrWriter, xid: number, status: keyof typeof ACCEPT_STATUS): void {
  reply.u32(xid).u32(MESSAGE_TYPE.REPLY).u32(REPLY_STATUS.ACCEPTED);
  reply.u32(AUTH_FLAVOR.AUTH_NONE).u32(0);
  reply.u32(ACCEPT_STATUS[status]);
}

/** PROG_MISMATCH: the only versions there are. */
export function writeVersionMismatch(reply: XdrWriter, xid: number, lowest: number, highest: number): void {
  writeAcceptedReply(reply, xid, "PROG_MISMATCH");
  reply.u32(lowest).u32(highest);
}
