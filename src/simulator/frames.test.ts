import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Ipv4, ipv4FromNumber, type Mac, macFromBytes, parseIpv4, parseMac } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import { decodeFrame, encodeArp, encodeUdp, internetChecksum, MAC_BROADCAST } from "./frames.ts";

const hex = (text: string) => Uint8Array.from(Buffer.from(text.replace(/\s/g, ""), "hex"));
const anyMac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map(macFromBytes);
const anyAddress = fc.integer({ min: 0, max: 0xffffffff }).map(ipv4FromNumber);
const anyPort = fc.integer({ min: 0, max: 65535 });

describe("Ethernet frames", () => {
  it("start as the published capture of a Pi's DISCOVER starts", () => {
    const frame = encodeUdp(
      {
        sourceMac: parseMac("b8:27:eb:01:02:03"),
        from: { address: parseIpv4("0.0.0.0"), port: 68 },
        to: { address: parseIpv4("255.255.255.255"), port: 67 },
        bytes: new Uint8Array(320),
      },
      MAC_BROADCAST,
    );
    const capture =
      "ff ff ff ff ff ff b8 27 eb 01 02 03 08 00 45 00 01 5c 00 00 00 00 80 11 39 92 00 00 00 00 ff ff ff ff 00 44 00 43 01 48 00 00";
    expect(frame.subarray(0, 42)).toEqual(hex(capture));
    expect(frame.length).toBe(362);
  });

  it("carry any UDP datagram unchanged, with or without the padding of short frames", () => {
    fc.assert(
      fc.property(
        anyMac,
        anyMac,
        anyAddress,
        anyAddress,
        anyPort,
        anyPort,
        fc.uint8Array({ maxLength: 1472 }),
        fc.nat(46),
        (sourceMac, destination, source, target, sourcePort, port, bytes, paddingBytes) => {
          const message = {
            sourceMac,
            from: { address: source, port: sourcePort },
            to: { address: target, port },
            bytes,
          };
          const frame = Uint8Array.from([...encodeUdp(message, destination), ...new Uint8Array(paddingBytes)]);
          expect(decodeFrame(frame)).toEqual({ kind: "udp", source: sourceMac, destination, ...message });
        },
      ),
    );
  });

  it("carry ARP requests and replies unchanged", () => {
    fc.assert(
      fc.property(
        anyMac,
        anyMac,
        anyAddress,
        anyAddress,
        fc.constantFrom("request" as const, "reply" as const),
        (senderMac, targetMac, senderAddress, targetAddress, operation) => {
          const message = { operation, senderMac, senderAddress, targetMac, targetAddress };
          expect(decodeFrame(encodeArp(message, targetMac))).toEqual({
            kind: "arp",
            source: senderMac,
            destination: targetMac,
            ...message,
          });
        },
      ),
    );
  });

  it("with a damaged IP header or UDP checksum are refused", () => {
    const frame = encodeUdp(
      {
        sourceMac: MAC_BROADCAST,
        from: { address: "10.0.0.1" as Ipv4, port: 1 },
        to: { address: "10.0.0.2" as Ipv4, port: 2 },
        bytes: hex("0102"),
      },
      MAC_BROADCAST,
    );
    const damagedHeader = frame.slice();
    damagedHeader[22]! ^= 1;
    expect(() => decodeFrame(damagedHeader)).toThrow(/checksum/);
    const wrongSum = frame.slice();
    wrongSum.set([0x12, 0x34], 40);
    expect(() => decodeFrame(wrongSum)).toThrow(/checksum/);
  });

  it("of any content decode or throw DecodeError", () => {
    const valid = encodeUdp(
      {
        sourceMac: "02:00:00:00:00:01" as Mac,
        from: { address: "10.0.0.1" as Ipv4, port: 1 },
        to: { address: "10.0.0.2" as Ipv4, port: 2 },
        bytes: new Uint8Array(20),
      },
      MAC_BROADCAST,
    );
    const damaged = fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { maxLength: 6 }).map((changes) => {
      const frame = valid.slice();
      for (const [at, value] of changes) frame[at] = value;
      return frame;
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 100 }), damaged), fc.nat(80), (bytes, cut) => {
        try {
          decodeFrame(bytes.subarray(0, bytes.length - Math.min(cut, bytes.length)));
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
    );
  });
});

describe("the Internet checksum", () => {
  it("is that of the example in RFC 1071", () => {
    expect(internetChecksum(hex("00 01 f2 03 f4 f5 f6 f7"))).toBe(~0xddf2 & 0xffff);
  });
});
