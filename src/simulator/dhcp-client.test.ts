import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Ipv4, parseMac } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import { decodeDhcpAnswer, encodeDiscover, encodeRequest, machineIdentifier } from "./dhcp-client.ts";
import { findVirtualModel, type VirtualBoard } from "./models.ts";

const hex = (text: string) => Uint8Array.from(Buffer.from(text.replace(/[\s|]/g, ""), "hex"));
const OPTIONS_START = 236;

function board(model: string, mac: string, serial: string, revision: number): VirtualBoard {
  return { model: { ...findVirtualModel(model)!, revision }, mac: parseMac(mac), serial };
}

describe("the boot loaders' packets", () => {
  const sample = board("4", "e4:5f:01:09:02:f7", "91cdf03d", 0xd03114);

  it("have the option 97 of a captured Pi 4", () => {
    expect(machineIdentifier(sample)).toEqual(hex("00 34 69 50 52 | 14 31 d0 00 | 01 09 02 f7 | 3d f0 cd 91"));
  });

  it("have the magic of the Pi 5 on a Pi 5", () => {
    expect(machineIdentifier(board("5", "2c:cf:67:00:00:01", "00000001", 0xd04170)).subarray(0, 9)).toEqual(
      hex("00 35 69 50 52 70 41 d0 00"),
    );
  });

  it("ask with the DISCOVER of the captures, byte for byte", () => {
    const packet = encodeDiscover(0xd383a6ac, sample);
    expect(packet.length).toBe(322);
    expect(packet.subarray(0, 34)).toEqual(
      hex("01 01 06 00 d3 83 a6 ac 00 00 00 00 | 00000000 00000000 00000000 00000000 | e4 5f 01 09 02 f7"),
    );
    expect(packet.subarray(34, OPTIONS_START).every((byte) => byte === 0)).toBe(true);
    expect(packet.subarray(OPTIONS_START)).toEqual(
      hex(`63 82 53 63 | 35 01 01 | 37 0e 01 03 2b 3c 42 43 80 81 82 83 84 85 86 87 | 5d 02 00 00 | 5e 03 01 02 01 |
        61 11 00 34 69 50 52 14 31 d0 00 01 09 02 f7 3d f0 cd 91 |
        3c 20 50 58 45 43 6c 69 65 6e 74 3a 41 72 63 68 3a 30 30 30 30 30 3a 55 4e 44 49 3a 30 30 32 30 30 31 | ff`),
    );
  });

  it("of a 3B+ carry the serial four times, and ask in another order", () => {
    const packet = encodeDiscover(0x26f30339, board("3b+", "b8:27:eb:6c:4c:16", "b66c4c16", 0xa020d3));
    expect(packet.length).toBe(322);
    expect(packet.subarray(OPTIONS_START)).toEqual(
      hex(`63 82 53 63 | 35 01 01 | 37 0e 2b 3c 43 80 81 82 83 84 85 86 87 42 01 03 | 5d 02 00 00 | 5e 03 01 02 01 |
        61 11 00 16 4c 6c b6 16 4c 6c b6 16 4c 6c b6 16 4c 6c b6 |
        3c 20 50 58 45 43 6c 69 65 6e 74 3a 41 72 63 68 3a 30 30 30 30 30 3a 55 4e 44 49 3a 30 30 32 30 30 31 | ff`),
    );
  });

  it("request with options 53, 50, 54 and 60 only", () => {
    const packet = encodeRequest(1, sample.mac, "10.77.0.50" as Ipv4, "10.77.0.1" as Ipv4);
    expect(packet.subarray(OPTIONS_START, OPTIONS_START + 21)).toEqual(
      hex("63 82 53 63 | 35 01 03 | 32 04 0a 4d 00 32 | 36 04 0a 4d 00 01 | 3c 20"),
    );
    expect(packet.length).toBe(OPTIONS_START + 4 + 3 + 6 + 6 + 34 + 1);
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
      serverIdentifier: "10.77.0.1",
      bootMenu: ["Raspberry Pi Boot"],
    });
  });

  it.each([
    ["understands option 66 as a dotted quad", "42 09 31 30 2e 37 37 2e 30 2e 31", "10.77.0.1"],
    ["forgives a final zero in option 66", "42 0a 31 30 2e 37 37 2e 30 2e 31 00", "10.77.0.1"],
    ["does not understand option 66 as four bytes", "42 04 0a 4d 00 01", undefined],
    ["does not understand a name in option 66", "42 04 62 6f 6f 74", undefined],
  ])("%s", (_, option, expected) => {
    expect(decodeDhcpAnswer(answer(`63825363 35 01 02 ${option} ff`)).tftpServer).toBe(expected);
  });

  it("takes a broken option 43 for one without a menu", () => {
    expect(decodeDhcpAnswer(answer("63825363 35 01 02 2b 04 09 14 00 00 ff")).bootMenu).toEqual([]);
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
