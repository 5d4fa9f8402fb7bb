import { describe, expect, it } from "vitest";
import { parseIpv4 } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import { createDispatcher } from "./program.ts";
import { decodeCall } from "./rpc.ts";
import { XdrWriter } from "./xdr.ts";

const hex = (text: string) => Uint8Array.from(Buffer.from(text.replace(/\s+/g, ""), "hex"));
const IGNORED = { onBadCall: () => {}, onWrongVersion: () => {}, onFault: () => {} };
const CLIENT = parseIpv4("192.0.2.9");

/** xid, CALL, RPC 2, NFS 3 GETATTR, AUTH_SYS ("pi", uid 1000, gid 1001, groups 4 and 27), AUTH_NONE verifier. */
const GETATTR_HEADER = `00000abc 00000000 00000002 000186a3 00000003 00000001
  00000001 00000020 00000005 00000002 70690000 000003e8 000003e9 00000002 00000004 0000001b
  00000000 00000000`;

describe("decodeCall", () => {
  it("reads the header and AUTH_SYS credentials of RFC 5531, and stops at the arguments", () => {
    const call = decodeCall(hex(`${GETATTR_HEADER} 0badcafe`));
    expect(call).toMatchObject({ xid: 0xabc, program: 100003, version: 3, procedure: 1 });
    expect(call.credentials).toEqual({ flavor: "AUTH_SYS", uid: 1000, gid: 1001, groups: [4, 27] });
    expect(call.args.u32("args")).toBe(0x0badcafe);
    expect(call.argumentBytes).toEqual(hex("0badcafe"));
  });

  it("takes a call without credentials as nobody's", () => {
    const call = decodeCall(
      hex("01 000000 00000000 00000002 000186a5 00000003 00000000 00000000 00000000 00000000 00000000"),
    );
    expect(call.credentials).toEqual({ flavor: "AUTH_NONE", uid: 65534, gid: 65534, groups: [] });
  });

  it.each([
    ["a truncated header", "00000abc 00000000 00000002 000186a3"],
    ["a reply", "00000abc 00000001 00000000 00000000 00000000 00000000"],
    ["credentials of more than 400 bytes", "00000abc 00000000 00000002 000186a3 00000003 00000001 00000001 00000191"],
    ["credentials longer than the call", "00000abc 00000000 00000002 000186a3 00000003 00000001 00000001 00000190 00"],
  ])("throws DecodeError for %s", (_, bytes) => {
    expect(() => decodeCall(hex(bytes))).toThrow(DecodeError);
  });
});

/** Program 100003 version 3, whose procedure 1 takes one word and returns it. */
const echo = {
  number: 100003,
  name: "NFS",
  version: 3,
  call: (call: ReturnType<typeof decodeCall>) => {
    if (call.procedure !== 1) return undefined;
    const word = call.args.u32("word");
    return (reply: XdrWriter) => reply.u32(word);
  },
};

const AUTH_NONE = "00000000 00000000 00000000 00000000";

/** RFC 5531 section 9, in the order the server checks. */
const REPLIES: [name: string, call: string, reply: string][] = [
  ["SUCCESS", `${GETATTR_HEADER} 00000007`, "00000abc 00000001 00000000 00000000 00000000 00000000 00000007"],
  ["RPC_MISMATCH", "00000abc 00000000 00000003", "00000abc 00000001 00000001 00000000 00000002 00000002"],
  [
    "AUTH_BADCRED for RPCSEC_GSS",
    "00000abc 00000000 00000002 000186a3 00000003 00000001 00000006 00000000 00000000 00000000",
    "00000abc 00000001 00000001 00000001 00000001",
  ],
  [
    "AUTH_BADCRED for 17 groups",
    `00000abc 00000000 00000002 000186a3 00000003 00000001 00000001 00000058 ${"00000000".repeat(4)} 00000011 ${"00000000".repeat(17)} 00000000 00000000`,
    "00000abc 00000001 00000001 00000001 00000001",
  ],
  [
    "PROG_UNAVAIL",
    `00000abc 00000000 00000002 000186a4 00000003 00000001 ${AUTH_NONE}`,
    "00000abc 00000001 00000000 00000000 00000000 00000001",
  ],
  [
    "PROG_MISMATCH for version 4",
    `00000abc 00000000 00000002 000186a3 00000004 00000001 ${AUTH_NONE}`,
    "00000abc 00000001 00000000 00000000 00000000 00000002 00000003 00000003",
  ],
  [
    "PROC_UNAVAIL",
    `00000abc 00000000 00000002 000186a3 00000003 00000016 ${AUTH_NONE}`,
    "00000abc 00000001 00000000 00000000 00000000 00000003",
  ],
  [
    "GARBAGE_ARGS",
    `00000abc 00000000 00000002 000186a3 00000003 00000001 ${AUTH_NONE} 0000`,
    "00000abc 00000001 00000000 00000000 00000000 00000004",
  ],
];

describe("createDispatcher", () => {
  it.each(REPLIES)("answers %s as RFC 5531 has it", (_, call, reply) => {
    const answer = createDispatcher([echo], IGNORED)(hex(call), CLIENT);
    if (typeof answer !== "function") throw new Error("Cannot check an answer that is not there at once");
    const writer = new XdrWriter();
    answer(writer);
    expect(Buffer.from(writer.finish()).toString("hex")).toBe(reply.replace(/\s+/g, ""));
  });

  it("reports a version that nobody serves", () => {
    const versions: string[] = [];
    const dispatch = createDispatcher([echo], {
      ...IGNORED,
      onWrongVersion: (client, program, version) => versions.push(`${client}: ${program} ${version}`),
    });
    dispatch(hex("00000abc 00000000 00000002 000186a3 00000004 00000001 00000000 00000000 00000000 00000000"), CLIENT);
    expect(versions).toEqual([`${CLIENT}: NFS 4`]);
  });

  it("reports calls it refuses", () => {
    const reasons: string[] = [];
    const dispatch = createDispatcher([echo], {
      ...IGNORED,
      onBadCall: (client, reason) => reasons.push(`${client}: ${reason}`),
    });
    dispatch(hex(`${GETATTR_HEADER} 0000`), CLIENT);
    dispatch(hex("00000abc 00000000 00000003"), CLIENT);
    expect(reasons).toEqual([
      "192.0.2.9: Cannot read RPC call at word (byte 72): needs 4 bytes, but only 2 are left",
      "192.0.2.9: Cannot accept an RPC call: RPC version 3",
    ]);
  });
});
