/**
 * The way to an address and a TFTP server of the EEPROM boot loader and of bootcode.bin: DISCOVER, OFFERs of one or two
 * servers, REQUEST and ACK where the program sends one, ARP. The boot ROM's way is in rom.ts.
 */
import type { Ipv4 } from "../bytes/addresses.ts";
import { Reader } from "../bytes/reader.ts";
import type { Clock, Random } from "../ports.ts";
import type { BootStage } from "./boot-stages.ts";
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT, encodeDiscover, encodeRequest } from "./dhcp-client.ts";
import { type FirmwareEvent, FirmwareFailure } from "./firmware-events.ts";
import { Mailbox } from "./mailbox.ts";
import type { VirtualBoard } from "./models.ts";
import type { NetworkStack } from "./network-stack.ts";
import { type Answer, addOffer, type Offers, readAnswer } from "./offer-rules.ts";

const NETMASK_FALLBACK = "255.255.255.0" as Ipv4;
/** Everybody is a neighbour. */
const NO_NETMASK = "0.0.0.0" as Ipv4;

export interface NetworkContext {
  stack: NetworkStack;
  clock: Clock;
  random: Random;
  board: VirtualBoard;
  stage: BootStage;
  report(event: FirmwareEvent): void;
}

export interface NetworkReady {
  ownAddress: Ipv4;
  tftpServer: Ipv4;
}

/** Throws `FirmwareFailure` when no address, no boot server or no ARP reply is to be had in time. */
export async function bringNetworkUp(context: NetworkContext): Promise<NetworkReady> {
  const { clock, stage } = context;
  const answers = new Mailbox<Answer>(clock);
  const stopListening = listenForAnswers(context, (answer) => answers.put(answer));
  try {
    const deadlineMs = clock.monotonicMs() + stage.times.dhcpTimeoutMs;
    const { address, tftpServer } = await leaseAddress(context, answers, deadlineMs);
    return await useAddress(context, address, tftpServer);
  } finally {
    stopListening();
  }
}

/** Whatever answer this program would take. Returns how to stop. */
export function listenForAnswers(context: NetworkContext, handler: (answer: Answer) => void): () => void {
  const { stack, board, stage } = context;
  return stack.listen(DHCP_CLIENT_PORT, (datagram) => {
    const answer = readAnswer(datagram, board.mac, stage.dhcp.rules);
    if (answer !== undefined) handler(answer);
  });
}

/** Configures the stack and finds the server's hardware address. Throws `FirmwareFailure`. */
export async function useAddress(context: NetworkContext, answer: Answer, tftpServer: Ipv4): Promise<NetworkReady> {
  const { stack, stage, report } = context;
  const address = answer.yourAddress;
  const netmask = stage.link.asksForNetmask ? (answer.netmask ?? NETMASK_FALLBACK) : NO_NETMASK;
  const router = stage.link.asksForNetmask ? answer.router : undefined;
  stack.configure({ address, netmask, ...(router && { router }) });
  report({ kind: "address", address, netmask, tftpServer, ...(router && { router }) });
  log(context, `NET ${address} ${netmask} gw ${router ?? "0.0.0.0"} tftp ${tftpServer}`);
  const { macWithoutArp } = stage.link;
  const serverMac = await stack.resolve(tftpServer);
  if (serverMac !== undefined) log(context, `ARP ${tftpServer} ${serverMac}`);
  else if (macWithoutArp !== undefined) stack.learn(tftpServer, macWithoutArp);
  else {
    const why = `Cannot reach the TFTP server ${tftpServer}: nobody answers ARP for it`;
    throw new FirmwareFailure("no-arp-reply", why);
  }
  return { ownAddress: address, tftpServer };
}

async function leaseAddress(
  context: NetworkContext,
  answers: Mailbox<Answer>,
  deadlineMs: number,
): Promise<Required<Offers>> {
  for (;;) {
    const transactionId = newTransactionId(context);
    const { address, tftpServer } = await collectOffers(context, answers, transactionId, deadlineMs);
    if (!context.stage.dhcp.sendsRequest) return { address, tftpServer };
    const granted = await requestAddress(context, answers, transactionId, address);
    if (granted !== undefined) return { address: { ...address, ...granted }, tftpServer };
    if (context.clock.monotonicMs() >= deadlineMs) {
      const why = `${address.serverIdentifier} offered ${address.yourAddress}, but did not acknowledge it`;
      throw new FirmwareFailure("address-refused", `Cannot get an address: ${why}`);
    }
  }
}

export function newTransactionId({ stage, random }: NetworkContext): number {
  const { transactionId } = stage.dhcp;
  return transactionId === "random" ? new Reader(random.bytes(4), "random").u32("xid") : transactionId;
}

export function sendDiscover(context: NetworkContext, transactionId: number): void {
  const { stack, board, stage, report } = context;
  report({ kind: "dhcp", message: "DISCOVER" });
  const bytes = encodeDiscover(transactionId, board, stage.dhcp);
  stack.sendBroadcast({ sourcePort: DHCP_CLIENT_PORT, port: DHCP_SERVER_PORT, bytes });
}

/** Asks again after 4, 8, 16 … seconds, and remembers what earlier OFFERs brought. */
async function collectOffers(
  context: NetworkContext,
  answers: Mailbox<Answer>,
  transactionId: number,
  deadlineMs: number,
): Promise<Required<Offers>> {
  const { clock, stage } = context;
  const offers: Offers = {};
  let resendMs = stage.times.dhcpRequestTimeoutMs;
  while (clock.monotonicMs() < deadlineMs) {
    sendDiscover(context, transactionId);
    const untilMs = Math.min(deadlineMs, clock.monotonicMs() + resendMs);
    resendMs *= stage.times.dhcpBackoff;
    for (;;) {
      const answer = await answers.take(untilMs);
      if (answer === undefined) break;
      if (answer.transactionId !== transactionId || answer.type !== "offer") continue;
      takeOffer(context, offers, answer);
      if (isComplete(offers)) return offers;
    }
  }
  throw incompleteOffers(offers, `within ${stage.times.dhcpTimeoutMs / 1000} s`, stage);
}

export function takeOffer(context: NetworkContext, offers: Offers, answer: Answer): void {
  const server = answer.serverIdentifier ?? answer.source;
  context.report({ kind: "dhcp", message: "OFFER", server });
  log(context, `DHCP src: ${answer.sourceMac} ${answer.source}`);
  addOffer(offers, answer, context.stage.dhcp.rules);
}

export function isComplete(offers: Offers): offers is Required<Offers> {
  return offers.address !== undefined && offers.tftpServer !== undefined;
}

export function incompleteOffers(offers: Offers, howLong: string, { dhcp }: BootStage): FirmwareFailure {
  if (offers.address !== undefined) {
    const { menuText } = dhcp.rules;
    const why = `${offers.address.source} offers an address, but nobody sends the boot menu "${menuText}" or option 66`;
    return new FirmwareFailure("no-boot-server", `Cannot find a boot server: ${why}`);
  }
  const heard =
    offers.tftpServer === undefined ? "nobody answers DHCP" : "there is a boot server, but nobody gives an address";
  return new FirmwareFailure("no-answer", `Cannot get an address ${howLong}: ${heard}`);
}

/** The ACK, or `undefined` when it was refused or did not come. */
async function requestAddress(
  context: NetworkContext,
  answers: Mailbox<Answer>,
  transactionId: number,
  offer: Answer,
): Promise<Answer | undefined> {
  const { stack, clock, board, stage, report } = context;
  const server = offer.serverIdentifier ?? offer.source;
  report({ kind: "dhcp", message: "REQUEST", server });
  const { requestHasVendorClass: hasVendorClass, requestHasParameters, requestedParameters } = stage.dhcp;
  const bytes = encodeRequest(transactionId, {
    mac: board.mac,
    address: offer.yourAddress,
    server,
    hasVendorClass,
    ...(requestHasParameters && { parameters: requestedParameters }),
  });
  stack.sendBroadcast({ sourcePort: DHCP_CLIENT_PORT, port: DHCP_SERVER_PORT, bytes });
  const untilMs = clock.monotonicMs() + stage.times.dhcpRequestTimeoutMs;
  for (;;) {
    const answer = await answers.take(untilMs);
    if (answer === undefined) return undefined;
    if (answer.transactionId !== transactionId) continue;
    if (answer.type === "ack" || answer.type === "nak") {
      const message = answer.type === "ack" ? "ACK" : "NAK";
      report({ kind: "dhcp", message, server: answer.serverIdentifier ?? answer.source });
      return answer.type === "ack" ? answer : undefined;
    }
  }
}

function log(context: NetworkContext, text: string): void {
  context.report({ kind: "firmware-log", text });
}
