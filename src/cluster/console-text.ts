/**
 * Lines that a boot loader or a kernel sends by netconsole: UDP datagrams of text, source port 6665, destination 6666.
 * Linux, Documentation/networking/netconsole.rst: one datagram for each record of the log, or part of one above 1000
 * bytes; in the extended format each begins with `level,sequence,microseconds,flags[,ncfrag=at/total];`, continuation
 * lines follow. The Raspberry Pi's bootloader (`NETCONSOLE` in its EEPROM) sends what it prints on the serial port, not
 * always whole lines.
 * Left out: putting fragments of the extended format in order (they come in order on one network).
 */
import { CONSOLE_LINE_BYTES_MAX } from "../limits.ts";

const EXTENDED_HEADER = /^\d+,\d+,\d+,[^;\n]*;/;
/** Colours and cursor movements: ECMA-48 control sequences, and the shorter escapes. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it is what is looked for
const ESCAPE_SEQUENCE = /\x1b(?:\[[0-?]*[ -/]*[@-~]|[ -/]*[0-~])/g;

/** Bytes as text that is safe to print: printable ASCII stays, anything else is a `\xNN`; tabs are spaces. */
export function consoleText(bytes: Uint8Array): string {
  return Buffer.from(bytes)
    .toString("latin1")
    .replace(ESCAPE_SEQUENCE, "")
    .replace(/\t/g, " ")
    .replace(/[^ -~]/g, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** What one sender has sent of a line so far. */
export class ConsoleLines {
  #begun: Uint8Array = new Uint8Array(0);

  get isWithinLine(): boolean {
    return this.#begun.length > 0;
  }

  /** The lines that this datagram completes, without their ends. A line that is too long is given in parts. */
  take(datagram: Uint8Array): string[] {
    const header = EXTENDED_HEADER.exec(Buffer.from(datagram.subarray(0, 128)).toString("latin1"))?.[0] ?? "";
    // A record of the extended format is whole, and says so by its end only.
    const bytes = Buffer.concat([this.#begun, datagram.subarray(header.length)]);
    const lines: string[] = [];
    let start = 0;
    for (let at = 0; at < bytes.length; at++) {
      const isEnd = bytes[at] === NEWLINE || bytes[at] === CARRIAGE_RETURN;
      if (!isEnd && at - start < CONSOLE_LINE_BYTES_MAX) continue;
      push(lines, bytes.subarray(start, at));
      start = isEnd ? at + 1 : at;
    }
    this.#begun = bytes.subarray(start);
    return lines;
  }

  /** What has come of a line whose end has not. */
  end(): string[] {
    const lines: string[] = [];
    push(lines, this.#begun);
    this.#begun = new Uint8Array(0);
    return lines;
  }
}

/** Empty lines are of no use in a log. */
function push(lines: string[], bytes: Uint8Array): void {
  const text = consoleText(bytes).trimEnd();
  if (text !== "") lines.push(text);
}
