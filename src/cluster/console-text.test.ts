import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CONSOLE_LINE_BYTES_MAX } from "../limits.ts";
import { ConsoleLines, consoleText } from "./console-text.ts";

function linesOf(...datagrams: (string | Buffer)[]): string[] {
  const lines = new ConsoleLines();
  const complete = datagrams.flatMap((each) =>
    lines.take(typeof each === "string" ? Buffer.from(each, "latin1") : each),
  );
  return [...complete, ...lines.end()];
}

describe("console lines", () => {
  it.each<[string, string[], string[]]>([
    ["a record of Linux is one line", ["[    1.5] usb 1-1: new device\n"], ["[    1.5] usb 1-1: new device"]],
    [
      "one datagram may hold several",
      ["NET 10.0.0.2\r\nTFTP_GET start4.elf\r\n"],
      ["NET 10.0.0.2", "TFTP_GET start4.elf"],
    ],
    ["parts of a line are put together", ["RX: 1 ", "TX: 2", "\n"], ["RX: 1 TX: 2"]],
    ["a line without an end is shown all the same", ["Stopping network"], ["Stopping network"]],
    ["empty lines are left out", ["\n\r\n \none\n\n"], ["one"]],
    [
      "the header of the extended format is left out",
      ["6,416,1758426,-,caller=T1;Run /init as init\n"],
      ["Run /init as init"],
    ],
    [
      "fragments of the extended format are put together",
      ["6,416,1758426,-,ncfrag=0/33;the first chunk,", "6,416,1758426,-,ncfrag=16/33;the 2nd chunk.\n"],
      ["the first chunk,the 2nd chunk."],
    ],
    ["a line with commas and a semicolon is no header", ["1,2;3\n"], ["1,2;3"]],
    ["colours are taken out", ["\x1b[1;31mpanic\x1b[0m\tnow\n"], ["panic now"]],
    ["what could move a terminal is shown in hex", ["a\x07b\x9bc\x00\n"], ["a\\x07b\\x9bc\\x00"]],
    ["other character sets are shown in hex", ["caf\xe9\n"], ["caf\\xe9"]],
  ])("%s", (_, datagrams, expected) => {
    expect(linesOf(...datagrams)).toEqual(expected);
  });

  it("gives a line that is too long in parts", () => {
    const parts = linesOf(`${"x".repeat(2 * CONSOLE_LINE_BYTES_MAX + 1)}\n`);
    expect(parts.map((part) => part.length)).toEqual([CONSOLE_LINE_BYTES_MAX, CONSOLE_LINE_BYTES_MAX, 1]);
  });

  it("keeps no more of a line than its limit, whatever comes", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 8 }), (datagrams) => {
        const lines = new ConsoleLines();
        for (const datagram of datagrams) {
          for (const line of lines.take(datagram)) {
            expect(line).toMatch(/^[ -~]+$/);
            expect(line.length).toBeLessThanOrEqual(4 * CONSOLE_LINE_BYTES_MAX);
          }
        }
        expect(lines.end().join("").length).toBeLessThanOrEqual(4 * CONSOLE_LINE_BYTES_MAX);
      }),
    );
  });

  it("says the same however the bytes are cut, but for the extended format's headers", () => {
    const text = fc.stringMatching(/^[a-z\n]{0,200}$/);
    fc.assert(
      fc.property(text, fc.array(fc.nat(200), { maxLength: 5 }), (whole, cuts) => {
        const at = [0, ...cuts.map((cut) => Math.min(cut, whole.length)), whole.length].sort((a, b) => a - b);
        const pieces = at.slice(1).map((end, index) => whole.slice(at[index], end));
        expect(linesOf(...pieces)).toEqual(linesOf(whole));
      }),
    );
  });

  it("shows text that is not in lines as it is", () => {
    expect(consoleText(Buffer.from("Raspberry Pi Boot\xff", "latin1"))).toBe("Raspberry Pi Boot\\xff");
  });
});
