/** What comes as whole Ethernet frames: ARP, what `bramble doctor` hears of switches and DHCP servers, and what a virtual Pi hears. */
import { type Ipv4, parseIpv4, parseMac } from "../../src/bytes/addresses.ts";
import { bootOffer } from "../../src/cluster/doctor/boot-offer.ts";
import { decodeBpdu } from "../../src/cluster/doctor/bpdu.ts";
import { decodeDatagramFrame } from "../../src/cluster/doctor/datagram-frame.ts";
import { decodePacket } from "../../src/dhcp/packet.ts";
import { decodeFrame, encodeArp as encodeArpFrame, encodeUdp, MAC_BROADCAST } from "../../src/simulator/frames.ts";
import { decodeArp, encodeArp } from "../../src/system/arp-packet.ts";
import { REPLIES } from "./dhcp-decoders.ts";
import { check, type FuzzedDecoder, hex } from "./fuzzed-decoder.ts";

const MAC = parseMac("dc:a6:32:2e:f8:ed");
const SERVER = parseIpv4("10.0.0.1");
const TRANSACTION = 0x26f30339;

/** Of STP, RSTP, and Cisco's per-VLAN kind. */
const BPDUS = [
  "0180c20000005e32b8aa0001002642420300000000008000 5e32b8aa0000 00000000 8000 5e32b8aa0000 8001 0000 1400 0200 0f00 0000000000000000",
  "0180c20000000cd99611a003002742420300000202 7c1000001c0e8778aa 00004e20 80000cd99611a000 8003 0100 1400 0200 0400 0000000000000000",
  "01000ccccccd001c0e8778aa0032aaaa0300000c010b0000000000 8001001c0e877800 00000000 8001001c0e877800 8004 0000 1400 0200 0f00 000000000200 01000000000000",
].map(hex);

const arp = {
  operation: "reply",
  senderMac: MAC,
  senderAddress: SERVER,
  targetMac: MAC,
  targetAddress: SERVER,
} as const;

const DATAGRAMS = REPLIES.map((bytes) =>
  encodeUdp(
    {
      sourceMac: MAC,
      from: { address: SERVER, port: 67 },
      to: { address: "255.255.255.255" as Ipv4, port: 68 },
      bytes,
    },
    MAC_BROADCAST,
  ),
);
/** A checksum ends most of the damage: these have none but the header's. */
const SHORT_DATAGRAMS = [0, 1, 40].map((lengthBytes) =>
  encodeUdp(
    {
      sourceMac: MAC,
      from: { address: SERVER, port: 69 },
      to: { address: SERVER, port: 40084 },
      bytes: new Uint8Array(lengthBytes),
    },
    MAC,
  ),
);

export const FRAME_DECODERS: readonly FuzzedDecoder[] = [
  { name: "the ARP packet", corpus: [encodeArp(arp)], decode: decodeArp },
  { name: "a switch's BPDU", corpus: BPDUS, decode: decodeBpdu },
  {
    name: "the frame of a DHCP answer, as the doctor hears it",
    corpus: [...DATAGRAMS, ...SHORT_DATAGRAMS],
    decode: (frame) => {
      const datagram = decodeDatagramFrame(frame);
      check((datagram?.bytes.length ?? 0) <= frame.length, "more than came");
      if (datagram?.to.port !== 68) return;
      bootOffer(decodePacket(datagram.bytes), TRANSACTION, { address: datagram.from.address, mac: datagram.sourceMac });
    },
  },
  {
    name: "the doctor's view of an offer",
    corpus: REPLIES,
    decode: (bytes) => bootOffer(decodePacket(bytes), TRANSACTION, { address: SERVER, mac: MAC }),
  },
  {
    name: "the frame that reaches a virtual Pi",
    corpus: [...DATAGRAMS, ...SHORT_DATAGRAMS, encodeArpFrame(arp, MAC)],
    decode: (bytes) => {
      const frame = decodeFrame(bytes);
      if (frame.kind === "udp") check(frame.bytes.length <= bytes.length, "more than came");
    },
  },
];
