/**
 * The serial console as text: whole lines, and the milestones of a boot that can be seen on it.
 */
import { StringDecoder } from "node:string_decoder";
import { stripVTControlCharacters } from "node:util";

export type ConsoleEvent =
  /** One line, without its end and without terminal control sequences. */
  | { kind: "console-line"; text: string }
  | { kind: "kernel-started"; release: string }
  | { kind: "root-mounted" }
  | { kind: "login-prompt"; text: string }
  | { kind: "kernel-panic"; text: string };

/** A console without line ends must not fill memory. */
const LINE_CHARACTERS_MAX = 4096;
const CONTROL_CHARACTER = /[^\P{Cc}\t]/gu;
const LOGIN_PROMPT = /(?:^|\s)\S+ login: $/;

const LINE_MILESTONES: readonly { pattern: RegExp; event(match: RegExpExecArray): ConsoleEvent }[] = [
  { pattern: /\bLinux version (\S+)/, event: (match) => ({ kind: "kernel-started", release: match[1] ?? "" }) },
  { pattern: /\bVFS: Mounted root \(nfs/, event: () => ({ kind: "root-mounted" }) },
  { pattern: /\bKernel panic - (.*)/, event: (match) => ({ kind: "kernel-panic", text: match[1] ?? "" }) },
];

export class ConsoleReader {
  readonly #report: (event: ConsoleEvent) => void;
  readonly #decoder = new StringDecoder("utf8");
  #pending = "";
  #promptReported = false;

  constructor(report: (event: ConsoleEvent) => void) {
    this.#report = report;
  }

  push(bytes: Uint8Array): void {
    const lines = (this.#pending + this.#decoder.write(Buffer.from(bytes))).split("\n");
    this.#pending = (lines.pop() ?? "").slice(-LINE_CHARACTERS_MAX);
    for (const line of lines) this.#line(line);
    this.#prompt();
  }

  #line(raw: string): void {
    const text = plainText(raw).trimEnd();
    this.#report({ kind: "console-line", text });
    for (const { pattern, event } of LINE_MILESTONES) {
      const match = pattern.exec(text);
      if (match) this.#report(event(match));
    }
  }

  /** A prompt waits on a line that has no end. It is told once a boot. */
  #prompt(): void {
    const text = plainText(this.#pending);
    if (this.#promptReported || !LOGIN_PROMPT.test(text)) return;
    this.#promptReported = true;
    this.#report({ kind: "login-prompt", text: text.trim() });
  }
}

function plainText(text: string): string {
  return stripVTControlCharacters(text).replace(CONTROL_CHARACTER, "");
}
