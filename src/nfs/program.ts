/**
 * From the bytes of one RPC message to the bytes of its reply, whichever program it is for: RFC 5531 section 9.
 */
import type { Ipv4 } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import {
  decodeCall,
  type KnownRefusal,
  type RpcCall,
  RpcRefusal,
  writeAcceptedReply,
  writeVersionMismatch,
} from "./rpc.ts";
import type { Encode } from "./xdr.ts";

/** An answer that has to be waited for, and how large it may get. What a dispatcher hands out never rejects. */
export interface PendingAnswer {
  encode: Promise<Encode>;
  replyBytesMax: number;
}

export type Answer = Encode | PendingAnswer;

/** One RPC program in the only version we speak. */
export interface RpcProgram {
  readonly number: number;
  /** As people call it. */
  readonly name: string;
  readonly version: number;
  /**
   * Answers a call with what follows the header of a successful reply; `undefined` when there is no such procedure.
   * Throws `DecodeError` for arguments that cannot be read and `RpcRefusal` for credentials that will not do.
   */
  call(call: RpcCall, client: Ipv4): Answer | undefined;
}

export type AnswerRecord = (record: Uint8Array, client: Ipv4) => Answer;

export interface DispatchEvents {
  /** A call was refused, or its arguments could not be read. */
  onBadCall(client: Ipv4, reason: string, known?: KnownRefusal): void;
  onWrongVersion(client: Ipv4, program: string, version: number): void;
  /** A program failed in a way that it should not; the client is told SYSTEM_ERR. */
  onFault(client: Ipv4, error: unknown): void;
}

/**
 * Builds the function that answers messages for these programs. It throws `DecodeError` when the bytes are no call,
 * so that there is nobody to answer.
 */
export function createDispatcher(programs: readonly RpcProgram[], events: DispatchEvents): AnswerRecord {
  const byNumber = new Map(programs.map((program) => [program.number, program]));

  return (record, client) => {
    let call: RpcCall;
    try {
      call = decodeCall(record);
    } catch (error) {
      if (error instanceof RpcRefusal) return refuse(error, client);
      throw error;
    }
    const program = byNumber.get(call.program);
    if (program === undefined) return (reply) => writeAcceptedReply(reply, call.xid, "PROG_UNAVAIL");
    if (call.version !== program.version) {
      events.onWrongVersion(client, program.name, call.version);
      return (reply) => writeVersionMismatch(reply, call.xid, program.version, program.version);
    }
    try {
      return answerWith(program, call, client);
    } catch (error) {
      if (error instanceof RpcRefusal) return refuse(error, client);
      if (!(error instanceof DecodeError)) return fail(error, call.xid, client);
      events.onBadCall(client, error.message);
      return (reply) => writeAcceptedReply(reply, call.xid, "GARBAGE_ARGS");
    }
  };

  function answerWith(program: RpcProgram, call: RpcCall, client: Ipv4): Answer {
    const { xid } = call;
    const answer = program.call(call, client);
    if (answer === undefined) return (reply) => writeAcceptedReply(reply, xid, "PROC_UNAVAIL");
    if (typeof answer === "function") return success(answer, xid, client);
    const encode = answer.encode.then(
      (body) => success(body, xid, client),
      (error: unknown) => fail(error, xid, client),
    );
    return { encode, replyBytesMax: answer.replyBytesMax };
  }

  function success(body: Encode, xid: number, client: Ipv4): Encode {
    return (reply) => {
      const start = reply.lengthBytes;
      try {
        writeAcceptedReply(reply, xid, "SUCCESS");
        body(reply);
      } catch (error) {
        reply.truncate(start);
        fail(error, xid, client)(reply);
      }
    };
  }

  function refuse(refusal: RpcRefusal, client: Ipv4): Encode {
    events.onBadCall(client, `Cannot accept an RPC call: ${refusal.message}`, refusal.known);
    return refusal.encode;
  }

  function fail(error: unknown, xid: number, client: Ipv4): Encode {
    events.onFault(client, error);
    return (reply) => writeAcceptedReply(reply, xid, "SYSTEM_ERR");
  }
}
