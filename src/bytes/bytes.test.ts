import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ipv4FromNumber,
  ipv4ToBytes,
  ipv4ToNumber,
  macFromBytes,
  macToBytes,
  parseIpv4,
  parseMac,
} from "./addresses.ts";
import { DecodeError } from "./decode-error.ts";
import { fileNameFromBytes, fileNameFromText, fileNameToBytes, fileNameToText } from "./file-name.ts";
import { Reader } from "./reader.ts";
import { Writer } from "./writer.ts";

describe("Reader", () => {
  it("says what was wanted and what was left when the bytes run out", () => {
    const reader = new Reader(Uint8Array.of(1, 2, 3), "sample packet");
    reader.u16("code");
    expect(() => reader.u32("length")).toThrow(
      new DecodeError("sample packet", "length (byte 2)", "needs 4 bytes, but only 1 are left"),
    );
  });

  it("refuses a negative length instead of reading backwards", () => {
    expect(() => new Reader(new Uint8Array(8), "sample", 4).bytes(-2, "body")).toThrow(DecodeError);
  });

  it("proves that nothing is left over", () => {
    const reader = new Reader(Uint8Array.of(7), "sample");
    expect(() => reader.end()).toThrow("1 bytes are left over");
    reader.u8("value");
    expect(() => reader.end()).not.toThrow();
  });

  it("reads back whatever a Writer wrote, in both byte orders", () => {
    fc.assert(
      fc.property(
        fc.nat(0xff),
        fc.nat(0xffff),
        fc.nat(0xffffffff),
        fc.bigInt(0n, 2n ** 64n - 1n),
        fc.uint8Array({ maxLength: 2000 }),
        (a, b, c, d, tail) => {
          const bytes = new Writer(4).u8(a).u16(b).u16LE(b).u32(c).u32LE(c).u64(d).zeros(3).bytes(tail).finish();
          const reader = new Reader(bytes, "round trip");
          expect([reader.u8("a"), reader.u16("b"), reader.u16LE("b")]).toEqual([a, b, b]);
          expect([reader.u32("c"), reader.u32LE("c"), reader.u64("d")]).toEqual([c, c, d]);
          reader.skip(3, "zeros");
          expect(reader.rest()).toEqual(tail);
          reader.end();
        },
      ),
    );
  });
});

describe("addresses", () => {
  it.each(["DC:A6:32:70:DA:B0", "dc-a6-32-70-da-b0", "dca63270dab0"])("reads the MAC %s", (text) => {
    expect(parseMac(text)).toBe("dc:a6:32:70:da:b0");
  });

  it.each(["", "dc:a6:32:70:da", "dc:a6-32:70:da:b0", "dc:a6:32:70:da:b0:11", "zz:a6:32:70:da:b0"])(
    "refuses the MAC %j",
    (text) => {
      expect(() => parseMac(text)).toThrow(DecodeError);
    },
  );

  it.each(["", "1.2.3", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", "1.2.3.4.5"])("refuses the IPv4 address %j", (text) => {
    expect(() => parseIpv4(text)).toThrow(DecodeError);
  });

  it("keeps every address through bytes and numbers", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), fc.nat(0xffffffff), (mac, number) => {
        expect(macToBytes(macFromBytes(mac))).toEqual(mac);
        const address = ipv4FromNumber(number);
        expect(ipv4ToNumber(parseIpv4(address))).toBe(number);
        expect(new DataView(ipv4ToBytes(address).buffer).getUint32(0)).toBe(number);
      }),
    );
  });
});

describe("file names", () => {
  it("keep any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(new Uint8Array(fileNameToBytes(fileNameFromBytes(bytes)))).toEqual(bytes);
      }),
    );
  });

  it("show UTF-8 text as it was", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        expect(fileNameToText(fileNameFromText(text))).toBe(text);
      }),
    );
  });
});
