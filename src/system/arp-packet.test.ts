import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ipv4FromNumber, macFromBytes, parseIpv4, parseMac } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import { decodeArp, encodeArp } from "./arp-packet.ts";

const probe = {
  operation: "request",
  senderMac: parseMac("dc:a6:32:00:00:01"),
  senderAddress: parseIpv4("0.0.0.0"),
  targetMac: parseMac("00:00:00:00:00:00"),
  targetAddress: parseIpv4("192.0.2.9"),
} as const;

describe("an ARP packet", () => {
  it("is written as RFC 826 has it", () => {
    expect(Buffer.from(encodeArp(probe)).toString("hex")).toBe(
      "0001080006040001dca63200000100000000000000000000c0000209",
    );
  });

  it("is read as it was written, with Ethernet's padding behind it", () => {
    const mac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map(macFromBytes);
    const address = fc.nat(0xffffffff).map(ipv4FromNumber);
    const operation = fc.constantFrom("request" as const, "reply" as const);
    const packet = fc.record({
      operation,
      senderMac: mac,
      senderAddress: address,
      targetMac: mac,
      targetAddress: address,
    });
    fc.assert(
      fc.property(packet, fc.nat(18), (each, padding) => {
        expect(decodeArp(Buffer.concat([encodeArp(each), Buffer.alloc(padding)]))).toEqual(each);
      }),
    );
  });

  it.each([
    ["is too short", encodeArp(probe).subarray(0, 27)],
    ["is of another hardware", Buffer.from(encodeArp(probe)).fill(6, 1, 2)],
    ["is neither question nor answer", Buffer.from(encodeArp(probe)).fill(9, 7, 8)],
  ])("is refused when it %s", (_, bytes) => {
    expect(() => decodeArp(bytes)).toThrow(DecodeError);
  });
});
