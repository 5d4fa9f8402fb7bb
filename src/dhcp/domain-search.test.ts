import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DecodeError } from "../bytes/decode-error.ts";
import { decodeDomainNames, encodeDomainNames } from "./domain-search.ts";

const FORMAT = "option 119";
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

describe("a list of domain names", () => {
  it("is written as RFC 3397 section 2 has it, the second name ending where the first does", () => {
    const names = ["eng.apple.com", "marketing.apple.com"];
    expect(hex(encodeDomainNames(names))).toBe("03656e67056170706c6503636f6d00" + "096d61726b6574696e67" + "c004");
    expect(decodeDomainNames(encodeDomainNames(names), FORMAT)).toEqual(names);
  });

  it("is read as it was written, and never larger than without compression", () => {
    const label = fc.string({ unit: fc.constantFrom(..."abc-1"), minLength: 1, maxLength: 63 });
    const name = fc.array(label, { minLength: 1, maxLength: 3 }).map((labels) => labels.join("."));
    fc.assert(
      fc.property(fc.array(name, { maxLength: 20 }), (names) => {
        const bytes = encodeDomainNames(names);
        expect(decodeDomainNames(bytes, FORMAT)).toEqual(names);
        expect(bytes.length).toBeLessThanOrEqual(names.reduce((sum, each) => sum + each.length + 2, 0));
      }),
    );
  });

  it.each([
    ["a name without an end", "0161"],
    ["a label longer than the rest", "056162"],
    ["a length that is none", "4061"],
    ["a pointer to itself", "c000"],
    ["a pointer forward", "c0020000"],
    ["half a pointer", "0161c0"],
    ["pointers in a circle", "0161c0030162c000"],
    ["a name of more than 255 bytes", `${`3f${"61".repeat(63)}`.repeat(4)}00`],
  ])("is refused when there is %s", (_, text) => {
    expect(() => decodeDomainNames(Buffer.from(text, "hex"), FORMAT)).toThrow(DecodeError);
  });

  it("causes DecodeError and nothing else, whatever the bytes", () => {
    const byte = fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 2, 3, 0xc0));
    fc.assert(
      fc.property(fc.array(byte, { maxLength: 300 }), (bytes) => {
        try {
          for (const name of decodeDomainNames(Uint8Array.from(bytes), FORMAT)) expect(name.length).toBeLessThan(256);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
      { numRuns: 5000 },
    );
  });

  it.each(["a..b", `${"a".repeat(64)}.b`])("cannot be written with the name %s", (name) => {
    expect(() => encodeDomainNames([name])).toThrow(RangeError);
  });
});
