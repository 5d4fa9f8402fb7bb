import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DecodeError } from "../bytes/decode-error.ts";
import type { FileName } from "../bytes/file-name.ts";
import { XdrReader, XdrWriter } from "./xdr.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const latin1 = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes).toString("latin1") as FileName);

describe("XDR", () => {
  it.each([
    ["a hyper", new XdrWriter().hyper(0x1_0000_0002), "0000000100000002"],
    ["the largest hyper", new XdrWriter().hyper(Number.MAX_SAFE_INTEGER), "001fffffffffffff"],
    ["TRUE and FALSE", new XdrWriter().bool(true).bool(false), "0000000100000000"],
    [
      "opaque data, padded with zeros",
      new XdrWriter().opaque(Uint8Array.of(1, 2, 3, 4, 5)),
      "000000050102030405000000",
    ],
    ["a name of whole words, not padded", new XdrWriter().name("\xe9tc/" as FileName), "00000004e974632f"],
    ["an empty name", new XdrWriter().name("" as FileName), "00000000"],
  ])("encodes %s as RFC 4506 has it", (_, writer, bytes) => {
    expect(hex(writer.finish())).toBe(bytes);
  });

  it("reads back what it wrote", () => {
    const number = fc.maxSafeNat();
    fc.assert(
      fc.property(number, fc.boolean(), fc.uint8Array({ maxLength: 300 }), latin1, (size, flag, bytes, name) => {
        const written = new XdrWriter(1).hyper(size).bool(flag).opaque(bytes).name(name).finish();
        const reader = new XdrReader(written, "test");
        expect([reader.hyper("size"), reader.bool("flag")]).toEqual([size, flag]);
        expect(hex(reader.opaque(300, "bytes"))).toBe(hex(bytes));
        expect(reader.name("name")).toBe(name);
        reader.end();
      }),
    );
  });

  it.each([
    ["a bool of 2", "00000002", (reader: XdrReader) => reader.bool("x")],
    ["opaque data beyond its limit", "00000005 0000000000000000", (reader: XdrReader) => reader.opaque(4, "x")],
    ["opaque data beyond the message", "00000008 00000000", (reader: XdrReader) => reader.opaque(64, "x")],
    ["opaque data without its padding", "00000001 41", (reader: XdrReader) => reader.opaque(64, "x")],
  ])("throws DecodeError for %s", (_, bytes, read) => {
    const reader = new XdrReader(Buffer.from(bytes.replaceAll(" ", ""), "hex"), "test");
    expect(() => read(reader)).toThrow(DecodeError);
  });
});
