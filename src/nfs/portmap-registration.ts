/**
 * Registering with a port mapper that somebody else runs: where rpcbind owns port 111, clients ask it for our ports.
 * RFC 1833 section 3, procedures PMAPPROC_UNSET and PMAPPROC_SET, over UDP to the loopback address (rpcbind takes
 * registrations from there only).
 */
import { type Ipv4, parseIpv4 } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import type { Clock, Random, UdpSocket } from "../ports.ts";
import {
  PORTMAP_PORT,
  PORTMAP_PROCEDURE,
  PORTMAP_PROGRAM,
  PORTMAP_VERSION,
  type PortMapping,
  writeMapping,
} from "./portmap.ts";
import { ACCEPT_STATUS, AUTH_FLAVOR, MESSAGE_TYPE, REPLY_STATUS, RPC_VERSION } from "./rpc.ts";
import { XdrReader, XdrWriter } from "./xdr.ts";

const LOOPBACK: Ipv4 = parseIpv4("127.0.0.1");
const ATTEMPTS = 3;
const ATTEMPT_TIMEOUT_MS = 500;

export interface PortmapClient {
  socket: UdpSocket;
  clock: Clock;
  random: Random;
}

/** Takes over all `mappings`, replacing what was registered for their programs. Rejects when refused or unanswered. */
export async function registerWithPortmapper(client: PortmapClient, mappings: readonly PortMapping[]): Promise<void> {
  const ask = asker(client);
  for (const mapping of mappings) await ask(PORTMAP_PROCEDURE.UNSET, mapping);
  for (const mapping of mappings) {
    if (await ask(PORTMAP_PROCEDURE.SET, mapping)) continue;
    const { program, version, protocol, port } = mapping;
    throw new Error(
      `Cannot register RPC program ${program} version ${version} (${protocol} port ${port}) with rpcbind: it refused; ` +
        "stop the other NFS server of this machine, or give Bramble the port mapper's port",
    );
  }
}

/** Removes the registrations again. UNSET goes by program and version, for all protocols at once. */
export async function unregisterFromPortmapper(client: PortmapClient, mappings: readonly PortMapping[]): Promise<void> {
  const ask = asker(client);
  for (const mapping of mappings) await ask(PORTMAP_PROCEDURE.UNSET, mapping);
}

/** A function that makes one call at a time, repeating it a few times, and returns the port mapper's yes or no. */
function asker({
  socket,
  clock,
  random,
}: PortmapClient): (procedure: number, mapping: PortMapping) => Promise<boolean> {
  let xid = new DataView(random.bytes(4).slice().buffer).getUint32(0);
  let onReply: (xid: number, isDone: boolean) => void = () => {};
  socket.onDatagram(({ bytes }) => {
    try {
      const reply = decodeBooleanReply(bytes);
      onReply(reply.xid, reply.value);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error; // a stray datagram is no answer
    }
  });

  return (procedure, mapping) =>
    new Promise((resolve, reject) => {
      xid = (xid + 1) >>> 0;
      const call = encodeCall(xid, procedure, mapping);
      let attempts = 0;
      const attempt = () => {
        if (attempts++ === ATTEMPTS) {
          reject(new Error("Cannot register with the port mapper: nobody answers on UDP port 111 of this machine"));
          return;
        }
        socket.send(call, { address: LOOPBACK, port: PORTMAP_PORT });
        timer = clock.after(ATTEMPT_TIMEOUT_MS, attempt);
      };
      let timer = clock.after(0, attempt);
      onReply = (answeredXid, value) => {
        if (answeredXid !== xid) return;
        timer.cancel();
        resolve(value);
      };
    });
}

function encodeCall(xid: number, procedure: number, mapping: PortMapping): Uint8Array {
  const call = new XdrWriter();
  call.u32(xid).u32(MESSAGE_TYPE.CALL).u32(RPC_VERSION);
  call.u32(PORTMAP_PROGRAM).u32(PORTMAP_VERSION).u32(procedure);
  call.u32(AUTH_FLAVOR.AUTH_NONE).u32(0).u32(AUTH_FLAVOR.AUTH_NONE).u32(0);
  writeMapping(call, mapping);
  return call.finish();
}

function decodeBooleanReply(bytes: Uint8Array): { xid: number; value: boolean } {
  const reply = new XdrReader(bytes, "port mapper reply");
  const xid = reply.u32("xid");
  const expected = [MESSAGE_TYPE.REPLY, REPLY_STATUS.ACCEPTED, AUTH_FLAVOR.AUTH_NONE, 0, ACCEPT_STATUS.SUCCESS];
  for (const word of expected) {
    if (reply.u32("header") !== word) throw reply.error("header", "not a successful reply");
  }
  const value = reply.bool("result");
  reply.end();
  return { xid, value };
}
