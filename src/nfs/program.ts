/**
 * From the bytes of one RPC message to the bytes of its reply, whichever program it is for: RFC 5531 section 9.
 */
import type { Ipv4 } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import { decodeCall, type RpcCall, RpcRefusal, writeAcceptedReply, writeVersionMismatch } from "./rpc.ts";
import type { Encode } from "./xdr.ts";

/** An answer that has to be waited for, and how large it may get. */
export interface PendingAnswer {
  encode: Promise<Encode>;
  replyBytesMax: number;
}

export type Answer = Encode | PendingAnswer;

/** One RPC program in the only version we speak. */
export interface RpcProgram {
  readonly number: number;
  readonly version: number;
  /**
   * Answers a call with what follows the header of a successful reply; `undefined` when there is no such procedure.
   * Throws `DecodeError` for arguments that cannot be read and `RpcRefusal` for credentials that will not do.
   */
  call(call: RpcCall, client: Ipv4): Answer | undefined;
}

export type AnswerRecord = (record: Uint8Array, client: Ipv4) => Answer;

/**
 * Builds the function that answers messages for these programs. It throws `DecodeError` when the bytes are no call,
 * so that there is nobody to answer.
 */
export function createDispatcher(
  programs: readonly RpcProgram[],
  onBadCall: (client: Ipv4, reason: string) => void,
): AnswerRecord {
  const byNumber = new Map(programs.map((program) => [program.number, program]));

  return (record, client) => {
    let call: RpcCall;
    try {
      call = decodeCall(record);
    } catch (error) {
      return refusal(error, client);
    }
    const { xid } = call;
    const program = byNumber.get(call.program);
    if (program === undefined) return (reply) => writeAcceptedReply(reply, xid, "PROG_UNAVAIL");
    if (call.version !== program.version) {
      return (reply) => writeVersionMismatch(reply, xid, program.version, program.version);
    }
    try {
      const answer = program.call(call, client);
      if (answer === undefined) return (reply) => writeAcceptedReply(reply, xid, "PROC_UNAVAIL");
      if (typeof answer === "function") return success(xid, answer);
      return { encode: answer.encode.then((body) => success(xid, body)), replyBytesMax: answer.replyBytesMax };
    } catch (error) {
      if (!(error instanceof DecodeError)) return refusal(error, client);
      onBadCall(client, error.message);
      return (reply) => writeAcceptedReply(reply, xid, "GARBAGE_ARGS");
    }
  };

  function refusal(error: unknown, client: Ipv4): Encode {
    if (!(error instanceof RpcRefusal)) throw error;
    onBadCall(client, `Cannot accept an RPC call: ${error.message}`);
    return error.encode;
  }
}

function success(xid: number, body: Encode): Encode {
  return (reply) => {
    writeAcceptedReply(reply, xid, "SUCCESS");
    body(reply);
  };
}
