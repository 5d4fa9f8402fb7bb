/**
 * The connections that are open, and what ends one that its peer does not: too many of them, and peers that take up our
 * memory and do not go on (a record that is never whole, replies that are never read, a connection that never says anything).
 *
 * Idle connections are left alone: a Linux client keeps its own for five minutes, and keep-alive finds the dead ones.
 */
import type { Ipv4 } from "../bytes/addresses.ts";
import {
  NFS_CONNECTION_CHECK_MS,
  NFS_CONNECTION_STALLED_CHECKS_MAX,
  NFS_CONNECTIONS_MAX,
  NFS_CONNECTIONS_PER_CLIENT_MAX,
} from "../limits.ts";
import type { Clock, Timer } from "../ports.ts";

export interface TableEntry {
  readonly client: Ipv4;
  /** Rises with what is heard from any peer (`nextHeard`). */
  readonly lastHeard: number;
  /** Whether it is the peer's turn, and since the last time this was asked nothing was finished. */
  isStalled(): boolean;
  end(reason: string): void;
}

export class ConnectionTable {
  readonly #clock: Pick<Clock, "after">;
  readonly #byClient = new Map<Ipv4, Set<TableEntry>>();
  readonly #stalledChecks = new Map<TableEntry, number>();
  #count = 0;
  #heard = 0;
  #timer: Timer | undefined;
  /** Bytes of calls under way and of replies not yet read, of all connections. */
  heldBytes = 0;

  constructor(clock: Pick<Clock, "after">) {
    this.#clock = clock;
  }

  get count(): number {
    return this.#count;
  }

  nextHeard(): number {
    return ++this.#heard;
  }

  /** Where there is no room, the connection that was silent the longest ends: its owner, if it has one, connects again. */
  add(entry: TableEntry): void {
    const ofClient = this.#byClient.get(entry.client) ?? new Set();
    if (ofClient.size >= NFS_CONNECTIONS_PER_CLIENT_MAX) {
      endSilent(ofClient, `it has more than ${NFS_CONNECTIONS_PER_CLIENT_MAX} connections`);
    } else if (this.#count >= NFS_CONNECTIONS_MAX) {
      endSilent(this.#all(), `there are more than ${NFS_CONNECTIONS_MAX} connections`);
    }
    // Looked up again: the one that ended may have been its client's last.
    const room = this.#byClient.get(entry.client) ?? ofClient;
    this.#byClient.set(entry.client, room.add(entry));
    this.#count++;
    this.#timer ??= this.#clock.after(NFS_CONNECTION_CHECK_MS, () => this.#check());
  }

  remove(entry: TableEntry): void {
    const ofClient = this.#byClient.get(entry.client);
    if (!ofClient?.delete(entry)) return;
    if (ofClient.size === 0) this.#byClient.delete(entry.client);
    this.#stalledChecks.delete(entry);
    this.#count--;
    if (this.#count > 0) return;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  *#all(): Iterable<TableEntry> {
    for (const entries of this.#byClient.values()) yield* entries;
  }

  #check(): void {
    this.#timer = undefined;
    for (const entry of [...this.#all()]) {
      const checks = entry.isStalled() ? (this.#stalledChecks.get(entry) ?? 0) + 1 : 0;
      if (checks > NFS_CONNECTION_STALLED_CHECKS_MAX) entry.end("it did not go on with what it had begun");
      else if (checks > 0) this.#stalledChecks.set(entry, checks);
      else this.#stalledChecks.delete(entry);
    }
    if (this.#count > 0) this.#timer ??= this.#clock.after(NFS_CONNECTION_CHECK_MS, () => this.#check());
  }
}

function endSilent(entries: Iterable<TableEntry>, reason: string): void {
  let silent: TableEntry | undefined;
  for (const entry of entries) if (silent === undefined || entry.lastHeard < silent.lastHeard) silent = entry;
  silent?.end(reason);
}
