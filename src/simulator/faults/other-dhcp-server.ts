/**
 * Somebody else's DHCP server on the network, with what such servers are known to say to a Pi. It gives addresses from a
 * pool to everybody. Left out: leases that end, refusals, renewing.
 */
import { type Ipv4, ipv4FromNumber, ipv4ToBytes, ipv4ToNumber, type Mac, parseMac } from "../../bytes/addresses.ts";
import { DecodeError } from "../../bytes/decode-error.ts";
import { type DhcpOption, type MessageType, makeOption, OPTIONS, readOption } from "../../dhcp/options.ts";
import { type DhcpPacket, decodePacket, encodePacket, makePacket } from "../../dhcp/packet.ts";
import { pxeMenu } from "../../dhcp/pxe.ts";
import type { Clock, EthernetPort } from "../../ports.ts";
import { NetworkStack } from "../network-stack.ts";

/** How it answers beside an address. */
export type OtherServerAnswer =
  /** A home router. */
  | "address-only"
  /** `siaddr`, which Pis ignore. */
  | "next-server"
  /** Option 66 as four bytes, which Pis do not understand. */
  | "binary-option-66"
  /** Option 66 in ASCII: Pis boot from it. */
  | "option-66"
  /** Takes the Pi for the PC that it says it is: a menu for PCs and `undionly.kpxe`. */
  | "x86-bootfile"
  /** The boot menu without the three spaces that the 3B's ROM wants. */
  | "menu-without-spaces"
  /** The words of the menu as raw text in option 43, which EEPROMs do not read. */
  | "raw-option-43"
  /** The Pi's entry is the menu's second. */
  | "second-menu-entry";

export const OTHER_SERVER_ANSWERS: readonly OtherServerAnswer[] = [
  "address-only",
  "next-server",
  "binary-option-66",
  "option-66",
  "x86-bootfile",
  "menu-without-spaces",
  "raw-option-43",
  "second-menu-entry",
];

export interface OtherServerSettings {
  port: EthernetPort;
  clock: Clock;
  address: Ipv4;
  netmask: Ipv4;
  /** First address of its pool. */
  firstGiven: Ipv4;
  answers: OtherServerAnswer;
  /** Where it says to boot from; its own address if absent. */
  bootServer?: Ipv4;
  /** Servers that ping an address first take a second or more. */
  delayMs?: number;
  /** Offers by broadcast, as many do; else in a frame to the client. */
  broadcasts?: boolean;
}

/** Locally administered, so nobody's. */
const SERVER_MAC = parseMac("02:00:5e:00:00:02");
const LEASE_TIME_S = 3600;
const BOOT_TEXT = "Raspberry Pi Boot";

/** Returns how to switch it off. */
export function startOtherDhcpServer(settings: OtherServerSettings): () => void {
  const { port, clock, address, netmask, delayMs = 0 } = settings;
  const stack = new NetworkStack({ mac: SERVER_MAC, clock, transmit: (frame) => port.send(frame) });
  stack.configure({ address, netmask });
  port.onFrame((frame) => stack.receive(frame));
  const given = new Map<Mac, Ipv4>();
  stack.listen(67, ({ bytes }) => {
    const reply = replyTo(bytes, given, settings);
    if (reply === undefined) return;
    const send = () => sendReply(stack, reply, settings);
    if (delayMs === 0) send();
    else clock.after(delayMs, send);
  });
  return () => void port.close();
}

function replyTo(bytes: Uint8Array, given: Map<Mac, Ipv4>, settings: OtherServerSettings): DhcpPacket | undefined {
  try {
    const request = decodePacket(bytes);
    const message = readOption(request.options, OPTIONS.messageType);
    const chosen = readOption(request.options, OPTIONS.serverIdentifier);
    if (message === "DISCOVER") return answer(request, "OFFER", given, settings);
    return message === "REQUEST" && chosen === settings.address ? answer(request, "ACK", given, settings) : undefined;
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

function answer(
  request: DhcpPacket,
  message: MessageType,
  given: Map<Mac, Ipv4>,
  settings: OtherServerSettings,
): DhcpPacket {
  const { address, netmask, firstGiven, answers, bootServer = address } = settings;
  const yourAddress = given.get(request.mac) ?? ipv4FromNumber(ipv4ToNumber(firstGiven) + given.size);
  given.set(request.mac, yourAddress);
  const boot = bootAnswer(answers, bootServer);
  return makePacket({
    op: "reply",
    transactionId: request.transactionId,
    mac: request.mac,
    flags: request.flags,
    yourAddress,
    ...(boot.nextServer && { nextServer: boot.nextServer }),
    ...(boot.bootFile !== undefined && { bootFile: boot.bootFile }),
    options: [
      makeOption(OPTIONS.messageType, message),
      makeOption(OPTIONS.serverIdentifier, address),
      makeOption(OPTIONS.leaseTimeS, LEASE_TIME_S),
      makeOption(OPTIONS.subnetMask, netmask),
      makeOption(OPTIONS.routers, [address]),
      ...boot.options,
    ],
  });
}

interface BootAnswer {
  options: DhcpOption[];
  nextServer?: Ipv4;
  bootFile?: string;
}

function bootAnswer(answers: OtherServerAnswer, server: Ipv4): BootAnswer {
  const pxe = makeOption(OPTIONS.vendorClass, "PXEClient");
  const menu = (value: Uint8Array) => [pxe, { code: OPTIONS.vendorSpecific.code, value }];
  switch (answers) {
    case "address-only":
      return { options: [] };
    case "next-server":
      return { options: [], nextServer: server, bootFile: "pxelinux.0" };
    case "binary-option-66":
      return { options: [{ code: OPTIONS.tftpServerName.code, value: ipv4ToBytes(server) }], nextServer: server };
    case "option-66":
      return { options: [makeOption(OPTIONS.tftpServerName, server)] };
    case "x86-bootfile": {
      const bootFile = makeOption(OPTIONS.bootFileName, "undionly.kpxe");
      return { options: [...menu(pxeMenu("Boot this PC")), bootFile], nextServer: server, bootFile: "undionly.kpxe" };
    }
    case "menu-without-spaces":
      return { options: menu(pxeMenu(BOOT_TEXT)) };
    case "raw-option-43":
      return { options: menu(Buffer.from(`${BOOT_TEXT}   `)) };
    case "second-menu-entry":
      return { options: menu(menuOf(["PC", `${BOOT_TEXT}   `])) };
  }
}

/** PXE 2.1, sub-options 6, 10, 9 and the end: a menu of several entries. */
function menuOf(texts: readonly string[]): Uint8Array {
  const entries = texts.flatMap((text) => [0, 0, text.length, ...Buffer.from(text, "latin1")]);
  return Uint8Array.from([6, 1, 3, 10, 4, 0, ...Buffer.from("PXE"), 9, entries.length, ...entries, 255]);
}

function sendReply(stack: NetworkStack, reply: DhcpPacket, { broadcasts }: OtherServerSettings): void {
  const bytes = encodePacket(reply);
  if (broadcasts) stack.sendBroadcast({ sourcePort: 67, port: 68, bytes });
  else stack.send({ sourcePort: 67, to: { address: reply.yourAddress, port: 68 }, bytes }, reply.mac);
}
