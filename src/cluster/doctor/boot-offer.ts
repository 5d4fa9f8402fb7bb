/**
 * What a DHCP server on the network offers to somebody who wants to boot: the question, and the answers as facts. The
 * question is a PXE client's, as Raspberry Pi firmware asks it (322 bytes, flags apart).
 */
import { type Ipv4, type Mac, macToBytes } from "../../bytes/addresses.ts";
import { makeOption, OPTIONS, readOption } from "../../dhcp/options.ts";
import { BROADCAST_FLAG, type DhcpPacket, makePacket } from "../../dhcp/packet.ts";

export interface BootOffer {
  /** Option 54, or else where the answer came from. */
  server: Ipv4;
  serverMac: Mac;
  /** Where the answer came from. */
  source: Ipv4;
  /** The address offered; none from a proxy. */
  address?: Ipv4;
  /** `siaddr`, which Pis do not go by. */
  nextServer?: Ipv4;
  /** Option 67, or the field `file`. */
  bootFile?: string;
  /** Option 66: text, or the bytes of a value that is none. */
  tftpServer?: { text: string } | { binary: Uint8Array };
  /** Option 43. `menu`: a PXE list. `text`: the words alone, which Pis from the 4 on do not take. */
  vendor?: { form: "menu" | "text" | "other"; hasPiBoot: boolean };
}

const WORDS = "Raspberry Pi Boot";
const BOOT_MENU = 9;
const PAD = 0;
const END = 255;

/**
 * Asks for everything. Answers are to be broadcast, for they are not for us. `guid`: the value of option 97; a Pi's only
 * where no Bramble answers, which would take it for a new board.
 */
export function discover(transactionId: number, mac: Mac, guid: Uint8Array): DhcpPacket {
  return makePacket({
    op: "request",
    transactionId,
    mac,
    flags: BROADCAST_FLAG,
    options: [
      makeOption(OPTIONS.messageType, "DISCOVER"),
      makeOption(
        OPTIONS.parameterRequestList,
        Uint8Array.of(1, 3, 43, 60, 66, 67, 128, 129, 130, 131, 132, 133, 134, 135),
      ),
      makeOption(OPTIONS.clientArchitecture, Uint8Array.of(0, 0)),
      makeOption(OPTIONS.clientInterface, Uint8Array.of(1, 2, 1)),
      makeOption(OPTIONS.clientGuid, guid),
      makeOption(OPTIONS.vendorClass, "PXEClient:Arch:00000:UNDI:002001"),
    ],
  });
}

/** Option 97 of any client that has none (RFC 4578 section 2.3): a type and sixteen bytes. */
export function strangersGuid(random: Uint8Array): Uint8Array {
  return Buffer.concat([Uint8Array.of(0), random.subarray(0, 16)]);
}

/** Option 97 of a Pi 4: magic word, revision c03111, four bytes of the MAC, the serial number. */
export function piGuid(mac: Mac, serial?: string): Uint8Array {
  const tail = macToBytes(mac).subarray(2);
  const number = serial === undefined ? tail : Buffer.from(serial, "hex").reverse();
  return Buffer.concat([Buffer.from("\0RPi4", "latin1"), Uint8Array.of(0x11, 0x31, 0xc0, 0), tail, number]);
}

/** `undefined` for what is no offer to the question. Throws `DecodeError` for options of the wrong size. */
export function bootOffer(
  packet: DhcpPacket,
  transactionId: number,
  from: { address: Ipv4; mac: Mac },
): BootOffer | undefined {
  const { options } = packet;
  if (packet.op !== "reply" || packet.transactionId !== transactionId) return undefined;
  if (readOption(options, OPTIONS.messageType) !== "OFFER") return undefined;
  const bootFile = readOption(options, OPTIONS.bootFileName) || packet.bootFile;
  const vendor = options.find(({ code }) => code === OPTIONS.vendorSpecific.code)?.value;
  const tftpServer = options.find(({ code }) => code === OPTIONS.tftpServerName.code)?.value;
  return {
    server: readOption(options, OPTIONS.serverIdentifier) ?? from.address,
    serverMac: from.mac,
    source: from.address,
    ...(packet.yourAddress !== "0.0.0.0" && { address: packet.yourAddress }),
    ...(packet.nextServer !== "0.0.0.0" && { nextServer: packet.nextServer }),
    ...(bootFile && { bootFile }),
    ...(tftpServer && { tftpServer: serverName(tftpServer) }),
    ...(vendor && { vendor: vendorOptions(vendor) }),
  };
}

/** RFC 2132 section 9.4: a name, in ASCII. Some servers send the four bytes of an address. */
function serverName(value: Uint8Array): NonNullable<BootOffer["tftpServer"]> {
  const text = Buffer.from(value).toString("latin1").replace(/\0+$/, "");
  return /^[\x21-\x7e]+$/.test(text) ? { text } : { binary: value };
}

function vendorOptions(value: Uint8Array): NonNullable<BootOffer["vendor"]> {
  const hasPiBoot = Buffer.from(value).includes(WORDS, 0, "latin1");
  if (menuTexts(value).some((text) => text.includes(WORDS))) return { form: "menu", hasPiBoot };
  return { form: Buffer.from(value).toString("latin1").startsWith(WORDS) ? "text" : "other", hasPiBoot };
}

/** Texts of the boot menu in a list of type, length and value; none when it is no such list. */
function menuTexts(value: Uint8Array): string[] {
  const texts: string[] = [];
  for (let at = 0; at < value.length && value[at] !== END; ) {
    if (value[at] === PAD) {
      at++;
      continue;
    }
    const lengthBytes = value[at + 1] ?? 0;
    const end = at + 2 + lengthBytes;
    if (end > value.length) return [];
    if (value[at] === BOOT_MENU) texts.push(Buffer.from(value.subarray(at + 2, end)).toString("latin1"));
    at = end;
  }
  return texts;
}
