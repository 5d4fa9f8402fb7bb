/**
 * Changes config.txt while keeping the image's own text. What is added stands under `[all]`, within the bytes that the
 * firmware reads over the network, and everything is ASCII: one foreign byte would hide the rest (firmware issue 1575).
 */
import { CONFIG_TXT_BYTES_MAX } from "../limits.ts";
import { type ConfigLine, parseConfigTxt } from "./config-txt.ts";

/** What should become of the initramfs: `keep` what the text says, load none, the automatic one, or this file. */
export type InitramfsChange = "keep" | "drop" | "automatic" | { file: string };

export interface ConfigTxtPatch {
  initramfs: InitramfsChange;
  /** Lines of the manifest, put last so that they win; may hold filters of their own. */
  extraLines?: readonly string[];
}

export interface PatchedConfigTxt {
  text: string;
  /** Settings of the image that lie behind the last byte the firmware reads. */
  hiddenLines: string[];
}

const AUTOMATIC_KEY = "auto_initramfs";
const INITRAMFS_KEYS: readonly string[] = ["initramfs", "ramfsfile", "ramfsaddr", AUTOMATIC_KEY];
const HEADING = "# Added for booting over the network";

export function patchConfigTxt(imageText: string, patch: ConfigTxtPatch): PatchedConfigTxt {
  const own = ownLines(imageText, patch.initramfs);
  const settings = own.filter((line) => line.kind !== "text");
  const added = addedLines(patch);
  const block = added.length === 0 ? [] : ["[all]", HEADING, ...added];
  const layouts = [
    [...rawLines(own), ...block],
    [...rawLines(settings), ...block],
    // Still too long: ours must be read, so they go first, and the rest starts again from `[all]`.
    [...block, "[all]", ...rawLines(settings)],
  ];
  const text = layouts.map(joinLines).find((layout) => layout.length <= CONFIG_TXT_BYTES_MAX) ?? joinLines(layouts[2]!);
  return { text, hiddenLines: hiddenLines(text) };
}

/** Takes the initramfs out of a file that config.txt includes. */
export function dropInitramfsLines(text: string): string {
  return joinLines(rawLines(ownLines(text, "drop")));
}

function ownLines(text: string, initramfs: InitramfsChange): ConfigLine[] {
  const lines = parseConfigTxt(asciiOnly(text).trimEnd());
  if (initramfs === "keep") return lines;
  // The automatic one is for boards whose sections name none of their own.
  const dropped = initramfs === "automatic" ? [AUTOMATIC_KEY] : INITRAMFS_KEYS;
  return lines.filter((line) => line.kind !== "setting" || !dropped.includes(line.key));
}

function addedLines({ initramfs, extraLines = [] }: ConfigTxtPatch): string[] {
  const own =
    initramfs === "keep"
      ? []
      : initramfs === "drop"
        ? ["auto_initramfs=0"]
        : initramfs === "automatic"
          ? ["auto_initramfs=1"]
          : [`initramfs ${initramfs.file} followkernel`];
  return [...own, ...extraLines.map(asciiOnly)];
}

function rawLines(lines: readonly ConfigLine[]): string[] {
  return lines.map((line) => line.raw);
}

/** The line that is cut in two counts as hidden too. */
function hiddenLines(text: string): string[] {
  if (text.length <= CONFIG_TXT_BYTES_MAX) return [];
  const lastWhole = text.lastIndexOf("\n", CONFIG_TXT_BYTES_MAX);
  return text
    .slice(lastWhole + 1)
    .trimEnd()
    .split("\n");
}

function asciiOnly(text: string): string {
  return text.replace(/[^\t\r\n\x20-\x7e]/g, "?");
}

function joinLines(lines: readonly string[]): string {
  return `${lines.join("\n")}\n`;
}
