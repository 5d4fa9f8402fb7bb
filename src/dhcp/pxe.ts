/**
 * The options that make a DHCP answer a network boot answer: PXE 2.1 specification, section 2.2 (vendor options in
 * option 43), as Raspberry Pi firmware reads them.
 * Left out: multicast discovery, boot server lists, and everything on port 4011, which no Pi uses.
 */
import { IPV4_ANY, type Ipv4 } from "../bytes/addresses.ts";
import { Writer } from "../bytes/writer.ts";
import { type DhcpOption, makeOption, OPTIONS, readOption } from "./options.ts";
import type { DhcpPacket } from "./packet.ts";
import type { FirmwareNeeds } from "./reply-timing.ts";

export const PXE_VENDOR_CLASS = "PXEClient";

/**
 * The menu text the firmware looks for. The Pi 3B boot ROM compares the text with its three spaces (a length bug);
 * everything newer looks for the words in it.
 */
export const PI_BOOT_MENU_TEXT = "Raspberry Pi Boot   ";

const SUB_OPTION = { discoveryControl: 6, bootMenu: 9, menuPrompt: 10, end: 255 } as const;
/** No multicast, no broadcast discovery. */
const DISCOVERY_OFF = 3;
/** Boot server type 0: boot from the server that sent this. */
const BOOT_THIS_SERVER = 0;

/** The value of option 43: discovery control, prompt and a menu of one item, byte for byte as dnsmasq writes it. */
export function pxeMenu(text: string = PI_BOOT_MENU_TEXT): Uint8Array {
  const prompt = Buffer.from("PXE");
  const item = Buffer.from(text, "latin1");
  return new Writer(64)
    .u8(SUB_OPTION.discoveryControl)
    .u8(1)
    .u8(DISCOVERY_OFF)
    .u8(SUB_OPTION.menuPrompt)
    .u8(1 + prompt.length)
    .u8(0) // timeout in seconds: at once
    .bytes(prompt)
    .u8(SUB_OPTION.bootMenu)
    .u8(3 + item.length)
    .u16(BOOT_THIS_SERVER)
    .u8(item.length)
    .bytes(item)
    .u8(SUB_OPTION.end)
    .finish();
}

/**
 * 60, 97 (the client's own, given back), 43, 66, in that order. 66 is ASCII without a NUL: firmware reads nothing
 * else, and it must be the address the answer itself comes from. Without 66, that address alone says who is the boot
 * server: so dnsmasq answers, and Pis up to the 3B+ must be answered. Behind a relay agent the answer comes from that one's
 * address: there 66 is always needed.
 */
export function pxeOptions(
  request: Pick<DhcpPacket, "options" | "relayAddress">,
  tftpServer: Ipv4,
  { menuOnly }: Pick<FirmwareNeeds, "menuOnly"> = { menuOnly: false },
): DhcpOption[] {
  const guid = readOption(request.options, OPTIONS.clientGuid);
  const isNamedBySource = menuOnly && request.relayAddress === IPV4_ANY;
  return [
    makeOption(OPTIONS.vendorClass, PXE_VENDOR_CLASS),
    ...(guid ? [makeOption(OPTIONS.clientGuid, guid)] : []),
    makeOption(OPTIONS.vendorSpecific, pxeMenu()),
    ...(isNamedBySource ? [] : [makeOption(OPTIONS.tftpServerName, tftpServer)]),
  ];
}

/** Option 175 is iPXE's own; it also names itself in option 77. */
const IPXE_ENCAPSULATED = 175;
const IPXE_USER_CLASS = Buffer.from("iPXE");
const U_BOOT_VENDOR_CLASS = "U-Boot";
const SHOWN_CHARACTERS_MAX = 40;
/** PC BIOS (RFC 4578 section 2.1): what Raspberry Pi firmware says it is. */
const ARCHITECTURE_PC_BIOS = 0;

/**
 * Why this cannot be Raspberry Pi firmware that wants to boot; `undefined` when it can. The operating system of a Pi is none:
 * its client takes an offer without an address for one of 0.0.0.0.
 */
export function whyNotFirmware(options: readonly DhcpOption[]): string | undefined {
  const vendorClass = vendorClassOf(options);
  // Firmware of January 2020 leaves option 60 out of some requests, but not option 93.
  const isNamedByArchitecture = vendorClass === "" && readOption(options, OPTIONS.clientArchitecture) !== undefined;
  const isAsking = vendorClass.startsWith(PXE_VENDOR_CLASS) || isNamedByArchitecture;
  return otherBootProgram(options) ?? (isAsking ? undefined : "not a network boot request");
}

/**
 * Why this is another boot program, and not Raspberry Pi firmware nor an operating system. U-Boot, UEFI and iPXE run on
 * Raspberry Pis too, boot by other rules, and would take a Pi's boot menu for a PC's.
 */
export function otherBootProgram(options: readonly DhcpOption[]): string | undefined {
  const vendorClass = vendorClassOf(options);
  const userClass = Buffer.from(readOption(options, OPTIONS.userClass) ?? []);
  if (userClass.includes(IPXE_USER_CLASS) || options.some(({ code }) => code === IPXE_ENCAPSULATED)) {
    return "it is iPXE, which boots by other rules";
  }
  if (vendorClass.startsWith(U_BOOT_VENDOR_CLASS)) {
    return `it is ${vendorClass.slice(0, SHOWN_CHARACTERS_MAX)}, which boots by other rules`;
  }
  const other = otherArchitecture(vendorClass, readOption(options, OPTIONS.clientArchitecture));
  if (other === undefined) return undefined;
  return `it asks for boot files of architecture ${other}, as UEFI and U-Boot do, and Raspberry Pi firmware of 0`;
}

function vendorClassOf(options: readonly DhcpOption[]): string {
  return readOption(options, OPTIONS.vendorClass) ?? "";
}

/** An architecture that is not that of Raspberry Pi firmware, from option 93 (two bytes for each) or option 60. */
function otherArchitecture(vendorClass: string, architecture: Uint8Array | undefined): number | undefined {
  const named = /^PXEClient:Arch:(\d{5})/.exec(vendorClass)?.[1];
  const listed = Array.from({ length: (architecture?.length ?? 0) >> 1 }, (_, index) => {
    return architecture![2 * index]! * 256 + architecture![2 * index + 1]!;
  });
  return [...listed, ...(named ? [Number(named)] : [])].find((each) => each !== ARCHITECTURE_PC_BIOS);
}
