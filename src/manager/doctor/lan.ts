/** Asks the network who answers DHCP, and listens to what its switches say of spanning tree, at the same time. */
import { IPV4_ANY, IPV4_BROADCAST, type Mac, macFromBytes, macToBytes, parseMac } from "../../bytes/addresses.ts";
import { DecodeError } from "../../bytes/decode-error.ts";
import { type BootOffer, bootOffer, discover, piGuid, strangersGuid } from "../../cluster/doctor/boot-offer.ts";
import { BPDU_DESTINATIONS, type Bpdu, decodeBpdu } from "../../cluster/doctor/bpdu.ts";
import { decodeDatagramFrame } from "../../cluster/doctor/datagram-frame.ts";
import type { DhcpAnswers } from "../../cluster/doctor/facts.ts";
import { decodePacket, encodePacket } from "../../dhcp/packet.ts";
import { systemRandom } from "../../system/random.ts";
import { openRawFrames } from "../../system/raw-frames.ts";
import { ipv4Packet } from "../../system/udp-frame.ts";

export interface LanQuestion {
  interfaceName: string;
  /** Of the interface. */
  mac: Mac;
  /** Whom to ask for; a node with its identity. */
  askAs: "stranger" | "pi" | { node: string; mac: Mac; serial?: string };
  serverPort: number;
}

export interface LanAnswers {
  dhcp: DhcpAnswers;
  spanningTree: { listenedMs: number; bpdus: Bpdu[] };
}

/** Servers that make sure with a ping that an address is free take one second, some two. */
const DHCP_WAIT_MS = 3000;
/** Who has not answered the first by then is asked in the interface's own name: some switches drop made-up ones. */
const SECOND_QUESTION_MS = 1200;
/** Twice the time between two BPDUs (2 s), and some. */
const LISTEN_MS = 4500;
const ETHERTYPE_IPV4 = [0x08, 0x00];
/** As many as anybody would want to read about. */
const OFFERS_MAX = 32;
const BPDUS_MAX = 32;

/** Rejects with `BindError`, when frames may not be listened to. */
export async function listenToLan(question: LanQuestion): Promise<LanAnswers> {
  const { askAs } = question;
  const offers: BootOffer[] = [];
  const bpdus: Bpdu[] = [];
  const transactionId = Buffer.from(systemRandom.bytes(4)).readUInt32BE();
  const clientPort = question.serverPort + 1;
  let isAsking = true;
  const take = (frame: Uint8Array) => {
    const bpdu = decodeBpdu(frame);
    if (bpdu) return void (bpdus.length < BPDUS_MAX && bpdus.push(bpdu));
    const datagram = decodeDatagramFrame(frame);
    if (!isAsking || datagram?.to.port !== clientPort || offers.length >= OFFERS_MAX) return;
    const from = { address: datagram.from.address, mac: datagram.sourceMac };
    const offer = bootOffer(decodePacket(datagram.bytes), transactionId, from);
    if (offer) offers.push(offer);
  };
  const frames = openRawFrames(
    question.interfaceName,
    { udpPort: clientPort, groups: BPDU_DESTINATIONS.map(parseMac) },
    (frame) => {
      try {
        take(frame);
      } catch (error) {
        // Others' damaged packets are theirs.
        if (!(error instanceof DecodeError)) throw error;
      }
    },
  );
  try {
    const { mac, guid } = clientOf(askAs);
    frames.send(questionFrame(question, transactionId, mac, guid));
    await after(SECOND_QUESTION_MS);
    // A node's answer, or a Pi's, would say nothing of the manager's own.
    if (offers.length === 0 && askAs === "stranger") {
      frames.send(questionFrame(question, transactionId, question.mac, guid));
    }
    await after(DHCP_WAIT_MS - SECOND_QUESTION_MS);
    isAsking = false;
    await after(LISTEN_MS - DHCP_WAIT_MS);
  } finally {
    frames.close();
  }
  return {
    dhcp: { waitedMs: DHCP_WAIT_MS, askedAs: typeof askAs === "object" ? { node: askAs.node } : askAs, offers },
    spanningTree: { listenedMs: LISTEN_MS, bpdus },
  };
}

/** One that nobody has: locally administered; or, where it is to look like a Pi's, of a prefix of Raspberry Pi's. */
function madeUpMac(asPi: boolean): Mac {
  const bytes = systemRandom.bytes(6);
  bytes.set(asPi ? [0xdc, 0xa6, 0x32] : [0x02]);
  return macFromBytes(bytes);
}

function clientOf(askAs: LanQuestion["askAs"]): { mac: Mac; guid: Uint8Array } {
  if (askAs === "stranger") return { mac: madeUpMac(false), guid: strangersGuid(systemRandom.bytes(16)) };
  const { mac, serial } = askAs === "pi" ? { mac: madeUpMac(true), serial: undefined } : askAs;
  return { mac, guid: piGuid(mac, serial) };
}

/** The frame comes from our own card, whomever it asks for: a switch must not learn a made-up address at this port. */
function questionFrame(
  { mac, serverPort }: LanQuestion,
  transactionId: number,
  client: Mac,
  guid: Uint8Array,
): Uint8Array {
  const packet = encodePacket(discover(transactionId, client, guid));
  const from = { address: IPV4_ANY, port: serverPort + 1 };
  const datagram = ipv4Packet(from, { address: IPV4_BROADCAST, port: serverPort }, packet);
  const header = Buffer.concat([Buffer.alloc(6, 0xff), macToBytes(mac), Uint8Array.from(ETHERTYPE_IPV4)]);
  return Buffer.concat([header, datagram]);
}

function after(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
