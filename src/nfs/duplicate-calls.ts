/**
 * Answers to calls that must not be run twice, kept for a while. A client that lost its connection sends unanswered
 * calls again with the same xid; a REMOVE that had succeeded would then answer NOENT. Kept per client address, so that
 * it works across connections. Chet Juszczak, "Improving the Performance and Correctness of an NFS Server", 1989.
 *
 * What is here does not outlive the process. For calls repeated over a restart, the volume keeps the identities of those
 * that it has done.
 */
import type { Ipv4 } from "../bytes/addresses.ts";
import { NFS_DUPLICATE_CALLS_PER_CLIENT_MAX, NFS_DUPLICATE_CLIENTS_MAX } from "../limits.ts";
import type { Awaitable } from "../ports.ts";
import type { RpcCall } from "./rpc.ts";
import type { CallIdentity } from "./volume.ts";

/** So much of the arguments is compared: all of every call but WRITE, and the front of its data. */
const COMPARED_BYTES = 512;

interface Remembered {
  procedure: number;
  uid: number;
  checksum: number;
  reply: Awaitable<Uint8Array>;
}

export class DuplicateCalls {
  readonly #clients = new Map<Ipv4, Map<number, Remembered>>();

  /** The reply of this very call if it was run before or is running, else the reply of `run`. */
  answer(call: RpcCall, client: Ipv4, run: () => Awaitable<Uint8Array>): Awaitable<Uint8Array> {
    const calls = this.#callsOf(client);
    const { procedure, credentials, argumentBytes } = call;
    const checksum = checksumOf(argumentBytes);
    const known = calls.get(call.xid);
    if (known?.procedure === procedure && known.checksum === checksum && known.uid === credentials.uid) {
      return known.reply;
    }
    const remembered: Remembered = { procedure, uid: credentials.uid, checksum, reply: run() };
    calls.delete(call.xid);
    // One that is under way would be run a second time; those are bounded by what connections take up.
    makeRoom(calls, NFS_DUPLICATE_CALLS_PER_CLIENT_MAX, ({ reply }) => !(reply instanceof Promise));
    calls.set(call.xid, remembered);
    if (remembered.reply instanceof Promise) {
      remembered.reply.then(
        (reply) => {
          remembered.reply = reply;
        },
        () => calls.delete(call.xid),
      );
    }
    return remembered.reply;
  }

  #callsOf(client: Ipv4): Map<number, Remembered> {
    let calls = this.#clients.get(client);
    if (calls === undefined) {
      makeRoom(this.#clients, NFS_DUPLICATE_CLIENTS_MAX);
      calls = new Map();
      this.#clients.set(client, calls);
    }
    return calls;
  }
}

/** For a volume, which remembers calls over a restart. */
export function identityOf(call: RpcCall, client: Ipv4): CallIdentity {
  const { xid, procedure, credentials, argumentBytes } = call;
  return `${client} ${xid} ${procedure} ${credentials.uid} ${checksumOf(argumentBytes)}`;
}

function checksumOf(argumentBytes: Uint8Array): number {
  return fnv1a(argumentBytes.subarray(0, COMPARED_BYTES)) ^ argumentBytes.length;
}

/** A Map lists its keys oldest first. */
function makeRoom<Key, Value>(
  map: Map<Key, Value>,
  maximum: number,
  mayGo: (value: Value) => boolean = () => true,
): void {
  for (const [oldest, value] of map) {
    if (map.size < maximum) return;
    if (mayGo(value)) map.delete(oldest);
  }
}

/** FNV-1a, 32 bits. */
function fnv1a(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash;
}
