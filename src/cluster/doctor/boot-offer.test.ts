import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Ipv4, parseMac } from "../../bytes/addresses.ts";
import { DecodeError } from "../../bytes/decode-error.ts";
import { type DhcpOption, makeOption, OPTIONS } from "../../dhcp/options.ts";
import { type DhcpPacket, decodePacket, encodePacket, makePacket } from "../../dhcp/packet.ts";
import { pxeMenu } from "../../dhcp/pxe.ts";
import { decodeOption97 } from "../../pi/option97.ts";
import { ipv4Packet } from "../../system/udp-frame.ts";
import { bootOffer, discover, piGuid, strangersGuid } from "./boot-offer.ts";
import { decodeDatagramFrame } from "./datagram-frame.ts";

const MAC = parseMac("02:11:22:33:44:55");
const SERVER = { address: "192.0.2.1" as Ipv4, mac: parseMac("0c:d9:96:11:a0:00") };
const GUID = Uint8Array.from({ length: 16 }, (_, index) => index * 7);
const XID = 0x12345678;
const TEXT = "Raspberry Pi Boot";

function offer(options: DhcpOption[], fields: Partial<DhcpPacket> = {}): DhcpPacket {
  return makePacket({
    op: "reply",
    transactionId: XID,
    mac: MAC,
    yourAddress: "192.0.2.50" as Ipv4,
    options: [
      makeOption(OPTIONS.messageType, "OFFER"),
      makeOption(OPTIONS.serverIdentifier, SERVER.address),
      ...options,
    ],
    ...fields,
  });
}

const seen = (packet: DhcpPacket) => bootOffer(packet, XID, SERVER);
const vendor = (value: Uint8Array | string) =>
  makeOption(OPTIONS.vendorSpecific, Buffer.from(value as string, "latin1"));

describe("the question", () => {
  it("is as long as a Pi's, and asks for a broadcast answer", () => {
    const packet = discover(XID, MAC, strangersGuid(GUID));
    expect(packet.flags).toBe(0x8000);
    expect(encodePacket(packet).length).toBe(322);
  });

  it("is no Pi's, so that no Bramble takes it for a new board; unless it is to be", () => {
    const mac = parseMac("dc:a6:32:70:da:b0");
    const tail = { form: "magic-4", model: "4", macTail: "32:70:da:b0" };
    expect(decodeOption97(strangersGuid(GUID))).toBeUndefined();
    expect(decodeOption97(piGuid(mac))).toMatchObject(tail);
    expect(decodeOption97(piGuid(mac, "91cdf03d"))).toMatchObject({ ...tail, serial: "91cdf03d" });
  });
});

describe("an offer", () => {
  it.each<[string, DhcpPacket, object]>([
    ["of a plain router", offer([]), { server: "192.0.2.1", address: "192.0.2.50" }],
    ["of a proxy has no address", offer([], { yourAddress: "0.0.0.0" as Ipv4 }), { server: "192.0.2.1" }],
    ["with a PXE menu for Pis", offer([vendor(pxeMenu(TEXT))]), { vendor: { form: "menu", hasPiBoot: true } }],
    ["with the bare words", offer([vendor(`${TEXT}   `)]), { vendor: { form: "text", hasPiBoot: true } }],
    [
      "with a menu for others",
      offer([vendor(pxeMenu("Install Windows"))]),
      { vendor: { form: "other", hasPiBoot: false } },
    ],
    [
      "with option 66 as text, and a NUL after it",
      offer([{ code: 66, value: Buffer.from("192.0.2.7\0") }]),
      { tftpServer: { text: "192.0.2.7" } },
    ],
    [
      "with option 66 as four bytes",
      offer([{ code: 66, value: Uint8Array.of(192, 0, 2, 7) }]),
      { tftpServer: { binary: Uint8Array.of(192, 0, 2, 7) } },
    ],
    [
      "with next-server and a file in the header",
      offer([], { nextServer: "192.0.2.9" as Ipv4, bootFile: "pxelinux.0" }),
      { nextServer: "192.0.2.9", bootFile: "pxelinux.0" },
    ],
  ])("%s", (_, packet, expected) => {
    expect(seen(packet)).toMatchObject(expected);
  });

  it.each([
    ["to another question", offer([], { transactionId: XID + 1 })],
    [
      "that is none: an ACK",
      makePacket({ op: "reply", transactionId: XID, mac: MAC, options: [makeOption(OPTIONS.messageType, "ACK")] }),
    ],
    ["that is a question", offer([], { op: "request" })],
  ])("%s does not count", (_, packet) => {
    expect(seen(packet)).toBeUndefined();
  });

  it("with any option 43 and 66 is read, or is damaged", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.uint8Array({ maxLength: 40 }), (a, b) => {
        const packet = decodePacket(
          encodePacket(
            offer([
              { code: 43, value: a },
              { code: 66, value: b },
            ]),
          ),
        );
        expect(seen(packet)?.server).toBe(SERVER.address);
      }),
    );
  });
});

describe("a frame with a datagram", () => {
  const payload = Buffer.from("hello");
  const from = { address: "192.0.2.1" as Ipv4, port: 67 };
  const to = { address: "255.255.255.255" as Ipv4, port: 68 };
  const header = Buffer.from("ffffffffffff0cd99611a0000800", "hex");
  const frame = Buffer.concat([header, ipv4Packet(from, to, payload), Buffer.alloc(18)]);

  it("is read without its padding", () => {
    const read = decodeDatagramFrame(frame)!;
    expect(read).toMatchObject({ sourceMac: SERVER.mac, from, to });
    expect(Buffer.from(read.bytes)).toEqual(payload);
  });

  it("of any bytes throws only DecodeError", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(40), (random, kept) => {
        try {
          decodeDatagramFrame(Buffer.concat([frame.subarray(0, kept), random]));
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
