/**
 * NFS version 3 as an RPC program: RFC 1813. Runs procedures, turns what they throw into `nfsstat3` with the right
 * error body, and answers repeated calls from memory.
 */
import type { Ipv4 } from "../bytes/addresses.ts";
import type { Awaitable, Clock } from "../ports.ts";
import { type CallEnvironment, NfsCall, type Procedure } from "./call.ts";
import { DuplicateCalls } from "./duplicate-calls.ts";
import { NFS_PROCEDURES } from "./procedures/table.ts";
import type { Answer, RpcProgram } from "./program.ts";
import { authRefusal, type RpcCall } from "./rpc.ts";
import { run, type Task } from "./task.ts";
import { CallSampling } from "./tree-counters.ts";
import { NFS_STATUS, type NfsStatus, VolumeError } from "./volume.ts";
import { type Encode, XdrWriter } from "./xdr.ts";

export const NFS_PROGRAM = 100003;
export const NFS_VERSION = 3;

const NULL_PROCEDURE = 0;

/** `onFault` hears of everything a volume threw that is no `VolumeError`. */
export function createNfsProgram(
  environment: CallEnvironment,
  clock: Pick<Clock, "monotonicMs">,
  onFault: (client: Ipv4, treeId: number, procedure: string, error: unknown) => void,
): RpcProgram {
  const duplicates = new DuplicateCalls();
  const sampling = new CallSampling();

  return {
    number: NFS_PROGRAM,
    name: "NFS",
    version: NFS_VERSION,

    call(rpc, client) {
      const procedure = NFS_PROCEDURES[rpc.procedure];
      if (procedure === undefined) return undefined;
      if (rpc.procedure === NULL_PROCEDURE) return () => {};
      if (rpc.credentials.flavor === "AUTH_NONE") {
        throw authRefusal(rpc.xid, "AUTH_TOOWEAK", `NFS ${procedure.name} without AUTH_SYS credentials`);
      }
      const { changes } = procedure;
      const call = new NfsCall(environment, client, rpc.credentials, changes, sampling.weightOf(changes));
      const args = procedure.decode(rpc.args);
      rpc.args.end();
      if (changes) return runOnce(rpc, client, call, procedure, args);
      return asAnswer(run(perform(call, rpc.procedure, procedure, args)), call);
    },
  };

  function runOnce<Args>(rpc: RpcCall, client: Ipv4, call: NfsCall, procedure: Procedure<Args>, args: Args): Answer {
    call.repeatable = rpc;
    const reply = duplicates.answer(rpc, client, () => {
      const encode = run(perform(call, rpc.procedure, procedure, args));
      return encode instanceof Promise ? encode.then(toBytes) : toBytes(encode);
    });
    if (reply instanceof Promise) return asAnswer(reply.then(fromBytes), call);
    return fromBytes(reply);
  }

  function* perform<Args>(call: NfsCall, number: number, procedure: Procedure<Args>, args: Args): Task<Encode> {
    const startMs = call.weight > 0 ? clock.monotonicMs() : 0;
    try {
      const body = yield* procedure.run(call, args);
      count(call, number, "NFS3_OK", startMs);
      return (reply) => {
        reply.u32(NFS_STATUS.NFS3_OK);
        body(reply);
      };
    } catch (error) {
      const status = statusOf(error, call, procedure);
      count(call, number, status, startMs);
      return yield* failure(call, procedure, status);
    }
  }

  function count(call: NfsCall, number: number, status: NfsStatus, startMs: number): void {
    const tookMs = call.weight > 0 ? clock.monotonicMs() - startMs : 0;
    call.counters?.answered(number, status, call.subjects[0]?.id, call.weight, tookMs);
  }

  /** The error body: what the attributes are now, so that the client's cache is right about why it failed. */
  function* failure(call: NfsCall, procedure: Procedure<unknown>, status: NfsStatus): Task<Encode> {
    for (const subject of call.subjects) {
      try {
        yield* call.refresh(subject);
      } catch {
        subject.after = undefined; // the fault that brought us here was reported; there is nothing to add
      }
    }
    return (reply) => {
      reply.u32(NFS_STATUS[status]);
      procedure.failure.forEach((kind, index) => {
        const subject = call.subjects[index];
        if (kind === "wcc") call.writeWcc(reply, subject);
        else call.writeAttributes(reply, subject?.after);
      });
    };
  }

  function statusOf(error: unknown, call: NfsCall, procedure: Procedure<unknown>): NfsStatus {
    if (error instanceof VolumeError) return error.status;
    onFault(call.client, call.treeId, procedure.name, error);
    return "NFS3ERR_IO";
  }
}

function asAnswer(encode: Awaitable<Encode>, call: NfsCall): Answer {
  return encode instanceof Promise ? { encode, replyBytesMax: call.replyBytesMax } : encode;
}

function toBytes(encode: Encode): Uint8Array {
  const writer = new XdrWriter();
  encode(writer);
  return writer.finish().slice();
}

function fromBytes(bytes: Uint8Array): Encode {
  return (reply) => reply.bytes(bytes);
}
