/** What a boot program makes of an OFFER: whether it takes it, and where it says to boot from. */
import { IPV4_ANY, type Ipv4, type Mac, parseIpv4 } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import type { OfferRules } from "./boot-stages.ts";
import { type BootHint, type DhcpAnswer, decodeDhcpAnswer } from "./dhcp-client.ts";
import type { UdpMessage } from "./frames.ts";

export interface Answer extends DhcpAnswer {
  sourceMac: Mac;
  source: Ipv4;
}

/** What the OFFERs have told so far: a proxy and the router each bring their half. */
export interface Offers {
  address?: Answer;
  tftpServer?: Ipv4;
}

/** `undefined` for what is broken, or not for this board as far as the program looks. */
export function readAnswer(datagram: UdpMessage, mac: Mac, rules: OfferRules): Answer | undefined {
  try {
    const answer = decodeDhcpAnswer(datagram.bytes, rules.toleratesPadding);
    if (rules.checksClientAddress && answer.mac !== mac) return undefined;
    if (!rules.takesRelayed && answer.isRelayed) return undefined;
    return { ...answer, sourceMac: datagram.sourceMac, source: datagram.from.address };
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

/** The first address counts, and the first boot server. */
export function addOffer(offers: Offers, answer: Answer, rules: OfferRules): void {
  if (answer.yourAddress !== IPV4_ANY) offers.address ??= answer;
  const tftpServer = bootServerOf(answer, rules);
  if (tftpServer !== undefined) offers.tftpServer ??= tftpServer;
}

function bootServerOf(answer: Answer, rules: OfferRules): Ipv4 | undefined {
  if (rules.fixedServer !== undefined) return isBootOffer(answer, rules) ? rules.fixedServer : undefined;
  const servers = answer.bootHints.map((hint) => ({ kind: hint.kind, server: serverOf(hint, answer, rules) }));
  const useful = servers.filter(({ server }) => server !== undefined);
  // The EEPROM prefers option 66; the ROM reads option after option, and the last one stays.
  const named = rules.bootServer === "option-66" ? useful.find(({ kind }) => kind === "server-name") : undefined;
  return (named ?? useful.at(-1))?.server;
}

/** `TFTP_IP` replaces the address, not the need for a boot offer. Assumed. */
function isBootOffer(answer: Answer, rules: OfferRules): boolean {
  return answer.bootHints.some((hint) => serverOf(hint, answer, rules) !== undefined);
}

/** The menu means whoever sent it: to the EEPROM that is option 54, to the ROM the packet's source. */
function serverOf(hint: BootHint, answer: Answer, rules: OfferRules): Ipv4 | undefined {
  if (hint.kind === "server-name") return textAddress(hint.raw, rules.toleratesFinalZero);
  if (!hasMenuText(hint, rules) || (rules.needsVendorClass && !answer.isPxe)) return undefined;
  return rules.menuServer === "server-identifier" ? (answer.serverIdentifier ?? answer.source) : answer.source;
}

function hasMenuText(hint: BootHint & { kind: "menu" }, { menuForm, menuText }: OfferRules): boolean {
  if (menuForm === "anywhere") return hint.raw.includes(menuText);
  const entries = menuForm === "first-entry" ? hint.entries.slice(0, 1) : hint.entries;
  return entries.some((text) => text.includes(menuText));
}

/** A dotted quad in ASCII; four binary bytes and names are not understood. */
function textAddress(raw: string, toleratesFinalZero: boolean): Ipv4 | undefined {
  try {
    return parseIpv4(toleratesFinalZero ? raw.replace(/\0+$/, "") : raw);
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}
