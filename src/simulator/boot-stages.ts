/**
 * The programs of a Pi that boot over the network, as data: boot ROM, bootcode.bin, EEPROM boot loader. How each speaks
 * DHCP, ARP and TFTP follows from model, release, bugs and configuration.
 *
 * Sources: Raspberry Pi documentation, captures of boards, published log strings, and the issues named at each bug.
 */
import type { Ipv4, Mac } from "../bytes/addresses.ts";
import { type EepromFamily, eepromRelease, type MachineIdentifierForm } from "./firmware-releases.ts";
import {
  ASSUMPTIONS,
  type DhcpTimes,
  type EepromConfiguration,
  type FileTimes,
  type FirmwareSettings,
  ROM_BUGS,
  type RomBugs,
  type RomTimes,
} from "./firmware-settings.ts";
import type { UdpHeaders } from "./frames.ts";
import type { VirtualBoard } from "./models.ts";
import type { TftpReadSettings } from "./tftp-client.ts";

/** Which answers a program takes, and what it finds in them. */
export interface OfferRules {
  checksClientAddress: boolean;
  takesRelayed: boolean;
  toleratesPadding: boolean;
  /** The text looked for, and where: in any entry of the menu, in the first one, or anywhere in option 43. */
  menuText: string;
  menuForm: "entries" | "first-entry" | "anywhere";
  /** Whose word counts when option 66 and the menu's sender differ. */
  bootServer: "option-66" | "last-option";
  /** Whom the menu means. */
  menuServer: "server-identifier" | "source";
  /** The menu counts only beside option 60 "PXEClient". */
  needsVendorClass: boolean;
  /** A zero behind the text of option 66 (issue 871). */
  toleratesFinalZero: boolean;
  /** Whatever DHCP says. */
  fixedServer?: Ipv4;
}

export interface DhcpDialect {
  /** Option 55, in the order of the captures. */
  requestedParameters: readonly number[];
  identifier: MachineIdentifierForm;
  /** The boot ROM uses one number for ever, on every board. */
  transactionId: "random" | number;
  /** The boot ROM takes the address of the OFFER and asks no further. */
  sendsRequest: boolean;
  requestHasVendorClass: boolean;
  requestHasParameters: boolean;
  rules: OfferRules;
}

export interface TftpDialect extends Pick<TftpReadSettings, "options" | "blockBytes" | "rollover" | "reacknowledges"> {
  /** One port for each request, counted up from here. */
  firstLocalPort: number;
  /** After so long without a packet it says the same again. The loaders of a Pi 3 never do. */
  askAgainMs?: number;
  /** How long without a packet is too long, and what then: go on as if the file were missing, or give the try up. */
  silence?: { limitMs: number; outcome: "missing" | "give-up" };
  /** Takes a file for missing when the server ignores options (issue 1913). */
  needsOptions: boolean;
  endsProbesAtWrongPort: boolean;
}

export interface LinkDialect {
  /** Without a netmask everybody is asked for by ARP, whatever the network. */
  asksForNetmask: boolean;
  answersArpInTransfer: boolean;
  /** Where frames go when nobody answers ARP. Absent: the attempt is over. */
  macWithoutArp?: Mac;
  packets: UdpHeaders;
}

export interface BootStage {
  dhcp: DhcpDialect;
  tftp: TftpDialect;
  link: LinkDialect;
  times: DhcpTimes & FileTimes;
}

export interface RomStage extends BootStage {
  bugs: RomBugs;
  rom: RomTimes;
}

const ROM_PACKETS: UdpHeaders = { timeToLive: 128, hasUdpChecksum: false };
const MENU_TEXT = "Raspberry Pi Boot";
const ROM_TRANSACTION_ID = 0x26f30339;
const MADE_UP_MAC = "aa:aa:aa:aa:aa:aa" as Mac;

/** The loaders of a Pi 3 take a file for missing then (issues 991 and 1025). */
const PI_3_PATIENCE_MS = 1000;
/** Chosen: what the ROM does without a server is only known to end. */
const ROM_PATIENCE_MS = 5000;

/** Chosen, of the 3B+: the 3B gives up. */
const ROM_PAUSE_MS = 5000;

const ROM_TIMES: RomTimes = { tries: 5, tryMs: 5000, receiveTimeoutMs: 1000, transactionMs: 1000 };
/** Defaults of the EEPROM's configuration (documentation "eeprom-bootloader"). */
const EEPROM_TIMES = {
  dhcpTimeoutMs: 45_000,
  dhcpRequestTimeoutMs: 4000,
  /** Assumed, from one server's log of 2019 (rpi-eeprom issue 58): 4, 8, 16 s. */
  dhcpBackoff: 2,
  tftpFileTimeoutMs: 30_000,
} as const;
/** "About a minute" (issue 1124); the pace is chosen. Of a limit for a file, beside that of silence, nothing is known. */
const PI_3_TIMES = {
  dhcpTimeoutMs: 60_000,
  dhcpRequestTimeoutMs: 5000,
  dhcpBackoff: 1,
  tftpFileTimeoutMs: Number.POSITIVE_INFINITY,
};

const EEPROM_CONFIGURATION: EepromConfiguration = {
  prefix: "serial",
  menuText: MENU_TEXT,
  networkTries: Number.POSITIVE_INFINITY,
};

/** The key's default where it is not set. */
export function eepromConfiguration(settings: Partial<FirmwareSettings>): EepromConfiguration {
  return { ...EEPROM_CONFIGURATION, ...settings.eeprom };
}

/** Option 55 of the 3B: no netmask, no router. */
const PARAMETERS_3B = [43, 60, 67, 128, 129, 130, 131, 132, 133, 134, 135, 66];
const PARAMETERS_2837 = [...PARAMETERS_3B, 1, 3];
const PARAMETERS_EEPROM = [1, 3, 43, 60, 66, 67, 128, 129, 130, 131, 132, 133, 134, 135];

export function romStage(rom: keyof typeof ROM_BUGS, settings: Partial<FirmwareSettings>): RomStage {
  const { askAgainMs } = { ...ASSUMPTIONS, ...settings.assumed };
  const bugs = { ...ROM_BUGS[rom], ...settings.bugs };
  return {
    bugs,
    rom: { ...ROM_TIMES, ...settings.rom },
    times: { ...PI_3_TIMES, ...timesOf(settings) },
    dhcp: {
      requestedParameters: rom === "3b" ? PARAMETERS_3B : PARAMETERS_2837,
      identifier: { form: rom === "3b" ? "constant" : "serial" },
      transactionId: bugs.constantTransactionId ? ROM_TRANSACTION_ID : "random",
      sendsRequest: false,
      requestHasVendorClass: false,
      requestHasParameters: false,
      rules: {
        checksClientAddress: !bugs.ignoresClientAddress,
        takesRelayed: !bugs.refusesRelayed,
        toleratesPadding: true,
        menuText: bugs.wantsThreeSpaces ? `${MENU_TEXT}   ` : MENU_TEXT,
        menuForm: "anywhere",
        bootServer: "last-option",
        menuServer: "source",
        needsVendorClass: false,
        toleratesFinalZero: rom !== "3b",
      },
    },
    tftp: {
      options: bugs.noTftpOptions ? [] : ["tsize"],
      blockBytes: 512,
      rollover: false,
      reacknowledges: true,
      firstLocalPort: 49152,
      askAgainMs,
      silence: { limitMs: ROM_PATIENCE_MS, outcome: "give-up" },
      needsOptions: false,
      endsProbesAtWrongPort: false,
    },
    link: {
      packets: ROM_PACKETS,
      asksForNetmask: rom !== "3b",
      answersArpInTransfer: !bugs.deafToArp,
      ...(bugs.sendsToMadeUpMac && { macWithoutArp: MADE_UP_MAC }),
    },
  };
}

/** bootcode.bin, and start.elf after it, of all boards before the Pi 4. */
export function secondStage(settings: Partial<FirmwareSettings>): BootStage {
  const { secondStageBlockBytes } = { ...ASSUMPTIONS, ...settings.assumed };
  return {
    times: { ...PI_3_TIMES, ...timesOf(settings) },
    dhcp: {
      requestedParameters: PARAMETERS_2837,
      identifier: { form: "serial" },
      transactionId: ROM_TRANSACTION_ID,
      sendsRequest: false,
      requestHasVendorClass: false,
      requestHasParameters: false,
      rules: {
        checksClientAddress: true,
        takesRelayed: true,
        toleratesPadding: true,
        menuText: MENU_TEXT,
        menuForm: "anywhere",
        bootServer: "last-option",
        menuServer: "source",
        needsVendorClass: false,
        toleratesFinalZero: true,
      },
    },
    tftp: {
      options: secondStageBlockBytes === undefined ? ["tsize"] : ["tsize", "blksize"],
      blockBytes: secondStageBlockBytes ?? 512,
      rollover: false,
      reacknowledges: true,
      firstLocalPort: 49154,
      silence: { limitMs: PI_3_PATIENCE_MS, outcome: "missing" },
      needsOptions: true,
      endsProbesAtWrongPort: settings.endsProbesAtWrongPort ?? false,
    },
    link: { packets: ROM_PACKETS, asksForNetmask: true, answersArpInTransfer: !settings.deafSecondStage },
  };
}

export function eepromFamily({ model }: VirtualBoard): EepromFamily {
  return model.bootloader === "2712" ? "2712" : "2711";
}

export function eepromStage(board: VirtualBoard, settings: Partial<FirmwareSettings>): BootStage {
  const assumed = { ...ASSUMPTIONS, ...settings.assumed };
  const { askAgainMs, firstLocalPort, requestHasParameters, needsVendorClass, menuServer } = assumed;
  const { timeToLive, hasUdpChecksum } = assumed;
  const release = eepromRelease(eepromFamily(board), settings.released);
  const { tftpServer, menuText, identifierMagic: magic } = eepromConfiguration(settings);
  const chosen: MachineIdentifierForm | undefined =
    magic === undefined ? undefined : magic === 0 ? { form: "serial" } : { form: "magic", magic, hasMac: true };
  return {
    times: { ...EEPROM_TIMES, ...timesOf(settings) },
    dhcp: {
      requestedParameters: PARAMETERS_EEPROM,
      identifier: chosen ?? release.identifier,
      transactionId: "random",
      sendsRequest: true,
      requestHasVendorClass: release.requestHasVendorClass,
      requestHasParameters,
      rules: {
        checksClientAddress: true,
        takesRelayed: release.takesRelayed,
        toleratesPadding: release.toleratesPadding,
        menuText,
        menuForm: release.readsWholeMenu ? "entries" : "first-entry",
        bootServer: "option-66",
        menuServer,
        needsVendorClass,
        toleratesFinalZero: true,
        ...(tftpServer && { fixedServer: tftpServer }),
      },
    },
    tftp: {
      options: ["tsize", "blksize"],
      blockBytes: settings.blockBytes ?? release.blockBytes,
      rollover: settings.rollover ?? release.rollover,
      reacknowledges: release.reacknowledges,
      firstLocalPort,
      askAgainMs,
      needsOptions: false,
      endsProbesAtWrongPort: settings.endsProbesAtWrongPort ?? false,
    },
    link: { packets: { timeToLive, hasUdpChecksum }, asksForNetmask: true, answersArpInTransfer: true },
  };
}

/** How often a board tries to boot over the network until it stops for good, and its pause in between. */
export function networkAttempts(
  board: VirtualBoard,
  settings: Partial<FirmwareSettings>,
): { tries: number; pauseMs: number } {
  const { bootloader } = board.model;
  if (bootloader === "2837") return { tries: Number.POSITIVE_INFINITY, pauseMs: ROM_PAUSE_MS };
  const { repeatsAttempts, retryPauseMs: pauseMs } = eepromRelease(bootloader, settings.released);
  return { tries: repeatsAttempts ? eepromConfiguration(settings).networkTries : 1, pauseMs };
}

function timesOf({ dhcpTimeoutMs, dhcpRequestTimeoutMs, dhcpBackoff, tftpFileTimeoutMs }: Partial<FirmwareSettings>) {
  return {
    ...(dhcpTimeoutMs !== undefined && { dhcpTimeoutMs }),
    ...(dhcpRequestTimeoutMs !== undefined && { dhcpRequestTimeoutMs }),
    ...(dhcpBackoff !== undefined && { dhcpBackoff }),
    ...(tftpFileTimeoutMs !== undefined && { tftpFileTimeoutMs }),
  };
}
