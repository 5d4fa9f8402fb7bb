import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Ipv4, parseMac } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import { type DhcpDialect, eepromStage, romStage, secondStage } from "./boot-stages.ts";
import { decodeDhcpAnswer, encodeDiscover, encodeRequest, machineIdentifier } from "./dhcp-client.ts";
import { findVirtualModel, type VirtualBoard } from "./models.ts";

const hex = (text: string) => Uint8Array.from(Buffer.from(text.replace(/[\s|]/g, ""), "hex"));
const OPTIONS_START = 236;

function board(model: string, mac: string, serial: string, revision?: number): VirtualBoard {
  const known = findVirtualModel(model)!;
  return { model: { ...known, revision: revision ?? known.revision }, mac: parseMac(mac), serial };
}

const VENDOR_CLASS =
  "3c 20 50 58 45 43 6c 69 65 6e 74 3a 41 72 63 68 3a 30 30 30 30 30 3a 55 4e 44 49 3a 30 30 32 30 30 31";
const PI_3B_PLUS = board("3b+", "b8:27:eb:6c:4c:16", "b66c4c16");
const SERIAL_FOUR_TIMES = "00 16 4c 6c b6 16 4c 6c b6 16 4c 6c b6 16 4c 6c b6";
const PARAMETERS = {
  rom3b: "37 0c 2b 3c 43 80 81 82 83 84 85 86 87 42",
  rom: "37 0e 2b 3c 43 80 81 82 83 84 85 86 87 42 01 03",
  eeprom: "37 0e 01 03 2b 3c 42 43 80 81 82 83 84 85 86 87",
};

/** Each program's DISCOVER from the cookie to the end, as captures have it; option 97 by model and release. */
const DISCOVERS: [string, VirtualBoard, DhcpDialect, string, string][] = [
  [
    "the ROM of the 3B",
    board("3b", "b8:27:eb:6c:4c:16", "b66c4c16"),
    romStage("3b", {}).dhcp,
    PARAMETERS.rom3b,
    `00 ${"44".repeat(16)}`,
  ],
  ["the ROM of the 3B+", PI_3B_PLUS, romStage("3b+", {}).dhcp, PARAMETERS.rom, SERIAL_FOUR_TIMES],
  ["bootcode.bin", PI_3B_PLUS, secondStage({}).dhcp, PARAMETERS.rom, SERIAL_FOUR_TIMES],
  ...(
    [
      ["4", "e4:5f:01:09:02:f7", "91cdf03d", 0xd03114, undefined, "34 69 50 52 14 31 d0 00 01 09 02 f7 3d f0 cd 91"],
      ["4", "dc:a6:32:2e:f8:ed", "5b154510", 0xa03111, "2021-04-29", "52 50 69 34 11 31 a0 00 32 2e f8 ed 10 45 15 5b"],
      ["4", "dc:a6:32:2e:f8:ed", "5b154510", 0xa03111, "2020-03-04", "52 50 69 34 11 31 a0 00 00 00 00 00 10 45 15 5b"],
      ["4", "dc:a6:32:2e:f8:ed", "5b154510", 0xa03111, "2019-10-16", "10 45 15 5b 10 45 15 5b 10 45 15 5b 10 45 15 5b"],
      ["400", "e4:5f:01:00:00:02", "00000002", undefined, undefined, "34 69 50 52 30 31 c0 00 01 00 00 02 02 00 00 00"],
      [
        "cm4",
        "dc:a6:01:94:24:f8",
        "000000e7",
        undefined,
        "2021-04-29",
        "52 50 69 34 40 31 c0 00 01 94 24 f8 e7 00 00 00",
      ],
      ["5", "2c:cf:67:00:00:01", "00000001", undefined, undefined, "35 69 50 52 70 41 d0 00 67 00 00 01 01 00 00 00"],
      [
        "5",
        "2c:cf:67:00:00:01",
        "00000001",
        undefined,
        "2023-09-13",
        "34 69 50 52 70 41 d0 00 67 00 00 01 01 00 00 00",
      ],
      ["500", "2c:cf:67:00:00:01", "00000001", undefined, undefined, "35 69 50 52 90 41 d0 00 67 00 00 01 01 00 00 00"],
      ["cm5", "2c:cf:67:00:00:01", "00000001", undefined, undefined, "35 69 50 52 80 41 d0 00 67 00 00 01 01 00 00 00"],
      [
        "cm5l",
        "2c:cf:67:00:00:01",
        "00000001",
        undefined,
        undefined,
        "35 69 50 52 a0 41 d0 00 67 00 00 01 01 00 00 00",
      ],
    ] as const
  ).map(([model, mac, serial, revision, released, identifier]): (typeof DISCOVERS)[number] => {
    const pi = board(model, mac, serial, revision);
    const dialect = eepromStage(pi, released === undefined ? {} : { released }).dhcp;
    return [`a Pi ${model} of ${released ?? "today"}`, pi, dialect, PARAMETERS.eeprom, `00 ${identifier}`];
  }),
];

describe("the boot loaders' packets", () => {
  it.each(DISCOVERS)(
    "of %s ask with the DISCOVER of the captures, byte for byte",
    (_, pi, dialect, parameters, identifier) => {
      const packet = encodeDiscover(0x26f30339, pi, dialect);
      const mac = pi.mac.replaceAll(":", "");
      expect(packet.subarray(0, 34)).toEqual(hex(`01 01 06 00 26 f3 03 39 ${"00".repeat(20)} ${mac}`));
      expect(packet.subarray(34, OPTIONS_START).every((byte) => byte === 0)).toBe(true);
      const options = `63 82 53 63 | 35 01 01 | ${parameters} | 5d 02 00 00 | 5e 03 01 02 01 | 61 11 ${identifier}`;
      expect(packet.subarray(OPTIONS_START)).toEqual(hex(`${options} | ${VENDOR_CLASS} | ff`));
      expect(packet.length).toBe(parameters === PARAMETERS.rom3b ? 320 : 322);
    },
  );

  it("say the number of the configuration instead of the release's, or the serial four times", () => {
    const pi = board("4", "e4:5f:01:09:02:f7", "91cdf03d");
    const identifier = (identifierMagic: number) =>
      machineIdentifier(pi, eepromStage(pi, { eeprom: { identifierMagic } }).dhcp.identifier);
    expect(identifier(0x01020304).subarray(0, 5)).toEqual(hex("00 01 02 03 04"));
    expect(identifier(0)).toEqual(hex(`00 ${"3d f0 cd 91".repeat(4)}`));
  });

  it.each([
    [true, "3c 20", 34],
    [false, "ff", 0],
  ])("request with options 53, 50, 54, and 60 if the release has it (%s)", (hasVendorClass, next, bytes) => {
    const request = { mac: PI_3B_PLUS.mac, address: "10.77.0.50" as Ipv4, server: "10.77.0.1" as Ipv4, hasVendorClass };
    const packet = encodeRequest(1, request);
    const expected = hex(`63 82 53 63 | 35 01 03 | 32 04 0a 4d 00 32 | 36 04 0a 4d 00 01 | ${next}`);
    expect(packet.subarray(OPTIONS_START, OPTIONS_START + expected.length)).toEqual(expected);
    expect(packet.length).toBe(OPTIONS_START + 4 + 3 + 6 + 6 + bytes + 1);
  });

  it("leave option 60 out of a REQUEST of January 2020", () => {
    const released = (day: string) => eepromStage(board("4", "e4:5f:01:09:02:f7", "1"), { released: day }).dhcp;
    expect(released("2020-01-17").requestHasVendorClass).toBe(false);
    expect(released("2020-06-15").requestHasVendorClass).toBe(true);
  });
});

/** A BOOTREPLY with these options. */
function answer(options: string, yourAddress = "00000000"): Uint8Array {
  const header = `02 01 06 00 00000007 0000 8000 00000000 ${yourAddress} 00000000 00000000 e45f010902f7 ${"00".repeat(202)}`;
  return Uint8Array.from([...hex(header), ...hex(options)]);
}

describe("reading DHCP answers", () => {
  it("finds the boot menu in the OFFER that dnsmasq sends as a proxy", () => {
    const captured =
      answer(`63 82 53 63 35 01 02 36 04 0a 4d 00 01 3c 09 50 58 45 43 6c 69 65 6e 74 61 11 00 52 50 69 34
      11 31 a0 00 32 2e f8 ed 10 45 15 5b 2b 20 06 01 03 0a 04 00 50 58 45 09 14 00 00 11
      52 61 73 70 62 65 72 72 79 20 50 69 20 42 6f 6f 74 ff ff`);
    expect(decodeDhcpAnswer(captured)).toEqual({
      type: "offer",
      transactionId: 7,
      mac: "e4:5f:01:09:02:f7",
      yourAddress: "0.0.0.0",
      isRelayed: false,
      isPxe: true,
      serverIdentifier: "10.77.0.1",
      bootHints: [{ kind: "menu", raw: expect.stringContaining("PXE"), entries: ["Raspberry Pi Boot"] }],
    });
  });

  it("keeps the order of options 43 and 66", () => {
    const menu = "2b 04 31 32 33 34";
    const name = "42 01 35";
    const kinds = (options: string) =>
      decodeDhcpAnswer(answer(`63825363 35 01 02 ${options} ff`)).bootHints.map(({ kind }) => kind);
    expect(kinds(menu + name)).toEqual(["menu", "server-name"]);
    expect(kinds(name + menu)).toEqual(["server-name", "menu"]);
  });

  it("takes a broken option 43 for one without a menu", () => {
    expect(decodeDhcpAnswer(answer("63825363 35 01 02 2b 04 09 14 00 00 ff")).bootHints).toMatchObject([
      { entries: [] },
    ]);
  });

  it("of a relay says so, by hops or giaddr", () => {
    const packet = answer("63825363 35 01 02 ff");
    expect(decodeDhcpAnswer(packet.with(3, 1)).isRelayed).toBe(true);
    expect(decodeDhcpAnswer(packet.with(27, 1)).isRelayed).toBe(true);
  });

  it("before 2020-01-17 stops at an option 0", () => {
    const padded = answer("63825363 35 01 02 00 36 04 0a 4d 00 01 ff");
    expect(decodeDhcpAnswer(padded).serverIdentifier).toBe("10.77.0.1");
    expect(decodeDhcpAnswer(padded, false).serverIdentifier).toBeUndefined();
  });

  it("of any content gives an answer or throws DecodeError", () => {
    const options = fc
      .uint8Array({ maxLength: 200 })
      .map((bytes) => Uint8Array.from([...answer("63825363"), ...bytes]));
    fc.assert(
      fc.property(fc.oneof(options, fc.uint8Array({ maxLength: 400 })), (bytes) => {
        try {
          decodeDhcpAnswer(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
    );
  });
});
