/**
 * What happened to a node, in one timeline: boot packets, files, mounts, and the lines of its console. Events are in the
 * journal's memory; console lines, of which a boot has hundreds, only in a file of their own.
 */
import type { BootEvent } from "../cluster/event.ts";
import type { Clock } from "../ports.ts";
import { type Journal, parseEvent } from "./journal.ts";
import { LineFile } from "./line-file.ts";

const FILE_BYTES_MAX = 32 * 1024 * 1024;

export class NodeLog {
  readonly #journal: Journal;
  readonly #console: LineFile;
  readonly #stop: () => void;

  /** Keeps the console lines of all nodes in the file at `consolePath` from now on. */
  constructor(journal: Journal, consolePath: string, clock: Pick<Clock, "after">) {
    this.#journal = journal;
    this.#console = new LineFile(consolePath, FILE_BYTES_MAX, clock);
    this.#stop = journal.listen((event) => {
      if (event.kind === "console-line") this.#console.append(JSON.stringify(event));
    });
  }

  async close(): Promise<void> {
    this.#stop();
    await this.#console.flush();
  }

  /** Everything that is kept of a node, oldest first, with the starts and stops of the manager. `mac` as long as known. */
  async of(node: string, mac: string | undefined): Promise<BootEvent[]> {
    const lines: BootEvent[] = [];
    // As `record` writes it. Most lines are other nodes', and need not be parsed.
    const ofNode = `"node":${JSON.stringify(node)}`;
    for await (const line of this.#console.lines()) {
      const event = line.includes(ofNode) ? parseEvent(line) : undefined;
      if (event?.node === node) lines.push(event);
    }
    const events = this.#journal.events.filter((event) => isAbout(event, node, mac));
    return [...events, ...lines].sort((one, other) => one.sequence - other.sequence);
  }

  /** Hands on what happens to a node from now on; returns how to stop it. */
  follow(node: string, mac: string | undefined, hear: (event: BootEvent) => void): () => void {
    return this.#journal.listen((event) => {
      if (isAbout(event, node, mac)) hear(event);
    });
  }
}

function isAbout(event: BootEvent, node: string, mac: string | undefined): boolean {
  if (event.node !== undefined) return event.node === node;
  switch (event.kind) {
    case "manager-started":
    case "manager-stopping":
      return true;
    // What it did before it was a node.
    case "unknown-pi":
    case "dhcp-ignored":
      return event.mac === mac;
    default:
      return false;
  }
}
