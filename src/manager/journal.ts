/**
 * The one feed of events: numbered, kept in a bounded ring, appended to a file, and handed to listeners.
 * The file is for reading what happened before a restart; losing its tail in a power cut loses nothing else.
 */
import type { BootEvent, BootOccurrence } from "../cluster/event.ts";
import type { Clock } from "../ports.ts";
import { LineFile } from "./line-file.ts";

const EVENTS_KEPT = 20_000;
const FILE_BYTES_MAX = 16 * 1024 * 1024;

/** Shown live but not worth keeping: the next one says more. */
const TRANSIENT_KINDS = new Set<BootOccurrence["kind"]>(["tftp-progress", "root-activity"]);
/** One boot has hundreds: they are kept in a file of their own, so that they do not push the others out. */
const KEPT_ELSEWHERE: BootOccurrence["kind"] = "console-line";

/**
 * The file has at least every event whose number is a multiple of this. So a new run knows how far its predecessor,
 * which may have been killed with lines unwritten, can have counted, and starts above: a listener that asks for what
 * comes after the last number it has seen must not miss what is new.
 */
const NUMBERS_BETWEEN_LINES = 10_000;

export class Journal {
  readonly #clock: Clock;
  readonly #file: LineFile;
  readonly #listeners = new Set<(event: BootEvent) => void>();
  #events: BootEvent[] = [];
  #sequence = 0;

  constructor(path: string, clock: Clock) {
    this.#file = new LineFile(path, FILE_BYTES_MAX, clock);
    this.#clock = clock;
  }

  /** Reads what an earlier run left, so that numbers go on and the last boot of each node is known. */
  async load(): Promise<void> {
    for (const line of await this.#file.readAll()) {
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
    const isWorthKeeping = !TRANSIENT_KINDS.has(event.kind) && event.kind !== KEPT_ELSEWHERE;
    if (isWorthKeeping || event.sequence % NUMBERS_BETWEEN_LINES === 0) this.#file.append(JSON.stringify(event));
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
    return this.#file.flush();
  }

  async close(): Promise<void> {
    await this.#file.flush();
  }

  #keep(event: BootEvent): void {
    this.#sequence = event.sequence;
    if (event.kind === KEPT_ELSEWHERE) return;
    this.#events.push(event);
    if (this.#events.length > EVENTS_KEPT * 1.25) this.#events = this.#events.slice(-EVENTS_KEPT);
  }
}

/** `undefined` for a line that is damaged. */
export function parseEvent(line: string): BootEvent | undefined {
  if (line === "") return undefined;
  try {
    const event = JSON.parse(line) as BootEvent;
    return typeof event.sequence === "number" && typeof event.kind === "string" ? event : undefined;
  } catch {
    return undefined;
  }
}
