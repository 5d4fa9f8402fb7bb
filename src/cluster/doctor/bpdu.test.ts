import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DecodeError } from "../../bytes/decode-error.ts";
import { decodeBpdu } from "./bpdu.ts";

/** As Linux's bridge sends it: root itself, port 1, hello 2 s, forward delay 15 s. */
const STP =
  "0180c2000000 5e32b8aa0001 0026 424203 0000 00 00 00 8000 5e32b8aa0000 00000000 8000 5e32b8aa0000 8001 0000 1400 0200 0f00 0000000000000000";
/** IEEE 802.1w: version 2, type 2, flags of a designated port that forwards; root elsewhere, forward delay 4 s. */
const RSTP =
  "0180c2000000 0cd99611a003 0027 424203 0000 02 02 7c 1000 001c0e8778aa 00004e20 8000 0cd99611a000 8003 0100 1400 0200 0400 00 00000000000000";
/** Cisco's PVST+: SNAP header, VLAN 1 in the priority, and a TLV with the VLAN after the BPDU. */
const PVST =
  "01000ccccccd 001c0e8778aa 0032 aaaa03 00000c 010b 0000 00 00 00 8001 001c0e877800 00000000 8001 001c0e877800 8004 0000 1400 0200 0f00 000000000200 01000000000000";
const TOPOLOGY_CHANGE = "0180c2000000 5e32b8aa0001 0007 424203 0000 00 80";

const bytes = (hex: string) => Buffer.from(hex.replaceAll(" ", ""), "hex");

describe("a BPDU", () => {
  it.each([
    ["of STP", STP, { protocol: "STP", forwardDelayS: 15, helloS: 2, port: 1, root: { mac: "5e:32:b8:aa:00:00" } }],
    [
      "of RSTP tells the root and the switch apart",
      RSTP,
      {
        protocol: "RSTP",
        forwardDelayS: 4,
        root: { priority: 0x1000, mac: "00:1c:0e:87:78:aa" },
        bridge: { mac: "0c:d9:96:11:a0:00" },
      },
    ],
    [
      "of Cisco's per-VLAN kind",
      PVST,
      { protocol: "STP", forwardDelayS: 15, port: 4, root: { mac: "00:1c:0e:87:78:00" } },
    ],
  ])("%s", (_, hex, expected) => {
    expect(decodeBpdu(bytes(hex))).toMatchObject(expected);
  });

  it.each([
    ["a topology change notice tells no times", TOPOLOGY_CHANGE],
    ["LLDP has a type, not a length", `0180c200000e 5e32b8aa0001 88cc ${"00".repeat(40)}`],
    ["an IPv4 frame to that group", `0180c2000000 5e32b8aa0001 0800 ${"00".repeat(40)}`],
    ["another LLC protocol", `0180c2000000 5e32b8aa0001 0026 e0e003 ${"00".repeat(35)}`],
    ["another SNAP protocol, as CDP", `01000ccccccd 5e32b8aa0001 0026 aaaa03 00000c 2000 ${"00".repeat(30)}`],
  ])("is none: %s", (_, hex) => {
    expect(decodeBpdu(bytes(hex))).toBeUndefined();
  });

  it("that is cut off is damaged, and nothing else", () => {
    const whole = bytes(STP);
    for (let end = 0; end < 52; end++) expect(() => decodeBpdu(whole.subarray(0, end))).toThrow(DecodeError);
  });

  it("of any bytes throws only DecodeError", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), fc.boolean(), (random, isAddressed) => {
        const frame = isAddressed ? Buffer.concat([bytes(STP).subarray(0, 17), random]) : random;
        try {
          decodeBpdu(frame);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
