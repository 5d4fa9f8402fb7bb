/** What can be set about the firmware of a virtual Pi: times, the bugs of the boot ROM, the EEPROM's configuration. */
import type { Ipv4 } from "../bytes/addresses.ts";

/** As the EEPROM boot loader calls them: `DHCP_TIMEOUT` and `DHCP_REQ_TIMEOUT`. */
export interface DhcpTimes {
  dhcpTimeoutMs: number;
  /** Until the first DISCOVER is sent again. */
  dhcpRequestTimeoutMs: number;
  /** What the wait is multiplied with each time. */
  dhcpBackoff: number;
}

export interface FileTimes {
  /** `TFTP_FILE_TIMEOUT` of the EEPROM boot loader's configuration. */
  tftpFileTimeoutMs: number;
}

/**
 * The bugs of the Pi 3B's boot ROM (documentation "boot-net"; openSUSE/netboot-rpi3b; firmware issues as named). Each can be
 * switched off. Numbers are issues of raspberrypi/firmware.
 */
export interface RomBugs {
  /** An OFFER is noticed only when another frame comes after the first second; a second without any ends the attempt. 859, 862. */
  lateReceive: boolean;
  /** Takes OFFERs that are for another board. 1067, 1303. */
  ignoresClientAddress: boolean;
  /** The transaction number is 26f30339 on every board, for ever. 1067. Also of the 3B+. */
  constantTransactionId: boolean;
  /** After five tries nothing more until the power is cut. 825, 954. */
  givesUp: boolean;
  /** The boot menu's text has to end with three spaces. 941. */
  wantsThreeSpaces: boolean;
  /** Ignores answers that came through a relay. linux issue 1638. */
  refusesRelayed: boolean;
  /** Answers no ARP request while it loads files. */
  deafToArp: boolean;
  /** When nobody answers ARP for the server it sends to aa:aa:aa:aa:aa:aa. 859, 975. */
  sendsToMadeUpMac: boolean;
  /** Asks for files without options: blocks of 512 bytes. Also of the 3B+. */
  noTftpOptions: boolean;
}

const EVERY_BUG: RomBugs = {
  lateReceive: true,
  ignoresClientAddress: true,
  constantTransactionId: true,
  givesUp: true,
  wantsThreeSpaces: true,
  refusesRelayed: true,
  deafToArp: true,
  sendsToMadeUpMac: true,
  noTftpOptions: true,
};
/** What is left in the ROM of the 3B+ (BCM2837B0). That it never gives up is assumed. */
const BUGS_3B_PLUS: RomBugs = {
  lateReceive: false,
  ignoresClientAddress: false,
  constantTransactionId: true,
  givesUp: false,
  wantsThreeSpaces: false,
  refusesRelayed: false,
  deafToArp: false,
  sendsToMadeUpMac: false,
  noTftpOptions: true,
};
export const ROM_BUGS = { "3b": EVERY_BUG, "3b+": BUGS_3B_PLUS } as const;

/** What the ROM's waits are. All but the five seconds are what netboot-rpi3b's author measured. */
export interface RomTimes {
  tries: number;
  /** From one DISCOVER to the next. */
  tryMs: number;
  /** "At least a second, and not quite stable": without any frame for so long, the try is over. */
  receiveTimeoutMs: number;
  /** Only a frame that comes later than this after the DISCOVER lets the ROM go on. */
  transactionMs: number;
}

/** The keys of an EEPROM's bootconf.txt that matter here (documentation "eeprom-bootloader"). */
export interface EepromConfiguration {
  /** `TFTP_IP`: used whatever DHCP says. */
  tftpServer?: Ipv4;
  /** `TFTP_PREFIX` and `TFTP_PREFIX_STR`, which goes before each name as it is: without a final `/` that is missing. */
  prefix: "serial" | "mac" | { text: string };
  /** `PXE_OPTION43`. */
  menuText: string;
  /** `DHCP_OPTION97`, where 0 is the serial four times. Absent: as released. */
  identifierMagic?: number;
  /** `NETCONSOLE`, as `6665@169.254.1.1/,6666@/`. */
  netconsole?: string;
  /** How often network boot is tried until the board stops for good: `BOOT_ORDER` without f and `NET_BOOT_MAX_RETRIES`. */
  networkTries: number;
}

/** What no source tells. Boots from our servers must not depend on any of it. */
export interface Assumptions {
  /** After so long without a packet a TFTP request, or an acknowledgement, is sent again. */
  askAgainMs: number;
  /** The EEPROM's first TFTP request after power-on comes from here; 40084 is one seen in captures. */
  firstLocalPort: number;
  /** Options 55 and 93 stand in the EEPROM's REQUEST; dnsmasq's log of one board says that they do not. */
  requestHasParameters: boolean;
  /** The EEPROM takes a boot menu only beside option 60 "PXEClient". */
  needsVendorClass: boolean;
  /** Whom the boot menu means to the EEPROM when option 54 and the packet's source differ (rpi-eeprom issue 687). */
  menuServer: "server-identifier" | "source";
  /** Of the EEPROM's packets; of the ROM's both are known. */
  timeToLive: number;
  hasUdpChecksum: boolean;
  /** Newer builds of bootcode.bin and start.elf know `blksize`; with which value, and since when, is not told. */
  secondStageBlockBytes: number | undefined;
}

export const ASSUMPTIONS: Assumptions = {
  askAgainMs: 1000,
  firstLocalPort: 40084,
  requestHasParameters: false,
  needsVendorClass: false,
  menuServer: "server-identifier",
  timeToLive: 128,
  hasUdpChecksum: false,
  secondStageBlockBytes: undefined,
};

export interface FirmwareSettings extends DhcpTimes, FileTimes {
  /** How long the switch and the PHY take to agree. Chosen; of a 3B it is known that five seconds pass. */
  linkUpMs: number;
  /** Load kernel and initramfs, but keep only their sizes: for fleets that stop before the kernel. */
  discardContents: boolean;
  /** The day the EEPROM's boot loader was released; see `eepromRelease`. */
  released: string;
  /** EEPROM boot loaders only, instead of what the release has. */
  blockBytes: number;
  rollover: boolean;
  eeprom: Partial<EepromConfiguration>;
  /** Of the boot ROM, over those of its model. */
  bugs: Partial<RomBugs>;
  rom: Partial<RomTimes>;
  /**
   * Of bootcode.bin, which the documentation does not accuse of it: a Linux server would lose the address of such a Pi
   * after some seconds.
   */
  deafSecondStage: boolean;
  /** The end of a probe goes to the server's next port (issue 1025): the server hears nothing more of it. */
  endsProbesAtWrongPort: boolean;
  assumed: Partial<Assumptions>;
}
