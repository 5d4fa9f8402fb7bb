/** A board that asks for an address and does not get on: what we answered, or why we did not. Most specific first. */
import { isUp } from "../event.ts";
import { type Boards, BRAMBLE, counted, inWords, type NodeCause } from "./cause.ts";
import type { Asking, NodeFacts } from "./facts.ts";

/** Names of the boards, as the reference of firmware behaviour groups them. */
const ROM: Boards = "3B";
const PI_3: Boards = "3B, 3B+, CM3";
const EEPROM: Boards = "4 and 5 families";

/** An answer that was refused to the last DISCOVER or REQUEST. */
const REFUSED_MS = 60_000;
/** DISCOVERs without success after which chance (a lost packet) is ruled out. */
const TRIES = 3;
/** The board takes well under a second from its address to its first file. */
const FIRST_FILE_MS = 8_000;
/** The ROM asks five times, five seconds apart. */
const ROM_TRIES = 5;
const ROM_PAUSE_MS = 12_000;
/** EEPROM boot loaders ask at gaps of 4, 8 and 16 s; then they may look for a card or a USB disk before they ask again. */
const EEPROM_PAUSE_MS = 30_000;
const EEPROM_STOPPED_MS = 90_000;

/** What was answered to each DISCOVER, and is not taken. */
function untaken(asking: Asking | undefined): asking is Asking {
  return asking !== undefined && asking.requests === 0 && asking.discoversAfterOffer >= TRIES - 1;
}

function offersText({ discovers, offers, firstMs, lastMs }: Asking): string {
  const during = lastMs > firstMs ? ` in ${inWords(lastMs - firstMs)}` : "";
  return `${counted(discovers, "DISCOVER")}${during}, ${counted(offers, "OFFER")} sent`;
}

function ignoredFor(
  { asking }: NodeFacts,
  cause: NonNullable<Asking["ignored"]>["cause"],
  nowMs: number,
): string | undefined {
  const ignored = asking?.ignored;
  return ignored?.cause === cause && nowMs - ignored.lastMs < REFUSED_MS ? ignored.reason : undefined;
}

export const DHCP_CAUSES: readonly NodeCause[] = [
  {
    id: "address-pool-empty",
    title: "There is no free address left to give",
    boards: "all",
    sign: "a DISCOVER found every address of `network.range` in use, in the last minute",
    remedy: "Make network.range larger, or give the node an address of its own in the manifest",
    source: BRAMBLE,
    find: (node, { nowMs }) => ignoredFor(node, "range-used-up", nowMs),
  },
  {
    id: "no-address-set-aside",
    title: "The manifest has no address for this node",
    boards: "all",
    sign: "a DISCOVER or REQUEST in server mode, no address for the node and no `network.range`",
    remedy: "Give the node an address in the manifest, or set network.range",
    source: BRAMBLE,
    find: (node, { nowMs }) => ignoredFor(node, "nothing-set-aside", nowMs),
  },
  {
    id: "unknown-relay",
    title: "The node is behind a relay agent of a network that the manifest does not have",
    boards: "all",
    sign: "a DISCOVER with a relay's address (giaddr) that lies in no network of the manifest",
    remedy: "Add the relay agent's network to the manifest, or put the node on a network that it has",
    source: BRAMBLE,
    find: (node, { nowMs }) => ignoredFor(node, "unknown-relay", nowMs),
  },
  {
    id: "dhcp-answer-failed",
    title: "The manager could not answer the node's DISCOVER",
    boards: "all",
    sign: "what must be done before an answer (save the lease, drop an ephemeral root) failed in the last minute",
    remedy: "Look at the message: most often the disk of the state folder is full or read-only",
    source: BRAMBLE,
    find: ({ warnings }, { nowMs }) => recentWarning(warnings, nowMs),
  },
  {
    id: "address-in-use",
    title: "Somebody else uses the node's address",
    boards: "all",
    sign: "the node declined its address, or a machine answered ARP for it, in the last five minutes",
    remedy:
      "Find the machine that has the address and give it another one, or change the node's address in the manifest",
    source: "RFC 2131 section 3.1 (5)",
    find: ({ declined, status }, { nowMs }) =>
      declined && nowMs - declined.ms < 5 * 60_000 && !isUp(status.stage)
        ? `${declined.address ?? "its address"} is answered for by another machine`
        : undefined,
  },
  {
    id: "address-refused",
    title: "The node asks for an address that is not its own, again and again",
    boards: "all",
    sign: "two NAKs without a file request between them",
    remedy:
      "Switch the node off for a minute; if it goes on, look for a second DHCP server that offers it that address",
    source: "RFC 2131 section 4.3.2",
    find: ({ asking }) => (asking && asking.naks >= 2 ? `${asking.naks} REQUESTs were answered with NAK` : undefined),
  },
  {
    id: "other-offer-taken",
    title: "The node took the offer of another DHCP server, and asks for no file",
    boards: "all",
    sign: "server mode, a REQUEST to another server, no file request in 8 s",
    remedy: "Switch the other DHCP server off, or set network.dhcp to proxy and let it give the addresses",
    source: "EE#376",
    find: ({ asking }, { lan, nowMs }) =>
      asking?.requestMs !== undefined &&
      asking.requestedServer !== undefined &&
      lan.responder === "server" &&
      lan.servers.has(asking.requestedServer) &&
      nowMs - asking.requestMs > FIRST_FILE_MS
        ? `it asked ${asking.requestedServer} for its address`
        : undefined,
  },
  {
    id: "relayed-rom",
    title: "A 3B cannot boot through a relay agent",
    boards: ROM,
    sign: "three DISCOVERs of a 3B's ROM with a relay's address",
    remedy: "Put the manager on the board's own network, or a card with only bootcode.bin into the board",
    source: "LX#1638, boot-net",
    find: ({ asking, loader }) =>
      asking?.relay && loader === "rom-3b" && asking.discovers >= TRIES
        ? `${counted(asking.discovers, "DISCOVER")} through the relay ${asking.relay}; its ROM drops answers that were relayed`
        : undefined,
  },
  {
    id: "relayed-old-eeprom",
    title: "The boot loader does not take answers that come through a relay agent",
    boards: "4 family",
    sign: "DISCOVERs of an EEPROM boot loader with a relay's address, offers to two of them not taken",
    remedy: "Update the EEPROM (2020-06-12 or later), or put the manager on the board's own network",
    source: "EE#58",
    find: ({ asking, loader }) =>
      untaken(asking) && asking.relay && loader === "eeprom"
        ? `${offersText(asking)} through the relay ${asking.relay}`
        : undefined,
  },
  {
    id: "rom-offers-cross",
    title: "Several 3Bs were switched on together, and take each other's offers",
    boards: ROM,
    sign: "a 3B's ROM asks again after two offers, each time within 2 s of another 3B's ROM",
    remedy: "Switch the boards on one after the other, or put cards with only bootcode.bin into them",
    source: "FW#1067, FW#1303, FW#986",
    find: ({ asking, loader }) =>
      untaken(asking) && loader === "rom-3b" && asking.together >= TRIES - 1
        ? `${offersText(asking)}; ${asking.together} of its DISCOVERs came within 2 s of another 3B's`
        : undefined,
  },
  {
    id: "rom-gave-up",
    title: "The board's ROM has given up: it asks five times, and then not before it is switched off and on",
    boards: PI_3,
    sign: "five DISCOVERs of a Pi 3's ROM, no file request, 12 s of silence",
    remedy:
      "Take the board's power away and give it back; after a power cut start the boards later than the manager and the switch",
    source: "FW#825, FW#954",
    find: ({ asking, loader, attempt }, { nowMs }) =>
      asking &&
      (loader === "rom-3b" || loader === "bootcode") &&
      attempt.bootcodeLoads === 0 &&
      asking.discovers >= ROM_TRIES &&
      nowMs - asking.lastMs > ROM_PAUSE_MS
        ? `${offersText(asking)}; nothing for ${inWords(nowMs - asking.lastMs)}`
        : undefined,
  },
  {
    id: "tries-over",
    title: "The board stopped asking for an address",
    boards: EEPROM,
    sign: "three DISCOVERs of an EEPROM boot loader or more, then 90 s of silence",
    remedy:
      "Set BOOT_ORDER=0xf21 in the EEPROM (the f means: begin again), or NET_BOOT_MAX_RETRIES=-1; then switch the board off and on",
    source: "EE#687",
    find: ({ asking, loader }, { nowMs }) =>
      asking && loader === "eeprom" && asking.discovers >= TRIES && nowMs - asking.lastMs > EEPROM_STOPPED_MS
        ? `${offersText(asking)}; nothing for ${inWords(nowMs - asking.lastMs)}`
        : undefined,
  },
  {
    id: "rom-takes-no-offer",
    title: "The board's ROM does not take the offers that it is sent",
    boards: ROM,
    sign: "three DISCOVERs of a 3B's ROM, offers to the first two sent, no file request",
    remedy:
      "Check that the port 68 is not blocked and that nothing drops the frames behind the offer; a card with only bootcode.bin in the board helps for good",
    source: "FW#859, FW#862, FW#894",
    find: ({ asking, loader }) => (untaken(asking) && loader === "rom-3b" ? offersText(asking) : undefined),
  },
  {
    id: "second-stage-takes-no-offer",
    title: "bootcode.bin was loaded, but its own search for an address fails",
    boards: PI_3,
    sign: "bootcode.bin was sent; then three DISCOVERs, offers to the first two sent, no further file",
    remedy:
      "Look for a second DHCP server that answers first and differently, and for a switch that takes long to bring the port up",
    source: "FW#1124, FW#764",
    find: ({ asking, attempt }) => (untaken(asking) && attempt.bootcodeLoads > 0 ? offersText(asking) : undefined),
  },
  {
    id: "bootcode-loaded-again",
    title: "bootcode.bin is loaded over and over",
    boards: PI_3,
    sign: "bootcode.bin was sent whole three times, and start.elf was not asked for",
    remedy:
      "Update bootcode.bin in the image (it may be damaged or too old for the board), and check the board's power supply",
    source: "FW#1124",
    find: ({ attempt, restarts }) => {
      const loads = attempt.bootcodeLoads + (attempt.files.has("start.elf") ? 0 : restarts.length);
      return attempt.bootcodeLoads > 0 && loads >= 3 ? `it was sent ${loads} times` : undefined;
    },
  },
  {
    id: "rom-asks-again",
    title: "The board's ROM asks again and again, and for no file",
    boards: PI_3,
    sign: "three DISCOVERs of a 3B+ or of bootcode.bin on a card, offers to the first two sent, no file request",
    remedy:
      "Open UDP ports 67 to 69 in the manager's firewall; in proxy mode check that the router gives addresses. This ROM does not say whether it got an address, so either its offers or its requests for files are lost",
    source: "FW#764, FW#859",
    find: ({ asking, loader, attempt }) =>
      untaken(asking) && loader === "bootcode" && attempt.bootcodeLoads === 0 ? offersText(asking) : undefined,
  },
  {
    id: "proxy-no-address",
    title: "Nobody gives the board an address",
    boards: "all",
    sign: "proxy mode, three DISCOVERs, offers to the first two sent, no REQUEST and no file request",
    remedy:
      "Check that the router's DHCP server runs on this network and has free addresses, or set network.dhcp to server and let Bramble give them",
    source: "EE#376",
    find: ({ asking }, { lan }) => (untaken(asking) && lan.responder === "proxy" ? offersText(asking) : undefined),
  },
  {
    id: "offer-not-taken",
    title: "The board does not take the offers that it is sent",
    boards: "all",
    sign: "server mode, three DISCOVERs, offers to the first two sent, no REQUEST and no file request",
    remedy:
      "Check that nothing between the manager and the board drops UDP from port 67 to port 68 (firewall, switch with DHCP snooping, VLAN), and that the board's port is not blocked by spanning tree",
    source: "EE#58, EE#687",
    find: ({ asking }, { lan }) => (untaken(asking) && lan.responder === "server" ? offersText(asking) : undefined),
  },
  {
    id: "ack-not-heard",
    title: "The board asks for its address again and again, though it was acknowledged",
    boards: EEPROM,
    sign: "three REQUESTs, acknowledgements sent, no file request",
    remedy: "Check that nothing drops UDP from port 67 to port 68, and that no other machine has the board's address",
    source: "EE#82",
    find: ({ asking }) =>
      asking && asking.requests >= TRIES && asking.acks >= TRIES - 1
        ? `${counted(asking.requests, "REQUEST")}, ${counted(asking.acks, "ACK")} sent`
        : undefined,
  },
  {
    id: "no-file-request",
    title: "The board has its address, but asks for no file",
    boards: EEPROM,
    sign: "an ACK (proxy mode: a REQUEST to the router), then 8 s without a file request",
    remedy:
      "Open UDP port 69 in the manager's firewall; check that the board reaches the manager's address (same network, no second address on the interface, no container network), and that TFTP_IP in the EEPROM is not set to another one",
    source: "EE#687",
    find: ({ asking }, { nowMs }) => {
      const sinceMs = asking?.ackMs ?? asking?.requestMs;
      if (asking === undefined || sinceMs === undefined || nowMs - sinceMs <= FIRST_FILE_MS) return undefined;
      return `it got its address ${inWords(nowMs - sinceMs)} ago (${offersText(asking)}) and has asked for nothing since`;
    },
  },
  {
    id: "rom-no-file-request",
    title: "The board's ROM took an offer, but asks for no file",
    boards: PI_3,
    sign: "fewer than five DISCOVERs of a Pi 3, the last one answered, then 12 s of silence",
    remedy:
      "Open UDP port 69 in the manager's firewall, and let the manager answer ARP: the ROM asks for the boot server's MAC, which must be in its own network",
    source: "FW#975, FW#859, FW#745",
    find: ({ asking, loader }, { nowMs }) =>
      asking &&
      asking.offers >= asking.discovers &&
      loader !== "eeprom" &&
      loader !== undefined &&
      nowMs - asking.lastMs > ROM_PAUSE_MS
        ? `${offersText(asking)}; nothing for ${inWords(nowMs - asking.lastMs)}`
        : undefined,
  },
  {
    id: "silent-after-offer",
    title: "The board fell silent after the first offers",
    boards: EEPROM,
    sign: "one or two DISCOVERs that were answered, then 30 s of silence",
    remedy:
      "Check the board's power and cable; if it boots from a card or disk instead, move 2 forward in BOOT_ORDER (0xf21)",
    source: "boot order: UB boot.conf, eeprom-bootloader",
    find: ({ asking, loader }, { nowMs }) =>
      asking &&
      loader === "eeprom" &&
      asking.offers > 0 &&
      asking.requests === 0 &&
      asking.discovers < TRIES &&
      nowMs - asking.lastMs > EEPROM_PAUSE_MS
        ? `${offersText(asking)}; nothing for ${inWords(nowMs - asking.lastMs)}`
        : undefined,
  },
];

function recentWarning(warnings: NodeFacts["warnings"], nowMs: number): string | undefined {
  const warning = warnings.get("dhcp-answer");
  return warning && nowMs - warning.lastMs < REFUSED_MS ? warning.message : undefined;
}
