/**
 * How released EEPROM boot loaders differ on the wire, by the day of their release.
 *
 * Sources: the release notes of rpi-eeprom (firmware-2711 and firmware-2712) and the issues named. Left out: changes that
 * do not show in DHCP, ARP or TFTP of a network boot.
 */

/** Which chip a boot loader is for. 2711: Pi 4, 400, CM4. 2712: Pi 5, 500, CM5. */
export type EepromFamily = "2711" | "2712";

/** Option 97: a magic number, revision, MAC and serial; or the serial four times; or what the 3B's ROM says of every board. */
export type MachineIdentifierForm =
  | { form: "magic"; magic: number; hasMac: boolean }
  | { form: "serial" }
  | { form: "constant" };

export interface EepromRelease {
  identifier: MachineIdentifierForm;
  /** What it asks for with `blksize`. */
  blockBytes: number;
  /** Block numbers go on at 0 after 65,535. */
  rollover: boolean;
  /** Acknowledges again what comes again. Before, a lost acknowledgement hung the transfer until the server's next try. */
  reacknowledges: boolean;
  /** Reads all entries of the boot menu, not just the first. */
  readsWholeMenu: boolean;
  /** Option 0 among the options of an answer. Before, what stands behind it was not read. */
  toleratesPadding: boolean;
  /** Takes answers that came through a relay. */
  takesRelayed: boolean;
  /** Option 60 stands in the REQUEST. */
  requestHasVendorClass: boolean;
  /** Sends netconsole to the MAC that is set; before, by broadcast. */
  hasNetconsoleMac: boolean;
  /** Between a failed attempt and the next. */
  retryPauseMs: number;
  /** Can boot over the network again after an attempt that failed. */
  repeatsAttempts: boolean;
}

/** "RPi4" as it lay in memory, then as a number; and the same of the Pi 5. */
const MAGIC = { rpi4: 0x52506934, rpi4Swapped: 0x34695052, rpi5Swapped: 0x35695052 } as const;

/** First day on which each change was in a release. */
const CHANGES_2711 = {
  wholeMenu: "2020-01-09",
  padding: "2020-01-17",
  identifier: "2020-03-04",
  identifierMac: "2020-03-16",
  /** Assumed: REQUESTs of January 2020 lack option 60 (rpi-eeprom issues 82 and 87); when it came back is not told. */
  requestVendorClass: "2020-03-04",
  retryPause: "2020-06-03",
  relayed: "2020-06-12",
  reacknowledge: "2021-02-16",
  /** Assumed: 2021-04-29 has the old order, a capture of October 2021 the new; no release note tells. */
  identifierSwapped: "2021-10-01",
  netconsoleMac: "2022-09-02",
  block1468: "2022-10-03",
  rollover: "2025-09-23",
} as const;
const CHANGES_2712 = {
  repeatedAttempts: "2023-10-18",
  /** Before it, assumed: the Pi 4's magic, since the code is the same. */
  ownMagic: "2023-10-30",
  rollover: "2025-09-23",
} as const;

/** Day of a release that has all of the changes. */
export const NEWEST_EEPROM = "2026-08-12";
const RETRY_PAUSE_MS = 5000;

/** `released` is a day as 2021-04-29. Releases between two changes are alike. */
export function eepromRelease(family: EepromFamily, released: string = NEWEST_EEPROM): EepromRelease {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(released)) {
    throw new Error(`Cannot simulate the boot loader of ${released}: expected the day of a release, as 2021-04-29`);
  }
  return family === "2711" ? release2711(released) : release2712(released);
}

function release2711(released: string): EepromRelease {
  const has = (change: keyof typeof CHANGES_2711) => released >= CHANGES_2711[change];
  return {
    identifier: has("identifier")
      ? {
          form: "magic",
          magic: has("identifierSwapped") ? MAGIC.rpi4Swapped : MAGIC.rpi4,
          hasMac: has("identifierMac"),
        }
      : { form: "serial" },
    blockBytes: has("block1468") ? 1468 : 1024,
    rollover: has("rollover"),
    reacknowledges: has("reacknowledge"),
    readsWholeMenu: has("wholeMenu"),
    toleratesPadding: has("padding"),
    takesRelayed: has("relayed"),
    requestHasVendorClass: has("requestVendorClass"),
    hasNetconsoleMac: has("netconsoleMac"),
    retryPauseMs: has("retryPause") ? RETRY_PAUSE_MS : 0,
    repeatsAttempts: true,
  };
}

function release2712(released: string): EepromRelease {
  const has = (change: keyof typeof CHANGES_2712) => released >= CHANGES_2712[change];
  return {
    identifier: { form: "magic", magic: has("ownMagic") ? MAGIC.rpi5Swapped : MAGIC.rpi4Swapped, hasMac: true },
    blockBytes: 1468,
    rollover: has("rollover"),
    reacknowledges: true,
    readsWholeMenu: true,
    toleratesPadding: true,
    takesRelayed: true,
    requestHasVendorClass: true,
    hasNetconsoleMac: true,
    retryPauseMs: RETRY_PAUSE_MS,
    repeatsAttempts: has("repeatedAttempts"),
  };
}
