import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Ipv4 } from "../bytes/addresses.ts";
import { makeOption, OPTIONS } from "../dhcp/options.ts";
import { encodePacket, makePacket } from "../dhcp/packet.ts";
import { datagramText } from "./packet-text.ts";

const from = { address: "10.77.0.20" as Ipv4, port: 68 };
const to = { address: "10.77.0.1" as Ipv4, port: 67 };
const textOf = (bytes: Uint8Array) => datagramText({ from, to, bytes, lengthBytes: bytes.length });

/** Lines for a terminal: nothing but printable ASCII, and the dots of `printPacket`. */
const SAFE = /^[ -~·…\n]*$/;

// What real packets look like is in test/captures.
describe("a datagram as text", () => {
  it("is something printable, whatever the bytes are", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => SAFE.test(textOf(bytes))));
  });

  it("is something printable for options with any bytes in them", () => {
    const option = fc.record({ code: fc.integer({ min: 1, max: 254 }), value: fc.uint8Array({ maxLength: 40 }) });
    fc.assert(
      fc.property(fc.array(option, { maxLength: 4 }), (options) => {
        const packet = makePacket({ op: "reply", transactionId: 1, mac: "dc:a6:32:00:00:01" as never, options });
        expect(textOf(encodePacket(packet))).toMatch(SAFE);
      }),
    );
  });

  it("says which bytes of a damaged PXE list cannot be read", () => {
    const value = Buffer.from("090500001152", "hex");
    const options = [makeOption(OPTIONS.messageType, "OFFER"), makeOption(OPTIONS.vendorSpecific, value)];
    const packet = makePacket({ op: "reply", transactionId: 1, mac: "dc:a6:32:00:00:01" as never, options });
    expect(textOf(encodePacket(packet))).toContain('(no PXE list: "\\t\\u0005\\u0000\\u0000\\u0011R")');
  });
});
