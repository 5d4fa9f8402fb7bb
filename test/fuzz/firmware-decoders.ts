/** What a virtual Pi makes of DHCP and TFTP packets. Its frames are among the frame decoders. */
import { type Ipv4, parseIpv4, parseMac } from "../../src/bytes/addresses.ts";
import { eepromStage, romStage, secondStage } from "../../src/simulator/boot-stages.ts";
import { bootArguments } from "../../src/simulator/device-tree.ts";
import { decodeDhcpAnswer } from "../../src/simulator/dhcp-client.ts";
import { findVirtualModel } from "../../src/simulator/models.ts";
import { addOffer, readAnswer } from "../../src/simulator/offer-rules.ts";
import { TftpRead } from "../../src/simulator/tftp-client.ts";
import { encodePacket, type TftpPacket } from "../../src/tftp/packet.ts";
import { encodeDeviceTree } from "../device-tree.ts";
import { REPLIES } from "./dhcp-decoders.ts";
import { check, type FuzzedDecoder } from "./fuzzed-decoder.ts";

const MAC = parseMac("dc:a6:32:2e:f8:ed");
const SERVER = parseIpv4("10.0.0.1");
const board = { model: findVirtualModel("4")!, mac: MAC, serial: "5b154510" };
const RULES = [
  romStage("3b", {}).dhcp.rules,
  secondStage({}).dhcp.rules,
  eepromStage(board, {}).dhcp.rules,
  eepromStage(board, { released: "2019-10-16" }).dhcp.rules,
];

function decide(bytes: Uint8Array): void {
  for (const rules of RULES) {
    decodeDhcpAnswer(bytes, rules.toleratesPadding);
    const from = { address: SERVER, port: 67 };
    const to = { address: "255.255.255.255" as Ipv4, port: 68 };
    const answer = readAnswer({ kind: "udp", sourceMac: MAC, from, to, bytes }, MAC, rules);
    if (answer) addOffer({}, answer, rules);
  }
}

const ANSWERS: readonly Uint8Array[] = (
  [
    { kind: "optionAcknowledge", options: new Map([["tsize", "2263840"]]) },
    {
      kind: "optionAcknowledge",
      options: new Map([
        ["tsize", "100"],
        ["blksize", "1024"],
      ]),
    },
    { kind: "data", block: 1, data: new Uint8Array(512) },
    { kind: "data", block: 1, data: new Uint8Array(3) },
    { kind: "error", code: 1, message: "File not found" },
  ] satisfies TftpPacket[]
).map(encodePacket);

/** The packet as the first answer, and again as the second. */
function read(bytes: Uint8Array): void {
  for (const probe of [true, false]) {
    const settings = { path: "config.txt", options: ["tsize", "blksize"], blockBytes: 1468, probe } as const;
    const transfer = new TftpRead({ ...settings, rollover: true, reacknowledges: true });
    transfer.start();
    for (const { send, outcome } of [transfer.onPacket(bytes, 3000), transfer.onPacket(bytes, 3000)]) {
      check((send?.length ?? 0) < 200, "a long answer");
      if (outcome?.kind === "complete") check(outcome.bytes.length <= 2 * bytes.length, "more than came");
    }
  }
}

const TREE = encodeDeviceTree({
  name: "",
  properties: { model: "Raspberry Pi 4" },
  nodes: [{ name: "chosen", properties: { bootargs: "cgroup_disable=memory" } }],
});

export const FIRMWARE_DECODERS: readonly FuzzedDecoder[] = [
  { name: "a virtual Pi's DHCP answer", corpus: REPLIES, decode: decide },
  { name: "a device tree", corpus: [TREE], decode: bootArguments },
  { name: "a virtual Pi's TFTP answer", corpus: ANSWERS, decode: read, takesAll: true },
];
