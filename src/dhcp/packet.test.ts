import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ipv4FromNumber, macFromBytes, parseIpv4, parseMac } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import { leaseResponder } from "./lease.ts";
import { makeOption, OPTIONS, printOption, readOption } from "./options.ts";
import { type DhcpPacket, decodePacket, encodePacket, makePacket, printPacket } from "./packet.ts";
import { type DhcpClient, readClientFacts } from "./policy.ts";

const hex = (text: string) => Buffer.from(text.replace(/[\s|]/g, ""), "hex");
const VENDOR_CLASS = Buffer.from("PXEClient:Arch:00000:UNDI:002001").toString("hex");

/** Option areas of a DISCOVER, magic cookie to end, as each firmware sends them. */
const DISCOVERS = {
  "Pi 3B boot ROM": {
    length: 320,
    bytes: `63825363 350101 370c2b3c438081828384858687 42 5d020000 5e03010201
            6111 00 44444444444444444444444444444444 3c20${VENDOR_CLASS} ff`,
    guid: "0044444444444444444444444444444444",
  },
  "Pi 3B+ boot ROM": {
    length: 322,
    bytes: `63825363 350101 370e2b3c438081828384858687420103 5d020000 5e03010201
            6111 00 164c6cb6164c6cb6164c6cb6164c6cb6 3c20${VENDOR_CLASS} ff`,
    guid: "00164c6cb6164c6cb6164c6cb6164c6cb6",
  },
  "Pi 4 EEPROM bootloader": {
    length: 322,
    bytes: `63825363 350101 370e01032b3c42438081828384858687 5d020000 5e03010201
            6111 00 52506934 1131a000 322ef8ed 1045155b 3c20${VENDOR_CLASS} ff`,
    guid: "00525069341131a000322ef8ed1045155b",
  },
};

/** The fixed header all of them share: op 1, Ethernet, no flags, nothing but xid and chaddr. */
function discoverHeader(xid: string, mac: string): Buffer {
  const header = Buffer.alloc(236);
  hex(`01010600${xid}`).copy(header);
  hex(mac.replaceAll(":", "")).copy(header, 28);
  return header;
}

describe("the DISCOVER of a Raspberry Pi", () => {
  for (const [firmware, { bytes, length, guid }] of Object.entries(DISCOVERS)) {
    const datagram = Buffer.concat([discoverHeader("26f30339", "b8:27:eb:6c:4c:16"), hex(bytes)]);

    it(`of the ${firmware} is read`, () => {
      expect(datagram.length).toBe(length);
      const packet = decodePacket(datagram);
      expect(packet).toMatchObject({ op: "request", transactionId: 0x26f30339, flags: 0, mac: "b8:27:eb:6c:4c:16" });
      expect(readOption(packet.options, OPTIONS.messageType)).toBe("DISCOVER");
      expect(readOption(packet.options, OPTIONS.vendorClass)).toBe("PXEClient:Arch:00000:UNDI:002001");
      expect(Buffer.from(readOption(packet.options, OPTIONS.clientGuid)!).toString("hex")).toBe(guid);
    });

    it(`of the ${firmware} is written back byte for byte`, () => {
      expect(Buffer.from(encodePacket(decodePacket(datagram))).toString("hex")).toBe(datagram.toString("hex"));
    });
  }

  it("is printed for people", () => {
    const datagram = Buffer.concat([
      discoverHeader("0263d70c", "dc:a6:32:2e:f8:ed"),
      hex(DISCOVERS["Pi 4 EEPROM bootloader"].bytes),
    ]);
    expect(printPacket(decodePacket(datagram)).split("\n")).toEqual([
      "request dc:a6:32:2e:f8:ed xid 0263d70c flags 0000",
      "  53 message type: DISCOVER",
      "  55 parameter request list: 01 03 2b 3c 42 43 80 81 82 83 84 85 86 87",
      "  93 client architecture: 00 00",
      "  94 client network interface: 01 02 01",
      "  97 client GUID: 00 52 50 69 34 11 31 a0 00 32 2e f8 ed 10 45 15 5b",
      '  60 vendor class: "PXEClient:Arch:00000:UNDI:002001"',
    ]);
  });
});

/** Option 97 of other firmware than that of the DISCOVERs above, as seen on the wire. */
const GUIDS = {
  "a Pi 4 of April 2021": "00 52506934 1131a000 322ef8ed 1045155b",
  "a CM4": "00 52506934 4031c000 019424f8 e7000000",
  "a Pi 4 of October 2021": "00 34695052 1431d000 010902f7 3df0cd91",
  "a Pi 5": "00 35695052 7041d000 01020304 10325476",
};

describe("option 97 of", () => {
  it.each(Object.entries(GUIDS))("%s passes unchanged", (_, guid) => {
    const area = `63825363 350101 6111 ${guid} 3c20${VENDOR_CLASS} ff`;
    const datagram = Buffer.concat([discoverHeader("0263d70c", "dc:a6:32:2e:f8:ed"), hex(area)]);
    const padded = Buffer.concat([datagram, Buffer.alloc(Math.max(0, 300 - datagram.length))]);
    const packet = decodePacket(padded);
    expect(Buffer.from(readOption(packet.options, OPTIONS.clientGuid)!)).toEqual(hex(guid));
    expect(Buffer.from(encodePacket(packet))).toEqual(padded);
  });
});

describe("the answer of the server to a Pi 4", () => {
  const discover = decodePacket(
    Buffer.concat([discoverHeader("0263d70c", "dc:a6:32:2e:f8:ed"), hex(DISCOVERS["Pi 4 EEPROM bootloader"].bytes)]),
  );
  const respond = leaseResponder(
    {
      mode: "server",
      serverAddress: parseIpv4("10.77.0.1"),
      subnetMask: parseIpv4("255.255.255.0"),
      routers: [parseIpv4("10.77.0.254")],
      dnsServers: [parseIpv4("10.77.0.53")],
      leaseTimeS: 3600,
    },
    { isReserved: () => false, isNode: () => true },
    [],
  );
  const client: DhcpClient = { kind: "pi", node: "node1", reservedAddress: parseIpv4("10.77.0.148") };
  const tail = `3604 0a4d0001 3304 ffffffff 0104 ffffff00 0304 0a4d00fe 0604 0a4d0035 3c09 505845436c69656e74
    6111 00 52506934 1131a000 322ef8ed 1045155b
    2b23 060103 0a0400505845 0917 0000 14 526173706265727279205069 20426f6f74 202020 ff
    4209 31302e37372e302e31 ff`;

  it.each([
    ["OFFER", "DISCOVER", "350102"],
    ["ACK", "REQUEST", "350105"],
  ] as const)("%s is written byte for byte", (_, message, type) => {
    const options = [makeOption(OPTIONS.messageType, message), ...discover.options.slice(1)];
    const decision = respond(
      { ...discover, options },
      readClientFacts({ ...discover, options }, message),
      client,
      1000,
    );
    if (decision.kind !== "reply") throw new Error(decision.reason);
    const bytes = Buffer.from(encodePacket(decision.reply));
    const head = Buffer.alloc(236);
    // op 2, Ethernet, xid as asked, no flags; yiaddr and siaddr; chaddr.
    hex("020106000263d70c").copy(head);
    hex("0a4d0094 0a4d0001").copy(head, 16);
    hex("dca6322ef8ed").copy(head, 28);
    expect(bytes.toString("hex")).toBe(Buffer.concat([head, hex(`63825363 ${type} ${tail}`)]).toString("hex"));
  });
});

describe("options", () => {
  const base = () => makePacket({ op: "reply", transactionId: 1, mac: parseMac("dc:a6:32:00:00:01") });

  it("over 255 bytes are split and joined again", () => {
    const value = Uint8Array.from({ length: 600 }, (_, i) => i & 0xff);
    const bytes = encodePacket({ ...base(), options: [{ code: 224, value }] });
    expect([bytes[240], bytes[241], bytes[497], bytes[498], bytes[754], bytes[755]]).toEqual([
      224, 255, 224, 255, 224, 90,
    ]);
    expect(decodePacket(bytes).options).toEqual([{ code: 224, value: Buffer.from(value) }]);
  });

  it("are read from the file and name fields where option 52 says so", () => {
    const bytes = Buffer.from(encodePacket({ ...base(), options: [makeOption(OPTIONS.overload, 3)] }));
    hex("3604c0000201 ff").copy(bytes, 108);
    hex("0c026869 ff").copy(bytes, 44);
    const packet = decodePacket(bytes);
    expect(readOption(packet.options, OPTIONS.serverIdentifier)).toBe("192.0.2.1");
    expect(readOption(packet.options, OPTIONS.hostName)).toBe("hi");
    expect(packet).toMatchObject({ serverName: "", bootFile: "" });
  });

  it("of the relay agent come last", () => {
    const relay = { code: 82, value: hex("0101ff") };
    const bytes = encodePacket({ ...base(), options: [relay, makeOption(OPTIONS.messageType, "OFFER")] });
    expect(Buffer.from(bytes.subarray(240, 249)).toString("hex")).toBe("35010252030101ffff");
  });

  it("that nobody knows survive, between pads and without an end", () => {
    const bytes = Buffer.concat([encodePacket(base()).subarray(0, 240), hex("00 00 fa03010203 00")]);
    expect(decodePacket(bytes).options).toEqual([{ code: 250, value: hex("010203") }]);
  });

  it("of the wrong size are refused when read, and printed as bytes", () => {
    const options = [{ code: 54, value: hex("c00002") }];
    expect(() => readOption(options, OPTIONS.serverIdentifier)).toThrow(
      "Cannot read DHCP option at 54 (server identifier): 3 bytes instead of 4",
    );
    expect(printOption(options[0]!)).toBe("54 server identifier: c0 00 02 (malformed)");
  });
});

describe("what is not a DHCP packet", () => {
  const good = encodePacket(makePacket({ op: "request", transactionId: 1, mac: parseMac("dc:a6:32:00:00:01") }));
  const changed = (at: number, value: number) => {
    const bytes = Uint8Array.from(good);
    bytes[at] = value;
    return bytes;
  };
  const cases: [string, Uint8Array, string][] = [
    ["nothing", new Uint8Array(0), "header (byte 0): needs 240 bytes, but only 0 are left"],
    ["a wrong cookie", changed(236, 0), "cookie (byte 236)"],
    ["a network that is not Ethernet", changed(1, 6), "hardwareType (byte 1): 6 instead of 1"],
    ["an op of 3", changed(0, 3), "op (byte 0): 3 is neither 1 nor 2"],
    ["an option past the end", Uint8Array.from([...good.subarray(0, 240), 53, 9, 1]), "option 53 (byte 242)"],
    ["a datagram too large", new Uint8Array(1501), "1501 bytes; 1500 at most"],
  ];
  it.each(cases)("%s", (_, bytes, why) => {
    expect(() => decodePacket(bytes)).toThrow(DecodeError);
    expect(() => decodePacket(bytes)).toThrow(why);
  });

  it("causes DecodeError and nothing else, whatever the bytes", () => {
    // Half of them behind a good header, where the options are.
    const options = fc.uint8Array({ maxLength: 300 }).map((tail) => Buffer.concat([good.subarray(0, 240), tail]));
    const flipped = fc
      .tuple(fc.nat(good.length - 1), fc.integer({ min: 0, max: 255 }))
      .map(([at, value]) => changed(at, value));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 600 }), options, flipped), (bytes) => {
        try {
          printPacket(decodePacket(bytes));
        } catch (error) {
          if (!(error instanceof DecodeError)) throw error;
        }
      }),
      { numRuns: 20_000 },
    );
  }, 60_000);
});

describe("encode and decode", () => {
  const address = fc.nat(0xffffffff).map(ipv4FromNumber);
  const fieldText = (length: number) =>
    fc.uint8Array({ maxLength: length, min: 1 }).map((bytes) => Buffer.from(bytes).toString("latin1"));
  const option = fc.record({
    code: fc.integer({ min: 1, max: 254 }).filter((code) => code !== OPTIONS.overload.code),
    value: fc.uint8Array({ maxLength: 280 }).map((bytes) => Buffer.from(bytes)),
  });
  const packet: fc.Arbitrary<DhcpPacket> = fc.record({
    op: fc.constantFrom("request", "reply"),
    hops: fc.nat(255),
    transactionId: fc.nat(0xffffffff),
    elapsedS: fc.nat(0xffff),
    flags: fc.nat(0xffff),
    clientAddress: address,
    yourAddress: address,
    nextServer: address,
    relayAddress: address,
    mac: fc.uint8Array({ minLength: 6, maxLength: 6 }).map(macFromBytes),
    serverName: fieldText(64),
    bootFile: fieldText(128),
    options: fc
      .uniqueArray(option, { selector: ({ code }) => code, maxLength: 4 })
      .map((options) => options.toSorted((a, b) => Number(a.code === 82) - Number(b.code === 82))),
  });

  it("are each other's inverse", () => {
    fc.assert(
      fc.property(packet, (value) => {
        const decoded = decodePacket(Uint8Array.from(encodePacket(value)));
        const plain = ({ options, ...header }: DhcpPacket) => ({
          ...header,
          options: options.map((o) => [o.code, Buffer.from(o.value).toString("hex")]),
        });
        expect(plain(decoded)).toEqual(plain(value));
      }),
      { numRuns: 2_000 },
    );
  });

  it("refuse to write what does not fit", () => {
    const base = makePacket({ op: "reply", transactionId: 1, mac: parseMac("dc:a6:32:00:00:01") });
    expect(() => encodePacket({ ...base, bootFile: "x".repeat(129) })).toThrow("bootFile: 1 bytes too long");
    expect(() => encodePacket({ ...base, options: [{ code: 43, value: new Uint8Array(1400) }] })).toThrow("at most");
    expect(readOption([makeOption(OPTIONS.routers, [parseIpv4("192.0.2.1")])], OPTIONS.routers)).toEqual(["192.0.2.1"]);
  });
});
