/** The messages that begin with "Cannot", as the source has them and as docs/ERRORS.md has them. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** What varies in a message. */
const VARYING = "…";

/**
 * What a message says was not possible, without the reason: `Cannot use UDP port 67: dnsmasq has it` is of the form
 * `Cannot use …`. A message ends at its first colon, semicolon, comma or full stop.
 */
export function formOf(message: string): string {
  return message.split(/[:;,.](?: |$)/)[0]!.trim();
}

/** Forms of all such string literals below a folder, each with a place where it stands. Fixtures of tests are left out. */
export function formsInSource(folder: string): Map<string, string> {
  const forms = new Map<string, string>();
  for (const file of sourceFiles(folder)) {
    for (const message of messagesIn(readFileSync(file, "utf8"))) forms.set(formOf(message), file);
  }
  return forms;
}

/** Forms of all code spans of a Markdown text that begin with "Cannot". */
export function formsInDocument(markdown: string): Set<string> {
  return new Set(Array.from(markdown.matchAll(/`(Cannot [^`]+)`/g), ([, message]) => formOf(message!)));
}

/** Literals with `…` for each `${}`. Comments do not count, nor the bare word, as in `startsWith("Cannot ")`. */
export function messagesIn(source: string): string[] {
  const code = source.replace(/^\s*(\/\/|\/?\*).*$/gm, "");
  return Array.from(code.matchAll(/(["'`])(?=Cannot )/g), ({ 0: quote, index }) =>
    literalAt(code, index + 1, quote),
  ).filter((message) => message !== "Cannot ");
}

function literalAt(code: string, start: number, quote: string): string {
  let text = "";
  for (let at = start; at < code.length && code[at] !== quote; at++) {
    if (quote === "`" && code.startsWith("${", at)) {
      at = endOfExpression(code, at + 2);
      text += VARYING;
    } else {
      if (code[at] === "\\") at++;
      text += code[at];
    }
  }
  return text;
}

/** Where the brace stands that closes the expression. */
function endOfExpression(code: string, start: number): number {
  let depth = 1;
  let at = start;
  for (; at < code.length; at++) {
    if (code[at] === "{") depth++;
    else if (code[at] === "}" && --depth === 0) break;
  }
  return at;
}

const FIXTURES = /\.test\.ts$|-fixture\.ts$|\/(memory-|random-|test-|simulated-clock)[^/]*\.ts$/;

function sourceFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !FIXTURES.test(path));
}
