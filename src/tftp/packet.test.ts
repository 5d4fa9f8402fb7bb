import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DecodeError } from "../bytes/decode-error.ts";
import { decodePacket, encodePacket, type TftpPacket } from "./packet.ts";

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");
const ascii = (text: string) => Buffer.from(text).toString("hex");

/** What Raspberry Pi firmware sends, and what it expects. */
const GOLDEN: [string, string, TftpPacket][] = [
  [
    "the boot ROM's request",
    `0001 ${ascii("bootcode.bin")} 00 ${ascii("octet")} 00`,
    { kind: "readRequest", path: "bootcode.bin", mode: "octet", options: new Map() },
  ],
  [
    "bootcode.bin's request",
    "0001 66 69 78 75 70 2e 64 61 74 00 6f 63 74 65 74 00 74 73 69 7a 65 00 30 00",
    { kind: "readRequest", path: "fixup.dat", mode: "octet", options: new Map([["tsize", "0"]]) },
  ],
  [
    "the EEPROM bootloader's request",
    `0001 ${ascii("deadbeef/start4.elf\0octet\0tsize\x000\0blksize\x001468\0")}`,
    {
      kind: "readRequest",
      path: "deadbeef/start4.elf",
      mode: "octet",
      options: new Map([
        ["tsize", "0"],
        ["blksize", "1468"],
      ]),
    },
  ],
  [
    "the request of an EEPROM before 2022-10",
    `0001 ${ascii("deadbeef/start4.elf\0octet\0tsize\x000\0blksize\x001024\0")}`,
    {
      kind: "readRequest",
      path: "deadbeef/start4.elf",
      mode: "octet",
      options: new Map([
        ["tsize", "0"],
        ["blksize", "1024"],
      ]),
    },
  ],
  [
    "the option acknowledgement for bootcode.bin",
    "00 06 74 73 69 7a 65 00 36 36 36 30 00",
    { kind: "optionAcknowledge", options: new Map([["tsize", "6660"]]) },
  ],
  [
    "the option acknowledgement",
    `0006 ${ascii("tsize\x002263840\0blksize\x001468\0")}`,
    {
      kind: "optionAcknowledge",
      options: new Map([
        ["tsize", "2263840"],
        ["blksize", "1468"],
      ]),
    },
  ],
  ["an acknowledgement", "0004 0000", { kind: "acknowledge", block: 0 }],
  ["data", "0003 0001 aabb", { kind: "data", block: 1, data: hex("aabb") }],
  [
    "the end of a probe",
    "0005 0000 45 61 72 6c 79 20 74 65 72 6d 69 6e 61 74 65 00",
    { kind: "error", code: 0, message: "Early terminate" },
  ],
  [
    "the answer for a missing file",
    "0005 0001 46 69 6c 65 20 6e 6f 74 20 66 6f 75 6e 64 00",
    { kind: "error", code: 1, message: "File not found" },
  ],
];

describe("TFTP packets", () => {
  it.each(GOLDEN)("%s is read and written byte for byte", (_, bytes, packet) => {
    expect(decodePacket(hex(bytes))).toEqual(packet);
    expect(Buffer.from(encodePacket(packet)).toString("hex")).toBe(bytes.replaceAll(" ", ""));
  });

  it("with option names in capitals mean the same", () => {
    const packet = decodePacket(Buffer.from("\0\x01f\0OCTET\0BlkSize\x001024\0"));
    expect(packet).toMatchObject({ mode: "OCTET", options: new Map([["blksize", "1024"]]) });
  });

  it("with an error message that is not ended are understood", () => {
    expect(decodePacket(hex("0005 0000 4869"))).toEqual({ kind: "error", code: 0, message: "Hi" });
  });

  const malformed: [string, Uint8Array, string][] = [
    ["nothing", hex(""), "opcode (byte 0): needs 2 bytes"],
    ["an unknown opcode", hex("0007"), "7 is not from 1 to 6"],
    ["a request without a mode", hex("0001 6100"), "mode (byte 4)"],
    ["a request that is not ended", hex("0001 6161"), "file name (byte 4)"],
    ["an option without a value", Buffer.from("\0\x01f\0octet\0tsize\0"), "option tsize (byte 16)"],
    ["a request too large", Buffer.concat([hex("0001"), Buffer.alloc(1100, 97)]), "1102 bytes; 1024 at most"],
    ["an acknowledgement too short", hex("0004 00"), "block (byte 2): needs 2 bytes"],
  ];
  it.each(malformed)("that are %s are refused", (_, bytes, why) => {
    expect(() => decodePacket(bytes)).toThrow(DecodeError);
    expect(() => decodePacket(bytes)).toThrow(why);
  });

  it("that are written are read as the same", () => {
    const text = fc.string({ maxLength: 40 }).map((value) => value.replaceAll("\0", ""));
    const options = fc
      .dictionary(
        text.map((name) => name.toLowerCase()),
        text,
        { maxKeys: 4 },
      )
      .map((entries) => new Map(Object.entries(entries)));
    const u16 = fc.nat(0xffff);
    const packet: fc.Arbitrary<TftpPacket> = fc.oneof(
      fc.record({ kind: fc.constantFrom("readRequest", "writeRequest"), path: text, mode: text, options }),
      fc.record({ kind: fc.constant("data"), block: u16, data: fc.uint8Array({ maxLength: 1468 }) }),
      fc.record({ kind: fc.constant("acknowledge"), block: u16 }),
      fc.record({ kind: fc.constant("error"), code: u16, message: text }),
      fc.record({ kind: fc.constant("optionAcknowledge"), options }),
    );
    fc.assert(
      fc.property(packet, (value) => {
        expect(decodePacket(encodePacket(value))).toEqual(value);
      }),
    );
  });
});
