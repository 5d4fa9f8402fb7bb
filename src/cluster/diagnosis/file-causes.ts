/** A board that asks for files which are not there: what its boot loader does without them. Most specific first. */

import { CONFIG_TXT_BYTES_MAX } from "../../limits.ts";
import { isUp } from "../event.ts";
import { CONFIG_TXT_NOT_ASCII, CONFIG_TXT_TOO_LONG } from "../plan-wording.ts";
import { type Boards, BRAMBLE, inWords, type NodeCause } from "./cause.ts";
import type { FileFact, NodeFacts } from "./facts.ts";

const PI_3: Boards = "3B, 3B+, CM3";
/** A board that goes on asks for its next file far sooner. */
const MOVED_ON_MS = 3_000;
/** The longest pause of a boot loader between two files is some seconds; it gives a file 30 s. */
const SILENT_MS = 20_000;

const KERNEL = /^(kernel[^/]*\.img|vmlinuz[^/]*|Image[^/]*|zImage[^/]*)$/;
const DEVICE_TREE = /^bcm27[^/]*\.dtb$/;
const INITRAMFS = /^(initramfs|initrd)/;
/** The name that a prefix without its slash makes. */
const GLUED_PREFIX = /^[^/]*[^/](start4?\.elf|config\.txt)$/;
const EEPROM_UPDATE = /^(pieeprom\.(upd|bin)|recovery\.bin|vl805\.bin)$/;
const SIGNED_BOOT = /^boot\.(img|sig)$/;

function filesLike({ attempt }: NodeFacts, pattern: RegExp): [string, FileFact][] {
  return [...attempt.files].filter(([name]) => pattern.test(name));
}

/** Names of such files that are missing, when none of them was there. */
function allMissing(node: NodeFacts, pattern: RegExp, nowMs: number): string | undefined {
  const files = filesLike(node, pattern);
  const missing = files.filter(([, file]) => file.missing !== undefined && file.complete === undefined);
  if (
    missing.length === 0 ||
    files.some(([, { complete, sentBytes, sizeBytes }]) => complete || sentBytes || sizeBytes)
  ) {
    return undefined;
  }
  const lastMs = Math.max(...missing.map(([, { missing }]) => missing!.ms));
  return node.attempt.isOver || nowMs - lastMs >= MOVED_ON_MS ? missing.map(([name]) => name).join(", ") : undefined;
}

function isComplete({ attempt }: NodeFacts, pattern: RegExp): boolean {
  return [...attempt.files].some(([name, { complete }]) => complete !== undefined && pattern.test(name));
}

/** The system runs, or its kernel does: what the firmware did not find was not needed. */
function isPastFirmware({ status, attempt }: NodeFacts): boolean {
  return isUp(status.stage) || status.stage === "root" || attempt.mountedMs !== undefined;
}

function missing(text: string | undefined): string | undefined {
  return text === undefined ? undefined : `it asked for ${text}, and the boot tree has no such file`;
}

export const FILE_CAUSES: readonly NodeCause[] = [
  {
    id: "prefix-without-slash",
    title: "The board's TFTP_PREFIX_STR has no slash at its end",
    boards: "4 and 5 families",
    sign: "a file is asked for whose name is a prefix and `start4.elf` or `config.txt` in one word",
    remedy: "Add / to the end of TFTP_PREFIX_STR in the EEPROM, or set TFTP_PREFIX=0",
    source: "EE#68",
    find: (node) =>
      isPastFirmware(node) ? undefined : missing(filesLike(node, GLUED_PREFIX).find(([, file]) => file.missing)?.[0]),
  },
  {
    id: "signed-boot",
    title: "The board wants a signed boot image, which Bramble does not serve",
    boards: "4 and 5 families",
    sign: "`boot.img` or `boot.sig` is asked for and missing, and no firmware file was sent",
    remedy:
      "Set SIGNED_BOOT=0 in the EEPROM (or take boot_ramdisk=1 out of config.txt); a board whose secure-boot key is burnt in cannot boot unsigned",
    source: "EE#857",
    find: (node, { nowMs }) =>
      isPastFirmware(node) || isComplete(node, /^(start4?\.elf|kernel.*)$/)
        ? undefined
        : missing(allMissing(node, SIGNED_BOOT, nowMs)),
  },
  {
    id: "eeprom-update-served",
    title: "The board fetches an update for its EEPROM, and flashes it",
    boards: "4 and 5 families",
    sign: "`pieeprom.upd`, `recovery.bin` or `vl805.bin` is asked for",
    remedy:
      "Do not take its power away until it has started again. If no update is wanted, set ENABLE_SELF_UPDATE=0 in the EEPROM or bootloader_update=0 in config.txt",
    source: "boot-eeprom",
    find(node) {
      const asked = filesLike(node, EEPROM_UPDATE)[0];
      if (asked === undefined || isPastFirmware(node)) return undefined;
      return `it asked for ${asked[0]}, ${asked[1].complete ? "and got it" : "and did not get it"}`;
    },
  },
  {
    id: "bootcode-missing",
    title: "The image has no bootcode.bin, without which a Pi 3 does not start",
    boards: PI_3,
    sign: "`bootcode.bin` is asked for and missing",
    remedy:
      "Use an image whose boot partition has bootcode.bin (Raspberry Pi OS has it), or copy it from the raspberrypi/firmware repository",
    source: "boot-net",
    find: (node, { nowMs }) => (isPastFirmware(node) ? undefined : missing(allMissing(node, /^bootcode\.bin$/, nowMs))),
  },
  {
    id: "firmware-file-missing",
    title: "The firmware's own program is missing (the board flashes 4 times)",
    boards: "all",
    sign: "`start4.elf` or `start.elf` is asked for, none was there, and the board does not go on",
    remedy:
      "Use an image that supports this model: a Pi 4 needs start4.elf and fixup4.dat, a Pi 3 bootcode.bin, start.elf and fixup.dat",
    source: "EE#74",
    find: (node, { nowMs }) => {
      if (isPastFirmware(node) || isComplete(node, KERNEL)) return undefined;
      return missing(allMissing(node, /^start(4|_cd|4cd|_x|4x|_db|4db)?\.elf$/, nowMs));
    },
  },
  {
    id: "fixup-missing",
    title: "fixup.dat is missing: the board has too little memory, or stops",
    boards: "all",
    sign: "`fixup*.dat` is asked for and missing, and the program that it belongs to was sent",
    remedy: "Use an image whose boot partition has start*.elf and fixup*.dat of the same release",
    source: "FW#1041",
    find: (node, { nowMs }) => (isPastFirmware(node) ? undefined : missing(allMissing(node, /^fixup.*\.dat$/, nowMs))),
  },
  {
    id: "device-tree-missing",
    title: "The image has no device tree for this board",
    boards: "all",
    sign: "a `bcm27….dtb` is asked for, none was there, and the board does not go on",
    remedy:
      "Use a newer image: the model is younger than the one that it has; or name the file with device_tree= in config.txt",
    source: "config.txt documentation",
    find: (node, { nowMs }) => {
      if (isPastFirmware(node) || isComplete(node, KERNEL)) return undefined;
      return missing(allMissing(node, DEVICE_TREE, nowMs));
    },
  },
  {
    id: "kernel-missing",
    title: "The firmware finds no kernel (the board flashes 7 times)",
    boards: "all",
    sign: "kernels are asked for, none was there, and the board does not go on",
    remedy:
      "Check kernel=, arm_64bit= and os_prefix= in config.txt against the files of the image's boot partition (`bramble plan NODE` shows what is asked for)",
    source: "LED warning codes",
    find: (node, { nowMs }) => (isPastFirmware(node) ? undefined : missing(allMissing(node, KERNEL, nowMs))),
  },
  {
    id: "command-line-missing",
    title: "The kernel starts without a command line, so without a root",
    boards: "all",
    sign: "`cmdline.txt` is asked for and missing, a kernel was sent, and no root is mounted",
    remedy: "Check cmdline= and os_prefix= in config.txt: the file that they name must be in the image",
    source: BRAMBLE,
    find: (node, { nowMs }) =>
      isComplete(node, KERNEL) && !isPastFirmware(node)
        ? missing(allMissing(node, /(^|\/)cmdline\.txt$/, nowMs))
        : undefined,
  },
  {
    id: "initramfs-missing",
    title: "The initramfs that config.txt names is missing",
    boards: "all",
    sign: "an initramfs is asked for and missing, a kernel was sent, and no root is mounted",
    remedy: "Take the initramfs line out of config.txt, or put the file into the image's boot partition",
    source: "config.txt documentation",
    find: (node, { nowMs }) =>
      isComplete(node, KERNEL) && !isPastFirmware(node) ? missing(allMissing(node, INITRAMFS, nowMs)) : undefined,
  },
  {
    id: "file-request-refused",
    title: "The board's request for a file was refused",
    boards: "all",
    sign: "a TFTP request that is no plain read of a file below the boot tree",
    remedy: "Look at the reason: only reading is served, in octet mode, with names that stay in the tree",
    source: "RFC 1350",
    find: (node) => {
      const refused = [...node.attempt.files.values()].find(({ missing }) => missing?.isRefused);
      return refused && !isPastFirmware(node) ? `${refused.path}: ${refused.missing!.reason}` : undefined;
    },
  },
  {
    id: "config-txt-too-long",
    title: "config.txt is too long: the firmware ignores what stands behind byte 4096",
    boards: "all",
    sign: "`config.txt` of more than 4096 bytes is sent, or planned",
    remedy: "Shorten config.txt (drop comments), and put what matters first",
    source: "FW#1012, FW#1575",
    find(node) {
      if (isUp(node.status.stage) || node.status.stage === "silent") return undefined;
      const sizeBytes =
        node.attempt.files.get("config.txt")?.complete && node.attempt.files.get("config.txt")?.sizeBytes;
      if (sizeBytes && sizeBytes > CONFIG_TXT_BYTES_MAX) return `it has ${sizeBytes} bytes`;
      return node.plan.warnings.find((warning) => warning.startsWith(CONFIG_TXT_TOO_LONG));
    },
  },
  {
    id: "config-txt-not-ascii",
    title: "config.txt has characters that are not ASCII: the firmware stops reading there",
    boards: "all",
    sign: "the planned `config.txt` has a byte above 127",
    remedy: "Write the lines of config.txt in ASCII, comments too",
    source: "FW#1012",
    find: ({ plan, status }) =>
      isUp(status.stage) || status.stage === "silent"
        ? undefined
        : plan.warnings.find((warning) => warning.startsWith(CONFIG_TXT_NOT_ASCII)),
  },
];

/** What holds when nothing more special does. */
export const SILENCE_CAUSES: readonly NodeCause[] = [
  {
    id: "firmware-silent",
    title: "The board stopped asking for files before it had a kernel",
    boards: "all",
    sign: "files were asked for, no kernel was sent, and nothing more came for 20 s",
    remedy:
      "Look at the board's screen or its flashes: power, a file that it cannot use, or a switched-off board. Its last file is where to begin",
    source: "LED warning codes",
    find: (node, { nowMs }) => {
      const { lastFileMs, lastPath, files } = node.attempt;
      if (lastFileMs === undefined || node.asking || isPastFirmware(node) || isComplete(node, KERNEL)) return undefined;
      if (node.status.stage !== "firmware" || nowMs - lastFileMs <= SILENT_MS) return undefined;
      return `${files.size} files asked for, the last ${lastPath ?? "one"}, ${inWords(nowMs - lastFileMs)} ago`;
    },
  },
];
