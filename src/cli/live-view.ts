import type { WriteStream } from "node:tty";

/** A table that stays at the bottom of the terminal while lines scroll by above it. */
export class LiveView {
  readonly #out: WriteStream;
  #table = "";
  #shownLines = 0;

  constructor(out: WriteStream) {
    this.#out = out;
  }

  setTable(table: string): void {
    this.#table = table;
    this.#draw([]);
  }

  addLine(line: string): void {
    this.#draw([line]);
  }

  /** Leaves the table where it is and ends the view. */
  close(): void {
    this.#shownLines = 0;
    this.#out.write("\n");
  }

  #draw(lines: readonly string[]): void {
    const width = this.#out.columns || 120;
    const up = this.#shownLines > 0 ? `\u001b[${this.#shownLines}A\r\u001b[J` : "";
    const shown = this.#table.split("\n").map((line) => cut(line, width));
    const rule = "─".repeat(Math.min(width, 100));
    this.#out.write(`${up}${lines.map((line) => `${cut(line, width)}\n`).join("")}${rule}\n${shown.join("\n")}\n`);
    this.#shownLines = shown.length + 1;
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the terminal's own escape codes
const ESCAPE_CODES = /(\u001b\[\d+m)/;

/** A line that wrapped would take two rows and spoil the count; colour codes take none. */
function cut(line: string, width: number): string {
  let visible = 0;
  let result = "";
  for (const part of line.split(ESCAPE_CODES)) {
    if (part.startsWith("\u001b")) {
      result += part;
      continue;
    }
    const room = Math.max(0, width - 1 - visible);
    const characters = [...part].slice(0, room);
    visible += characters.length;
    result += characters.join("");
  }
  return result;
}
