/**
 * Whether nodes that are up are still there. One that loses its power or hangs says nothing of it, and one that has nothing to do is
 * silent for minutes; so whoever is silent is asked. By ARP: every kernel answers it, and no firewall keeps it from that. Nodes behind
 * a router are not asked.
 */
import type { Report } from "../boot/report.ts";
import type { Ipv4 } from "../bytes/addresses.ts";
import { type BootEvent, isUp } from "../cluster/event.ts";
import type { ClusterStatus } from "../cluster/status.ts";
import type { AddressProbe, Clock, Timer } from "../ports.ts";
import { openArpProbe } from "../system/arp-probe.ts";
import type { Journal } from "./journal.ts";
import { lanInterface, networkOf, type ServiceNetwork } from "./service-networks.ts";

const LOOK_MS = 5000;
/** After so long without a sign of it, a node is asked. */
const QUIET_MS = 15_000;
/** In a row: questions and answers may be lost, and whoever pulls a cable for a moment wants no alarm. */
const UNANSWERED_MAX = 4;

/** With these a node shows that it is there. Other events may tell what is done about it. */
const PROOFS_OF_LIFE: ReadonlySet<BootEvent["kind"]> = new Set<BootEvent["kind"]>([
  "dhcp-request",
  "tftp-request",
  "mount",
  "root-activity",
  "up",
]);

export interface PresenceOptions {
  journal: Pick<Journal, "listen">;
  clock: Pick<Clock, "after" | "monotonicMs" | "unixMs">;
  report: Report;
  status(): ClusterStatus;
  /** Those of the manifest. */
  nodes(): readonly { name: string }[];
  /** `undefined`: on that network nobody can be asked. */
  probeFor(address: Ipv4): Pick<AddressProbe, "holderOf"> | undefined;
}

interface Presence {
  heardMs: number;
  /** Questions since then. */
  unanswered: number;
}

export class PresenceWatch {
  readonly #options: PresenceOptions;
  readonly #presences = new Map<string, Presence>();
  #timer: Timer | undefined;
  #isStopped = false;

  constructor(options: PresenceOptions) {
    this.#options = options;
  }

  /** Returns how to stop. */
  start(): () => void {
    const stopListening = this.#options.journal.listen((event) => {
      if (event.node !== undefined && PROOFS_OF_LIFE.has(event.kind)) this.#note(event.node);
    });
    this.#wait();
    return () => {
      this.#isStopped = true;
      stopListening();
      this.#timer?.cancel();
    };
  }

  #wait(): void {
    if (this.#isStopped) return;
    this.#timer = this.#options.clock.after(LOOK_MS, () => void this.#look().finally(() => this.#wait()));
  }

  async #look(): Promise<void> {
    const { nodes, status } = this.#options;
    const { nodes: known } = status();
    const asked = nodes().map(async ({ name }) => {
      const node = known.get(name);
      if (node?.address === undefined || !isUp(node.stage)) this.#presences.delete(name);
      else await this.#lookAt(name, node.address);
    });
    await Promise.all(asked);
  }

  async #lookAt(name: string, address: Ipv4): Promise<void> {
    const { clock, probeFor } = this.#options;
    // A manager that has just started, or sees a node come up, does not know how long that is silent.
    const presence = this.#presences.get(name) ?? this.#note(name, this.#isTold(name) ? UNANSWERED_MAX : 0);
    if (presence.unanswered === 0) this.#tellOfLife(name);
    const probe = clock.monotonicMs() - presence.heardMs < QUIET_MS ? undefined : probeFor(address);
    if (probe === undefined) return;
    const holder = await probe.holderOf(address);
    // It was heard of meanwhile.
    if (this.#isStopped || this.#presences.get(name) !== presence) return;
    if (holder === undefined) return this.#takeSilence(name, address, presence);
    this.#note(name);
    this.#tellOfLife(name);
  }

  #tellOfLife(name: string): void {
    if (this.#isTold(name)) this.#options.report({ kind: "answers-again" }, name);
  }

  #takeSilence(name: string, address: Ipv4, presence: Presence): void {
    const { clock, report } = this.#options;
    presence.unanswered++;
    if (presence.unanswered < UNANSWERED_MAX || this.#isTold(name)) return;
    const silentMs = clock.monotonicMs() - presence.heardMs;
    report({ kind: "no-answer", address, sinceMs: clock.unixMs() - silentMs }, name);
  }

  /** Perhaps by a manager before this one. */
  #isTold(name: string): boolean {
    return this.#options.status().nodes.get(name)?.noAnswerSinceMs !== undefined;
  }

  #note(name: string, unanswered = 0): Presence {
    const presence = { heardMs: this.#options.clock.monotonicMs(), unanswered };
    this.#presences.set(name, presence);
    return presence;
  }
}

/** Watches on those networks of which this machine has the interface. Returns how to stop. */
export function watchPresence(
  networks: readonly ServiceNetwork[],
  options: Omit<PresenceOptions, "probeFor"> & { clock: Clock },
): () => void {
  const asked = networks.flatMap((network) => {
    const interfaceName = lanInterface(network);
    if (interfaceName === undefined) return [];
    try {
      return [{ ...network, probe: openArpProbe(interfaceName, options.clock) }];
    } catch (error) {
      const message = `A node that loses its power is shown as up until it boots again. ${(error as Error).message}`;
      options.report({ kind: "warning", message });
      return [];
    }
  });
  const stop = new PresenceWatch({ ...options, probeFor: (address) => networkOf(asked, address)?.probe }).start();
  return () => {
    stop();
    for (const { probe } of asked) probe.close();
  };
}
