import { describe, expect, it } from "vitest";
import { type Ipv4, type Mac, parseMac } from "../bytes/addresses.ts";
import { eepromStage, type OfferRules, romStage, secondStage } from "./boot-stages.ts";
import type { UdpMessage } from "./frames.ts";
import { findVirtualModel } from "./models.ts";
import { addOffer, type Offers, readAnswer } from "./offer-rules.ts";

const OWN = parseMac("b8:27:eb:00:00:01");
const SOURCE = "10.77.0.9" as Ipv4;
const board = { model: findVirtualModel("4")!, mac: OWN, serial: "00000001" };
const RULES = {
  rom: romStage("3b", {}).dhcp.rules,
  second: secondStage({}).dhcp.rules,
  eeprom: eepromStage(board, {}).dhcp.rules,
  old: eepromStage(board, { released: "2019-10-16" }).dhcp.rules,
  other: eepromStage(board, { eeprom: { menuText: "Attic" } }).dhcp.rules,
  fixed: eepromStage(board, { eeprom: { tftpServer: "10.77.0.7" as Ipv4 } }).dhcp.rules,
} satisfies Record<string, OfferRules>;

const option = (code: number, value: string | number[]) => {
  const bytes = typeof value === "string" ? [...Buffer.from(value, "latin1")] : value;
  return [code, bytes.length, ...bytes];
};
const menu = (...texts: string[]) => {
  const items = texts.flatMap((text) => [0, 0, text.length, ...Buffer.from(text)]);
  return option(43, [6, 1, 3, 10, 4, 0, 0x50, 0x58, 0x45, ...option(9, items), 255]);
};
const SERVER_ID = option(54, [10, 77, 0, 1]);
const NAME = "10.77.0.66";

interface Packet {
  options: number[];
  mac?: Mac;
  relay?: number;
}

function offersFrom(rules: OfferRules, { options, mac = OWN, relay = 0 }: Packet): Offers | undefined {
  const header = Buffer.alloc(236);
  header.set([2, 1, 6, 0]);
  header.set([10, 77, 0, 50], 16);
  header.set([0, 0, 0, relay], 24);
  header.set(
    mac.split(":").map((part) => Number.parseInt(part, 16)),
    28,
  );
  const bytes = Buffer.concat([header, Uint8Array.from([0x63, 0x82, 0x53, 0x63, 53, 1, 2, ...options, 255])]);
  const from = { address: SOURCE, port: 67 };
  const to = { address: "10.77.0.50" as Ipv4, port: 68 };
  const datagram: UdpMessage = { kind: "udp", sourceMac: parseMac("02:00:00:00:00:09"), from, to, bytes };
  const answer = readAnswer(datagram, OWN, rules);
  if (answer === undefined) return undefined;
  const offers: Offers = {};
  addOffer(offers, answer, rules);
  return offers;
}

const server = (rules: OfferRules, options: number[]) => offersFrom(rules, { options })?.tftpServer;

describe("where an OFFER says to boot from", () => {
  const SPACES = menu("Raspberry Pi Boot   ");
  const PLAIN = menu("Raspberry Pi Boot");
  it.each<[string, keyof typeof RULES, number[], string | undefined]>([
    [
      "the 3B's ROM takes the menu with three spaces, and boots from its sender",
      "rom",
      [...SERVER_ID, ...SPACES],
      SOURCE,
    ],
    ["the 3B's ROM does not see a menu without them", "rom", [...SERVER_ID, ...PLAIN], undefined],
    ["the 3B's ROM finds the text anywhere in option 43", "rom", option(43, "Raspberry Pi Boot   "), SOURCE],
    ["the 3B's ROM takes option 66", "rom", option(66, NAME), NAME],
    ["the 3B's ROM does not understand option 66 with a final zero", "rom", option(66, `${NAME}\0`), undefined],
    ["of menu and option 66 the last counts for the ROM", "rom", [...SPACES, ...option(66, NAME)], NAME],
    ["of option 66 and menu the last counts for the ROM", "rom", [...option(66, NAME), ...SPACES], SOURCE],
    ["bootcode.bin needs no spaces", "second", PLAIN, SOURCE],
    ["the EEPROM boots from the menu's server, option 54", "eeprom", [...SERVER_ID, ...PLAIN], "10.77.0.1"],
    ["the EEPROM boots from the menu's sender without option 54", "eeprom", PLAIN, SOURCE],
    ["the EEPROM prefers option 66, wherever it stands", "eeprom", [...option(66, NAME), ...SERVER_ID, ...PLAIN], NAME],
    ["the EEPROM forgives a final zero in option 66", "eeprom", option(66, `${NAME}\0`), NAME],
    ["nobody understands option 66 as four bytes", "eeprom", option(66, [10, 77, 0, 1]), undefined],
    ["nobody understands a name in option 66", "eeprom", option(66, "boot"), undefined],
    ["the EEPROM does not take raw text in option 43 for a menu", "eeprom", option(43, "Raspberry Pi Boot"), undefined],
    [
      "the EEPROM looks for the words in the text",
      "eeprom",
      [...SERVER_ID, ...menu("~~Raspberry Pi Boot~~")],
      "10.77.0.1",
    ],
    ["the EEPROM reads all entries", "eeprom", [...SERVER_ID, ...menu("PC", "Raspberry Pi Boot")], "10.77.0.1"],
    [
      "an EEPROM of 2019 reads the first entry only",
      "old",
      [...SERVER_ID, ...menu("PC", "Raspberry Pi Boot")],
      undefined,
    ],
    [
      "an EEPROM with another text in its configuration wants that",
      "other",
      [...SERVER_ID, ...menu("Attic")],
      "10.77.0.1",
    ],
    ["and no longer the usual one", "other", [...SERVER_ID, ...PLAIN], undefined],
    ["an EEPROM with a server in its configuration uses that", "fixed", [...SERVER_ID, ...PLAIN], "10.77.0.7"],
  ])("%s", (_, rules, options, expected) => {
    expect(server(RULES[rules], options)).toBe(expected);
  });
});

/** Option 43 as it was seen, with its code and length. */
const SEEN: [string, string][] = [
  ["of Tinkerbell, 31 bytes", "2b1f 060108 0914 0000 11 526173706265727279205069 20426f6f74 0a04 00 505845"],
  ["of dnsmasq, 32 bytes", "2b20 060103 0a04 00 505845 0914 0000 11 526173706265727279205069 20426f6f74 ff"],
  ["with two spaces, 34 bytes", "2b22 060103 0a04 00 505845 0916 0000 13 526173706265727279205069 20426f6f74 2020 ff"],
  ["with three, 35 bytes", "2b23 060103 0a04 00 505845 0917 0000 14 526173706265727279205069 20426f6f74 202020 ff"],
  [
    "with a list of boot servers before it",
    "2b2c 060103 0807 0000 01 0a4d0007 0a04 00 505845 0917 0000 14 526173706265727279205069 20426f6f74 202020 ff",
  ],
];
const SPACED = new Set(["with three, 35 bytes", "with a list of boot servers before it"]);

describe("option 43", () => {
  it.each(SEEN)("%s: all take it, but the 3B's ROM only with three spaces", (name, text) => {
    const bytes = [...Buffer.from(text.replaceAll(" ", ""), "hex")];
    expect(bytes.length - 2).toBe(bytes[1]);
    expect(server(RULES.eeprom, [...SERVER_ID, ...bytes])).toBe("10.77.0.1");
    expect(server(RULES.old, [...SERVER_ID, ...bytes])).toBe("10.77.0.1");
    expect(server(RULES.second, bytes)).toBe(SOURCE);
    expect(server(RULES.rom, bytes)).toBe(SPACED.has(name) ? SOURCE : undefined);
  });

  it("as the words alone, from a forum: the 3B's ROM takes them, EEPROMs do not", () => {
    const bytes = option(43, [...Buffer.from("52617370626572727920506920426f6f74202020", "hex")]);
    expect(server(RULES.rom, bytes)).toBe(SOURCE);
    expect(server(RULES.eeprom, [...SERVER_ID, ...bytes])).toBeUndefined();
  });

  it("and option 66 of RouterOS, given as 0x31302e31302e392e31: all take it", () => {
    const bytes = option(66, [...Buffer.from("31302e31302e392e31", "hex")]);
    for (const rules of ["rom", "second", "eeprom"] as const) expect(server(RULES[rules], bytes)).toBe("10.10.9.1");
  });
});

describe("which OFFERs are taken", () => {
  const others = { options: [...SERVER_ID], mac: parseMac("b8:27:eb:00:00:02") };
  const relayed = { options: [...SERVER_ID], relay: 1 };
  it.each<[string, keyof typeof RULES, Packet, boolean]>([
    ["the 3B's ROM takes those for other boards", "rom", others, true],
    ["bootcode.bin does not", "second", others, false],
    ["the EEPROM does not", "eeprom", others, false],
    ["the 3B's ROM refuses what came through a relay", "rom", relayed, false],
    ["bootcode.bin takes it", "second", relayed, true],
    ["the EEPROM takes it", "eeprom", relayed, true],
    ["an EEPROM before 2020-06-12 does not", "old", relayed, false],
  ])("%s", (_, rules, packet, taken) => {
    expect(offersFrom(RULES[rules], packet) !== undefined).toBe(taken);
  });

  it("with a bug switched off the ROM behaves", () => {
    const { rules } = romStage("3b", {
      bugs: { ignoresClientAddress: false, refusesRelayed: false, wantsThreeSpaces: false },
    }).dhcp;
    expect(offersFrom(rules, others)).toBeUndefined();
    expect(offersFrom(rules, relayed)).toBeDefined();
    expect(server(rules, menu("Raspberry Pi Boot"))).toBe(SOURCE);
  });
});
