/**
 * The options that make a DHCP answer a network boot answer: PXE 2.1 specification, section 2.2 (vendor options in
 * option 43), as Raspberry Pi firmware reads them.
 * Left out: multicast discovery, boot server lists, and everything on port 4011, which no Pi uses.
 */
import type { Ipv4 } from "../bytes/addresses.ts";
import { Writer } from "../bytes/writer.ts";
import { type DhcpOption, makeOption, OPTIONS, readOption } from "./options.ts";

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
 * else, and it must be the address the answer itself comes from.
 */
export function pxeOptions(request: readonly DhcpOption[], tftpServer: Ipv4): DhcpOption[] {
  const guid = readOption(request, OPTIONS.clientGuid);
  return [
    makeOption(OPTIONS.vendorClass, PXE_VENDOR_CLASS),
    ...(guid ? [makeOption(OPTIONS.clientGuid, guid)] : []),
    makeOption(OPTIONS.vendorSpecific, pxeMenu()),
    makeOption(OPTIONS.tftpServerName, tftpServer),
  ];
}

/**
 * Whether firmware is asking, and not the operating system of the same board, whose client would take an offer
 * without an address for one of 0.0.0.0.
 */
export function isPxeRequest(options: readonly DhcpOption[]): boolean {
  const vendorClass = readOption(options, OPTIONS.vendorClass) ?? "";
  return vendorClass.startsWith(PXE_VENDOR_CLASS) || readOption(options, OPTIONS.clientArchitecture) !== undefined;
}
