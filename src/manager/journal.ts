/**
 * The one feed of events: numbered, kept in a bounded ring, appended to a file, and handed to listeners.
 * The file is for reading what happened before a restart; losing its tail in a power cut loses nothing else.
 */
import { appendFile, readFile, rename, stat } from "node:fs/promises";
import type { BootEvent, BootOccurrence } from "../cluster/event.ts";
import type { Clock } from "../ports.ts";

const EVENTS_KEPT = 20_000;
const FILE_BYTES_MAX = 16 * 1024 * 1024;
const FLUSH_AFTER_MS = 200;

/** Shown live but not worth keeping: the next one says more. */
const TRANSIENT_KINDS = new Set<BootOccurrence["kind"]>(["tftp-progress", "root-activity"]);

/**
 * The file has at least every event whose number is a multiple of this. So a new run knows how far its predecessor,
 * which may have been killed with lines unwritten, can have counted, and starts above: a listener that asks for what
 * comes after the last number it has seen must not miss what is new.
 */
const NUMBERS_BETWEEN_LINES = 10_000;

export class Journal {
  readonly #clock: Clock;
  readonly #path: string;
  readonly #listeners = new Set<(event: BootEvent) => void>();
  #events: BootEvent[] = [];
  #sequence = 0;
  #unwritten = "";
  #writing: Promise<void> = Promise.resolve();
  #flushPlanned = false;

  constructor(path: string, clock: Clock) {
    this.#path = path;
    this.#clock = clock;
  }

  /** Reads what an earlier run left, so that numbers go on and the last boot of each node is known. */
  async load(): Promise<void> {
    const files = [`${this.#path}.1`, this.#path];
    const [older, newer] = await Promise.all(files.map((path) => readFile(path, "utf8").catch(() => "")));
    const text = `${older}\n${newer}`;
    // A line cut short must not take the next one with it.
    if (newer !== "" && !newer!.endsWith("\n")) this.#unwritten = "\n";
    for (const line of text.split("\n")) {
      // A line cut short by a power cut is skipped: it is the last, and the feed is a log, not state.
      const event = parseEvent(line);
      if (event) this.#keep(event);
    }
    if (this.#sequence > 0) this.#sequence += 2 * NUMBERS_BETWEEN_LINES;
  }

  /** Newest last. */
  get events(): readonly BootEvent[] {
    return this.#events;
  }

  record(occurrence: BootOccurrence, node?: string): BootEvent {
    const event: BootEvent = {
      ...occurrence,
      sequence: this.#sequence + 1,
      unixMs: this.#clock.unixMs(),
      ...(node === undefined ? {} : { node }),
    };
    this.#keep(event);
    if (!TRANSIENT_KINDS.has(event.kind) || event.sequence % NUMBERS_BETWEEN_LINES === 0) this.#append(event);
    for (const listener of this.#listeners) listener(event);
    return event;
  }

  /** Returns the function that stops listening. */
  listen(listener: (event: BootEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Resolves when all that was recorded is in the file, or could not be written. */
  flush(): Promise<void> {
    return this.#flush();
  }

  async close(): Promise<void> {
    await this.#flush();
  }

  #keep(event: BootEvent): void {
    this.#sequence = event.sequence;
    this.#events.push(event);
    if (this.#events.length > EVENTS_KEPT * 1.25) this.#events = this.#events.slice(-EVENTS_KEPT);
  }

  #append(event: BootEvent): void {
    this.#unwritten += `${JSON.stringify(event)}\n`;
    if (this.#flushPlanned) return;
    this.#flushPlanned = true;
    this.#clock.after(FLUSH_AFTER_MS, () => void this.#flush());
  }

  #flush(): Promise<void> {
    this.#flushPlanned = false;
    const text = this.#unwritten;
    this.#unwritten = "";
    // A full disk must not stop boots: the ring in memory goes on, and the next flush tries again with new events.
    this.#writing = this.#writing.then(() => this.#write(text)).catch(() => {});
    return this.#writing;
  }

  async #write(text: string): Promise<void> {
    if (text === "") return;
    const size = await stat(this.#path).then(
      (stats) => stats.size,
      () => 0,
    );
    if (size > FILE_BYTES_MAX) await rename(this.#path, `${this.#path}.1`);
    await appendFile(this.#path, text, { mode: 0o640 });
  }
}

function parseEvent(line: string): BootEvent | undefined {
  if (line === "") return undefined;
  try {
    const event = JSON.parse(line) as BootEvent;
    return typeof event.sequence === "number" && typeof event.kind === "string" ? event : undefined;
  } catch {
    return undefined;
  }
}
