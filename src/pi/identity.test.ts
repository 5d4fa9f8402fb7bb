import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseMac } from "../bytes/addresses.ts";
import { type DHCP_QUIRKS, dhcpNeeds } from "./dhcp-quirks.ts";
import { findPiModel, PI_MODELS } from "./models.ts";
import { decodeOption97 } from "./option97.ts";
import { hasRaspberryPiOui, serialTailFromMac } from "./oui.ts";
import { decodeRevision } from "./revision.ts";

const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex.replace(/\s/g, ""), "hex"));

describe("option 97", () => {
  it.each([
    ["the 3B ROM's constant", `00${"44".repeat(16)}`, { form: "rom-3b" }],
    ["a 3B+ ROM", `00${"164c6cb6".repeat(4)}`, { form: "serial", serial: "b66c4c16" }],
    [
      "a Pi 4 with the older byte order",
      "00 52506934 1131a000 322ef8ed 1045155b",
      { form: "magic-4", serial: "5b154510", revision: 0xa03111, model: "4", macTail: "32:2e:f8:ed" },
    ],
    [
      "a Pi 4 with the newer byte order",
      "00 34695052 1431d000 010902f7 3df0cd91",
      { form: "magic-4", serial: "91cdf03d", revision: 0xd03114, model: "4", macTail: "01:09:02:f7" },
    ],
    [
      "a Pi 4 whose release left the address zero",
      "00 52506934 1131a000 00000000 1045155b",
      { form: "magic-4", serial: "5b154510", revision: 0xa03111, model: "4" },
    ],
    [
      // Published without its last three bytes, which are made up here.
      "a Compute Module 4",
      "00 52506934 4031c000 019424f8 e7000010",
      { form: "magic-4", serial: "100000e7", revision: 0xc03140, model: "cm4", macTail: "01:94:24:f8" },
    ],
    [
      "a Pi 4 told to send its serial (DHCP_OPTION97=0), or one of before March 2020",
      `00${"1045155b".repeat(4)}`,
      { form: "serial", serial: "5b154510" },
    ],
    [
      "a Pi 5 with the byte order that was not seen yet",
      "00 52506935 7041c000 67001122 0000000a",
      { form: "magic-5", serial: "0a000000", revision: 0xc04170, model: "5", macTail: "67:00:11:22" },
    ],
    [
      "a board of a model that is not known",
      "00 34695052 f03fd000 010902f7 3df0cd91",
      { form: "magic-4", serial: "91cdf03d", revision: 0xd03ff0, macTail: "01:09:02:f7" },
    ],
    [
      "a Pi 5",
      "00 35695052 7041c000 67001122 0000000a",
      { form: "magic-5", serial: "0a000000", revision: 0xc04170, model: "5", macTail: "67:00:11:22" },
    ],
  ])("reads %s", (_, hex, expected) => {
    expect(decodeOption97(bytes(hex))).toEqual(expected);
  });

  it.each([
    ["a PC's UUID", "00 564d1a2b3c4d5e6f708192a3b4c5d6e7"],
    ["zeros", `00${"00".repeat(16)}`],
    ["all ones", `00${"ff".repeat(16)}`],
    ["another type byte", `01${"164c6cb6".repeat(4)}`],
    ["sixteen bytes", "164c6cb6".repeat(4)],
    ["nothing", ""],
  ])("does not take %s for a Pi", (_, hex) => {
    expect(decodeOption97(bytes(hex))).toBeUndefined();
  });

  describe("with a word of the owner's (DHCP_OPTION97)", () => {
    const body = bytes("00 c0ffee00 1431d000 010902f7 3df0cd91");

    it("is a Pi's when the end of the MAC in it is the sender's", () => {
      expect(decodeOption97(body, parseMac("e4:5f:01:09:02:f7"))).toEqual({
        form: "magic-own",
        serial: "91cdf03d",
        revision: 0xd03114,
        model: "4",
        macTail: "01:09:02:f7",
      });
    });

    // 0x80017590, which an early draft of the documentation named.
    it.each(["80017590", "90750180"])("may be %s", (word) => {
      const draft = bytes(`00 ${word} 1131a000 322ef8ed 1045155b`);
      expect(decodeOption97(draft, parseMac("dc:a6:32:2e:f8:ed"))).toEqual({
        form: "magic-own",
        serial: "5b154510",
        revision: 0xa03111,
        model: "4",
        macTail: "32:2e:f8:ed",
      });
    });

    it.each([
      ["another's", body, parseMac("e4:5f:01:09:02:f8")],
      ["not known", body, undefined],
      [
        "all there is: no model has that revision",
        bytes("00 c0ffee00 ffffffff 010902f7 3df0cd91"),
        parseMac("e4:5f:01:09:02:f7"),
      ],
    ])("is nothing when the sender's is %s", (_, value, mac) => {
      expect(decodeOption97(value, mac)).toBeUndefined();
    });
  });

  it("returns or declines for any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (body) => {
        const identity = decodeOption97(body, parseMac("00:00:00:00:00:00"));
        if (identity?.serial !== undefined) expect(identity.serial).toMatch(/^[0-9a-f]{8}$/);
      }),
    );
  });
});

describe("revision codes", () => {
  it.each([
    [0xa02082, "3b", 1024, "Sony UK"],
    [0xa020d3, "3b+", 1024, "Sony UK"],
    [0xc03111, "4", 4096, "Sony UK"],
    [0xc03112, "4", 4096, "Sony UK"],
    [0xd03114, "4", 8192, "Sony UK"],
    [0xc03130, "400", 4096, "Sony UK"],
    [0xc03140, "cm4", 4096, "Sony UK"],
    [0xc04170, "5", 4096, "Sony UK"],
    [0xd04170, "5", 8192, "Sony UK"],
    [0xd04180, "cm5", 8192, "Sony UK"],
    [0x902120, undefined, 512, "Sony UK"],
  ])("reads %i", (code, model, memoryMebibytes, maker) => {
    const revision = decodeRevision(code);
    expect(revision?.model?.id).toBe(model);
    expect(revision).toMatchObject({ memoryMebibytes, maker, code: code.toString(16) });
  });

  it("declines the old look-up codes", () => {
    expect(decodeRevision(0x0010)).toBeUndefined();
  });
});

describe("models", () => {
  it.each([
    ["4", "4"],
    ["4B", "4"],
    ["Pi 4", "4"],
    ["Raspberry Pi 4 Model B", "4"],
    ["3b", "3b"],
    ["3B+", "3b+"],
    ["3b plus", "3b+"],
    ["Pi5", "5"],
    ["CM4", "cm4"],
    ["400", "400"],
    ["zero2w", undefined],
  ])("finds %s", (text, id) => {
    expect(findPiModel(text)?.id).toBe(id);
  });

  it("have distinct ids, and one model for a board type", () => {
    const ids = PI_MODELS.map((model) => model.id);
    const types = PI_MODELS.flatMap((model) => model.boardTypes);
    expect(new Set(ids).size).toBe(ids.length);
    expect(new Set(types).size).toBe(types.length);
  });
});

describe("DHCP quirks", () => {
  it("are those of the boot ROM for the boards that have it, and none for those with an EEPROM", () => {
    const having = (id: keyof typeof DHCP_QUIRKS) =>
      PI_MODELS.filter(({ dhcpQuirks }) => dhcpQuirks.includes(id)).map((model) => model.id);
    expect(having("needs-frames")).toEqual(["3b", "cm3"]);
    expect(having("no-request")).toEqual(["3b", "3b+", "cm3"]);
    for (const { soc, dhcpQuirks } of PI_MODELS) expect(dhcpQuirks.length > 0).toBe(soc === "bcm2837");
  });

  it.each([
    ["rom-3b", { toMacOnly: true, menuOnly: true, nudgesAtMs: [600, 1200], spacingMs: 20 }],
    ["serial", { toMacOnly: false, menuOnly: true, nudgesAtMs: [], spacingMs: 0 }],
    ["magic-4", undefined],
    ["magic-5", undefined],
    ["magic-own", undefined],
    [undefined, undefined],
  ] as const)("decide how a firmware that sends option 97 as %s is answered", (form, needs) => {
    if (needs) expect(dhcpNeeds(form)).toMatchObject(needs);
    else expect(dhcpNeeds(form)).toBeUndefined();
  });
});

describe("Ethernet addresses", () => {
  it.each(["b8:27:eb", "dc:a6:32", "e4:5f:01", "28:cd:c1", "d8:3a:dd", "2c:cf:67", "88:a2:9e"])(
    "suggest a Raspberry Pi by the prefix %s",
    (prefix) => {
      expect(hasRaspberryPiOui(parseMac(`${prefix}:70:da:b0`))).toBe(true);
    },
  );

  it("of others suggest none", () => {
    expect(hasRaspberryPiOui(parseMac("52:54:00:12:34:56"))).toBe(false);
  });

  it("give the end of the serial on boards up to the 3B+", () => {
    expect(serialTailFromMac(parseMac("b8:27:eb:6c:4c:16"))).toBe("6c4c16");
    expect(serialTailFromMac(parseMac("dc:a6:32:70:da:b0"))).toBeUndefined();
  });
});
