/** What a process wrote to some files, as strace saw it (`-f -xx`), and what a power cut at any of its calls could leave. */
import { basename } from "node:path";
import type { SeededRandom } from "./seeded-random.ts";

const BLOCK_BYTES = 4096;

export type FileEvent =
  /** `isDurable`: the call returns when it is on disk (O_DSYNC). */
  | { kind: "write"; file: string; offset: number; bytes: Uint8Array; isDurable: boolean }
  | { kind: "truncate"; file: string; sizeBytes: number }
  | { kind: "sync"; file: string }
  | { kind: "mark"; text: string };

/**
 * The calls in the order they ended: a sync that has begun promises nothing. Calls that failed are none. Files go
 * by their names without folders; writes to the one named `marks` are marks.
 */
export function readTrace(trace: string, marks: string): FileEvent[] {
  const events: FileEvent[] = [];
  const begun = new Map<string, string>();
  const files = new Map<string, { name: string; isDurable: boolean; position: number }>();
  for (const line of trace.split("\n")) {
    const call = wholeCall(line, begun);
    if (call === undefined) continue;
    const opened = /^openat\(.*?"([^"]*)", (\S+?)(?:, \d+)?\) += (\d+)$/.exec(call);
    if (opened) {
      const name = basename(unescaped(opened[1]!).toString());
      files.set(opened[3]!, { name, isDurable: opened[2]!.includes("DSYNC"), position: 0 });
      continue;
    }
    const [, name = "", descriptor = "", rest = ""] = /^(\w+)\((\d+),? ?(.*)\) += \d+$/s.exec(call) ?? [];
    const file = files.get(descriptor);
    if (file === undefined) continue;
    if (file.name === marks) {
      if (name === "write") events.push({ kind: "mark", text: unescaped(rest.split('"')[1]!).toString().trim() });
    } else if (name === "lseek") {
      file.position = Number(/= (\d+)$/.exec(call)![1]);
    } else if (name === "pwrite64" || name === "pwritev" || name === "writev") {
      const bytes = Buffer.concat(
        Array.from(rest.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g), ([, text]) => unescaped(text!)),
      );
      const offset = name === "writev" ? file.position : Number(rest.slice(rest.lastIndexOf(",") + 1));
      file.position = offset + bytes.length;
      events.push({ kind: "write", file: file.name, offset, bytes, isDurable: file.isDurable });
    } else if (name === "fdatasync" || name === "fsync") events.push({ kind: "sync", file: file.name });
    else if (name === "ftruncate") events.push({ kind: "truncate", file: file.name, sizeBytes: Number(rest) });
    else if (name !== "close") throw new Error(`Cannot read a trace with ${name}`);
  }
  return events;
}

/** Puts together what strace cut in two because another thread came between. */
function wholeCall(line: string, begun: Map<string, string>): string | undefined {
  const [, thread, text] = /^(\d+) +(.*)$/s.exec(line) ?? [];
  if (thread === undefined || text === undefined) return undefined;
  const unfinished = / <unfinished \.\.\.>$/.exec(text);
  if (unfinished) {
    begun.set(thread, text.slice(0, unfinished.index));
    return undefined;
  }
  const resumed = /^<\.\.\. \w+ resumed>/.exec(text);
  return resumed ? `${begun.get(thread) ?? ""}${text.slice(resumed[0].length)}` : text;
}

function unescaped(text: string): Buffer {
  return Buffer.from(text.replaceAll("\\x", ""), "hex");
}

interface Piece {
  offset: number;
  bytes: Uint8Array;
  isDurable: boolean;
}

/** The files as a cut after the first `count` events may leave them, and the last mark before. At first they were `bases`. */
export function afterCut(
  bases: ReadonlyMap<string, Uint8Array>,
  events: readonly FileEvent[],
  count: number,
  random: SeededRandom,
): { contents: Map<string, Uint8Array>; mark: string } {
  const written = new Map<string, Piece[]>();
  for (const [file, bytes] of bases) written.set(file, [{ offset: 0, bytes, isDurable: true }]);
  let mark = "";
  for (const event of events.slice(0, count)) {
    if (event.kind === "mark") mark = event.text;
    else if (event.kind === "sync") for (const piece of written.get(event.file)!) piece.isDurable = true;
    else if (event.kind === "write") written.get(event.file)!.push(...inBlocks(event));
  }
  // The call that comes next has begun: a part of it may be there too.
  const next = events[count];
  if (next?.kind === "write") written.get(next.file)!.push(...inBlocks({ ...next, isDurable: false }));
  const chance = random.pick([0, 0.5, 0.5, 1]);
  const contents = new Map<string, Uint8Array>();
  for (const [file, pieces] of written) {
    const kept = pieces.filter(({ isDurable }) => isDurable || random.chance(chance));
    const content = new Uint8Array(Math.max(0, ...kept.map(({ offset, bytes }) => offset + bytes.length)));
    for (const { offset, bytes } of kept) content.set(bytes, offset);
    contents.set(file, content);
  }
  return { contents, mark };
}

/** Disks write whole sectors; more than a block is never sure to come as one. */
function inBlocks({ offset, bytes, isDurable }: Piece): Piece[] {
  const pieces: Piece[] = [];
  for (let at = 0; at < bytes.length; ) {
    const countBytes = Math.min(bytes.length - at, BLOCK_BYTES - ((offset + at) % BLOCK_BYTES));
    pieces.push({ offset: offset + at, bytes: bytes.subarray(at, at + countBytes), isDurable });
    at += countBytes;
  }
  return pieces;
}
