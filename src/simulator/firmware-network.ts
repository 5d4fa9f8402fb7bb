/**
 * The boot loader's way to an address and a TFTP server: DISCOVER, OFFERs of one or two servers, REQUEST, ACK, ARP.
 */
import type { Ipv4, Mac } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import { Reader } from "../bytes/reader.ts";
import type { Clock, Random } from "../ports.ts";
import {
  DHCP_CLIENT_PORT,
  DHCP_SERVER_PORT,
  type DhcpAnswer,
  decodeDhcpAnswer,
  encodeDiscover,
  encodeRequest,
} from "./dhcp-client.ts";
import { type FirmwareEvent, FirmwareFailure } from "./firmware-events.ts";
import type { UdpMessage } from "./frames.ts";
import { Mailbox } from "./mailbox.ts";
import type { VirtualBoard } from "./models.ts";
import type { NetworkStack } from "./network-stack.ts";

const BOOT_MENU_TEXT = "Raspberry Pi Boot";
const NETMASK_FALLBACK = "255.255.255.0" as Ipv4;

/** As the EEPROM boot loader calls them: `DHCP_TIMEOUT` and `DHCP_REQ_TIMEOUT`. */
export interface DhcpTimes {
  dhcpTimeoutMs: number;
  /** Until the first DISCOVER is sent again. */
  dhcpRequestTimeoutMs: number;
  /** What the wait is multiplied with each time. */
  dhcpBackoff: number;
}

export interface NetworkContext {
  stack: NetworkStack;
  clock: Clock;
  random: Random;
  board: VirtualBoard;
  times: DhcpTimes;
  report(event: FirmwareEvent): void;
}

export interface NetworkReady {
  ownAddress: Ipv4;
  tftpServer: Ipv4;
}

interface Answer extends DhcpAnswer {
  sourceMac: Mac;
  source: Ipv4;
}

/** What the OFFERs have told so far: a proxy and the router each bring their half. */
interface Offers {
  address?: Answer;
  bootServer?: { answer: Answer; tftpServer: Ipv4 };
}

/** Option 66 goes first; else the server identifier of whoever sent the boot menu; else its source address. */
function bootServerOf(answer: Answer): Ipv4 | undefined {
  if (answer.tftpServer !== undefined) return answer.tftpServer;
  const named = answer.bootMenu.some((text) => text.includes(BOOT_MENU_TEXT));
  return named ? (answer.serverIdentifier ?? answer.source) : undefined;
}

/** Throws `FirmwareFailure` when no address, no boot server or no ARP reply is to be had in time. */
export async function bringNetworkUp(context: NetworkContext): Promise<NetworkReady> {
  const { stack, clock, report } = context;
  const answers = new Mailbox<Answer>(clock);
  const stopListening = stack.listen(DHCP_CLIENT_PORT, (datagram) => {
    const answer = answerFor(context.board.mac, datagram);
    if (answer !== undefined) answers.put(answer);
  });
  try {
    const { address, tftpServer } = await leaseAddress(context, answers);
    const ownAddress = address.yourAddress;
    const netmask = address.netmask ?? NETMASK_FALLBACK;
    const router = address.router;
    stack.configure({ address: ownAddress, netmask, ...(router && { router }) });
    report({ kind: "address", address: ownAddress, netmask, tftpServer, ...(router && { router }) });
    log(context, `NET ${ownAddress} ${netmask} gw ${router ?? "0.0.0.0"} tftp ${tftpServer}`);
    const serverMac = await stack.resolve(tftpServer);
    if (serverMac === undefined) {
      throw new FirmwareFailure(
        "no-arp-reply",
        `Cannot reach the TFTP server ${tftpServer}: nobody answers ARP for it`,
      );
    }
    log(context, `ARP ${tftpServer} ${serverMac}`);
    return { ownAddress, tftpServer };
  } finally {
    stopListening();
  }
}

function answerFor(mac: Mac, datagram: UdpMessage): Answer | undefined {
  try {
    const answer = decodeDhcpAnswer(datagram.bytes);
    if (answer.mac !== mac) return undefined;
    return { ...answer, sourceMac: datagram.sourceMac, source: datagram.from.address };
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

async function leaseAddress(
  context: NetworkContext,
  answers: Mailbox<Answer>,
): Promise<{ address: Answer; tftpServer: Ipv4 }> {
  const deadlineMs = context.clock.monotonicMs() + context.times.dhcpTimeoutMs;
  for (;;) {
    const { transactionId: fixed, sendsRequest } = context.board.model.dhcp;
    const transactionId = fixed === "random" ? new Reader(context.random.bytes(4), "random").u32("xid") : fixed;
    const { address, bootServer } = await collectOffers(context, answers, transactionId, deadlineMs);
    if (!sendsRequest) return { address, tftpServer: bootServer.tftpServer };
    const granted = await requestAddress(context, answers, transactionId, address);
    if (granted !== undefined) return { address: { ...address, ...granted }, tftpServer: bootServer.tftpServer };
    if (context.clock.monotonicMs() >= deadlineMs) {
      const why = `${address.serverIdentifier} offered ${address.yourAddress}, but did not acknowledge it`;
      throw new FirmwareFailure("address-refused", `Cannot get an address: ${why}`);
    }
  }
}

/** Asks again after 4, 8, 16 … seconds, and remembers what earlier OFFERs brought. */
async function collectOffers(
  context: NetworkContext,
  answers: Mailbox<Answer>,
  transactionId: number,
  deadlineMs: number,
): Promise<Required<Offers>> {
  const { stack, clock, board, report } = context;
  const offers: Offers = {};
  let resendMs = context.times.dhcpRequestTimeoutMs;
  while (clock.monotonicMs() < deadlineMs) {
    report({ kind: "dhcp", message: "DISCOVER" });
    const bytes = encodeDiscover(transactionId, board);
    stack.sendBroadcast({ sourcePort: DHCP_CLIENT_PORT, port: DHCP_SERVER_PORT, bytes });
    const untilMs = Math.min(deadlineMs, clock.monotonicMs() + resendMs);
    resendMs *= context.times.dhcpBackoff;
    for (;;) {
      const answer = await answers.take(untilMs);
      if (answer === undefined) break;
      if (answer.transactionId !== transactionId || answer.type !== "offer") continue;
      takeOffer(context, offers, answer);
      if (offers.address !== undefined && offers.bootServer !== undefined) return offers as Required<Offers>;
    }
  }
  throw incompleteOffers(offers, context.times.dhcpTimeoutMs);
}

function takeOffer(context: NetworkContext, offers: Offers, answer: Answer): void {
  const server = answer.serverIdentifier ?? answer.source;
  context.report({ kind: "dhcp", message: "OFFER", server });
  log(context, `DHCP src: ${answer.sourceMac} ${answer.source}`);
  if (answer.yourAddress !== "0.0.0.0") offers.address ??= answer;
  const tftpServer = bootServerOf(answer);
  if (tftpServer !== undefined) offers.bootServer ??= { answer, tftpServer };
}

function incompleteOffers(offers: Offers, timeoutMs: number): FirmwareFailure {
  if (offers.address !== undefined) {
    const why = `${offers.address.source} offers an address, but nobody sends the boot menu "${BOOT_MENU_TEXT}" or option 66`;
    return new FirmwareFailure("no-boot-server", `Cannot find a boot server: ${why}`);
  }
  const heard =
    offers.bootServer === undefined ? "nobody answers DHCP" : "there is a boot server, but nobody gives an address";
  return new FirmwareFailure("no-answer", `Cannot get an address within ${timeoutMs / 1000} s: ${heard}`);
}

/** The ACK, or `undefined` when it was refused or did not come. */
async function requestAddress(
  context: NetworkContext,
  answers: Mailbox<Answer>,
  transactionId: number,
  offer: Answer,
): Promise<Answer | undefined> {
  const { stack, clock, board, report } = context;
  const server = offer.serverIdentifier ?? offer.source;
  report({ kind: "dhcp", message: "REQUEST", server });
  const bytes = encodeRequest(transactionId, board.mac, offer.yourAddress, server);
  stack.sendBroadcast({ sourcePort: DHCP_CLIENT_PORT, port: DHCP_SERVER_PORT, bytes });
  const untilMs = clock.monotonicMs() + context.times.dhcpRequestTimeoutMs;
  for (;;) {
    const answer = await answers.take(untilMs);
    if (answer === undefined) return undefined;
    if (answer.transactionId !== transactionId) continue;
    if (answer.type === "ack" || answer.type === "nak") {
      report({
        kind: "dhcp",
        message: answer.type === "ack" ? "ACK" : "NAK",
        server: answer.serverIdentifier ?? answer.source,
      });
      return answer.type === "ack" ? answer : undefined;
    }
  }
}

function log(context: NetworkContext, text: string): void {
  context.report({ kind: "firmware-log", text });
}
