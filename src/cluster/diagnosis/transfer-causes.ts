/** Files that do not come whole, or slowly: how they ended, and how much was lost. Most specific first. */

import type { TransferFailure } from "../../tftp/observation.ts";
import { isUp } from "../event.ts";
import { type Boards, BRAMBLE, inWords, type NodeCause } from "./cause.ts";
import type { FileFact, NodeFacts } from "./facts.ts";

const PI_3: Boards = "3B, 3B+, CM3";
const BLOCK_NUMBERS = 65_536;
/** What EEPROM boot loaders ask for before 2022-10-03. They do not wrap block numbers either. */
const OLD_BLOCK_BYTES = 1024;
/** Below it a few lost packets are many. */
const BLOCKS_MIN = 1000;
const LOSS_MAX = 0.03;
/** EEPROM boot loaders give a file 30 s. */
const TIMEOUT_MS = 29_000;
/** Of a client that says nothing more. */
const SILENCE_MS = 15_000;
const SLOW_BYTES_MIN = 2 * 1024 * 1024;
const SLOW_BYTES_PER_S = 200_000;

/** Told of a failed file as long as the board has not got on without it. */
function failed({ attempt, status }: NodeFacts): [string, FileFact & { failed: NonNullable<FileFact["failed"]> }][] {
  if (isUp(status.stage) || status.stage === "root") return [];
  return [...attempt.files].flatMap(([name, file]) =>
    file.failed && !file.complete ? [[name, { ...file, failed: file.failed }] as const] : [],
  ) as [string, FileFact & { failed: NonNullable<FileFact["failed"]> }][];
}

function isOldEeprom({ attempt }: NodeFacts): boolean {
  return [...attempt.files.values()].some(({ blockBytes }) => blockBytes === OLD_BLOCK_BYTES);
}

function isPi3({ loader, model }: NodeFacts): boolean {
  return loader === "rom-3b" || loader === "bootcode" || (model !== undefined && /^(3b|3b\+|cm3)$/.test(model));
}

function howFar({ failed: { sentBytes, sizeBytes } }: FileFact & { failed: NonNullable<FileFact["failed"]> }): string {
  return sizeBytes === 0 ? "" : ` after ${sentBytes} of ${sizeBytes} bytes`;
}

function failureText(found: ReturnType<typeof failed>[number] | undefined): string | undefined {
  return found && `${found[0]} failed${howFar(found[1])}: ${found[1].failed.reason}`;
}

function failedFor(node: NodeFacts, cause: TransferFailure): string | undefined {
  return failureText(failed(node).find(([, file]) => file.failed.cause === cause));
}

/** The board asked for something else after the file was lost: it is alive. */
function movedOn({ attempt }: NodeFacts, file: FileFact): boolean {
  return [...attempt.files.values()].some((other) => other.requestedMs > file.requestedMs);
}

/** From the request to the last sign of the board. */
function triedMs({ requestedMs, failed }: FileFact & { failed: NonNullable<FileFact["failed"]> }): number {
  return failed.ms - requestedMs - (failed.cause === "silence" ? SILENCE_MS : 0);
}

export const TRANSFER_CAUSES: readonly NodeCause[] = [
  {
    id: "boot-file-unreadable",
    title: "The manager cannot read a boot file",
    boards: "all",
    sign: "a transfer ended because reading the file failed",
    remedy:
      "Check the disk of the image and of the state folder, and that nobody changed or removed the image file; `bramble fsck` checks what Bramble stores",
    source: BRAMBLE,
    find: (node) => failedFor(node, "unreadable"),
  },
  {
    id: "too-many-transfers",
    title: "More files are asked for at once than Bramble sends",
    boards: "all",
    sign: "a transfer was refused because too many run",
    remedy:
      "Look for a machine that asks for files without end (`bramble watch`); boards need one or two transfers each",
    source: BRAMBLE,
    find: (node) => failedFor(node, "too-many-transfers"),
  },
  {
    id: "block-limit-reached",
    title: "The boot loader cannot load a file of more than 65,535 blocks",
    boards: "4 and 5 families",
    sign: "a transfer ended at block 65,535 of a longer file",
    remedy: "Update the EEPROM (2025-09-23 or later), or make the file smaller: most often it is the initramfs",
    source: "EE#720, EE#375",
    find: (node) => {
      const found = failed(node).find(([, { failed, blockBytes = 512 }]) => {
        const limitBytes = (BLOCK_NUMBERS - 1) * blockBytes;
        const { sentBytes, sizeBytes } = failed;
        return sizeBytes > limitBytes && sentBytes >= limitBytes - blockBytes && sentBytes <= limitBytes + blockBytes;
      });
      return failureText(found);
    },
  },
  {
    id: "file-too-large-for-eeprom",
    title: "A file is larger than this board's old boot loader can load",
    boards: "4 family",
    sign: "a file of more than 65,535 blocks is asked for with 1024-byte blocks, as EEPROMs before 2022-10 do",
    remedy: "Update the EEPROM (2025-09-23 or later), or make the file smaller than 67,107,840 bytes",
    source: "EE#375, EE#720",
    find: ({ attempt, status }) => {
      if (isUp(status.stage) || status.stage === "root" || status.stage === "kernel") return undefined;
      const limitBytes = (BLOCK_NUMBERS - 1) * OLD_BLOCK_BYTES;
      const found = [...attempt.files].find(
        ([, { blockBytes, sizeBytes = 0 }]) => blockBytes === OLD_BLOCK_BYTES && sizeBytes > limitBytes,
      );
      return found && `${found[0]} has ${found[1].sizeBytes} bytes; ${limitBytes} at most`;
    },
  },
  {
    id: "board-stopped-transfer",
    title: "The board stopped a file in the middle",
    boards: "all",
    sign: "an error packet of the board's in the middle of a transfer",
    remedy:
      "The file may be too large for the board's memory, or not what the firmware expects: look at the reason and the board's screen",
    source: "EE boot loader: `File is too large`",
    find: (node) => failedFor(node, "stopped"),
  },
  {
    id: "packets-lost",
    title: "Many packets between the manager and the board are lost",
    boards: "all",
    sign: "more than 3 % of 1000 or more TFTP packets of a boot were sent again",
    remedy:
      "Check the cable, the switch's port counters, and duplex settings; a board on a power-line or wireless bridge loses packets too",
    source: "RFC 1350 section 2",
    find: ({ attempt, status }) =>
      !isUp(status.stage) && attempt.blocks >= BLOCKS_MIN && attempt.retransmits / attempt.blocks > LOSS_MAX
        ? `${attempt.retransmits} of ${attempt.blocks} packets were sent again`
        : undefined,
  },
  {
    id: "fixup-lost",
    title: "A Pi 3 lost fixup.dat on the way, and will come up with 128 MB of memory",
    boards: PI_3,
    sign: "the transfer of `fixup*.dat` to a Pi 3 broke off",
    remedy:
      "Switch the board off and on; if it comes again, look for packet loss (cable, switch): this firmware waits one second, and goes on without the file",
    source: "FW#1041",
    find: (node) => (isPi3(node) ? failureText(failed(node).find(([name]) => /^fixup.*\.dat$/.test(name))) : undefined),
  },
  {
    id: "pi3-file-lost",
    title: "A Pi 3 lost a file on the way, and goes on without it",
    boards: PI_3,
    sign: "a transfer to a Pi 3 broke off, and the board asked for another file",
    remedy:
      "Look for packet loss (cable, switch, a slow link between them): this firmware waits one second for a packet and then takes the file for missing",
    source: "FW#991, FW#1025",
    find: (node) =>
      isPi3(node)
        ? failureText(failed(node).find(([, file]) => file.failed.cause === "silence" && movedOn(node, file)))
        : undefined,
  },
  {
    id: "file-timeout",
    title: "The board gave up a file that took too long",
    boards: "4 and 5 families",
    sign: "a transfer to an EEPROM boot loader broke off after 30 s or more (`TFTP_FILE_TIMEOUT`)",
    remedy:
      "Look for a slow link or packet loss (cable, switch, wireless or power-line bridge), or make the file smaller; TFTP_FILE_TIMEOUT in the EEPROM makes it wait longer",
    source: "eeprom-bootloader",
    find: (node) =>
      node.loader === "eeprom"
        ? failureText(
            failed(node).find(
              ([, file]) =>
                (file.failed.cause === "silence" || file.failed.cause === "superseded") &&
                file.failed.sentBytes > 0 &&
                triedMs(file) > TIMEOUT_MS,
            ),
          )
        : undefined,
  },
  {
    id: "old-eeprom-hangs",
    title: "The board's old boot loader hangs when one acknowledgement is lost",
    boards: "4 family",
    sign: "a transfer with 1024-byte blocks (EEPROM before 2022-10) broke off in silence after blocks were sent again",
    remedy: "Update the EEPROM (2021-02-16 or later), and look for packet loss",
    source: "rpi-eeprom release notes, 2021-02-16",
    find: (node) => {
      if (!isOldEeprom(node)) return undefined;
      const found = failed(node).find(
        ([, { failed }]) => failed.cause === "silence" && failed.sentBytes > 0 && failed.retransmits > 2,
      );
      return failureText(found);
    },
  },
  {
    id: "transfer-broke-off",
    title: "The board stopped answering in the middle of a file",
    boards: "all",
    sign: "a transfer broke off in silence after its first block",
    remedy: "Check power, cable and switch: the board lost its link or its power, or packets to it are dropped",
    source: "RFC 1350 section 2",
    find: (node) =>
      failureText(failed(node).find(([, file]) => file.failed.cause === "silence" && file.failed.sentBytes > 0)),
  },
  {
    id: "first-block-unanswered",
    title: "The board asks for files, but does not answer what is sent to it",
    boards: "all",
    sign: "two transfers ended without an answer to their first packet",
    remedy:
      "Let UDP from any port of the manager to the board pass (a transfer leaves from a port of its own): a firewall, NAT or a container network is in the way; a small MTU on the way does the same",
    source: "RFC 1350 section 4",
    find: (node) => {
      const silent = failed(node).filter(([, { failed }]) => failed.cause === "silence" && failed.sentBytes === 0);
      const times = silent.reduce((sum, [, { failures }]) => sum + failures, 0);
      return times >= 2 ? `${times} times; the last: ${failureText(silent.at(-1))}` : undefined;
    },
  },
  {
    id: "transfers-slow",
    title: "Files take long, though hardly a packet is lost",
    boards: "all",
    sign: "a file of 2 MiB or more came with less than 200 kB/s",
    remedy:
      "Look for a slow link (10 Mbit/s, wireless, power line) or a busy manager: TFTP waits for an answer to each block, so delay counts most",
    source: "RFC 1350 section 2",
    find: ({ attempt, status }) => {
      if (isUp(status.stage) || status.stage === "root") return undefined;
      const slow = [...attempt.files].find(([, { complete, sizeBytes = 0 }]) => {
        return complete && sizeBytes >= SLOW_BYTES_MIN && sizeBytes / (complete.durationMs / 1000) < SLOW_BYTES_PER_S;
      });
      return slow && `${slow[0]} (${slow[1].sizeBytes} bytes) took ${inWords(slow[1].complete!.durationMs)}`;
    },
  },
];
