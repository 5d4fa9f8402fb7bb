/** Several virtual Pis on one network, and one feed of what happens to them. */
import type { Clock } from "../ports.ts";
import { VirtualPi, type VirtualPiEvent, type VirtualPiSettings } from "./virtual-pi.ts";

export type FleetEvent = { unixMs: number; pi: string } & VirtualPiEvent;

type Shared = "openPort" | "machines" | "memoryMiB" | "firmware" | "retryPauseMs" | "random";

export interface FleetSettings extends Pick<VirtualPiSettings, Shared> {
  pis: readonly Pick<VirtualPiSettings, "name" | "board" | "tapName" | "console">[];
  clock: Clock;
  onEvent(event: FleetEvent): void;
  /** Switches all of them off. */
  signal: AbortSignal;
  /** How long after one the next is switched on. Absent: all together. */
  powerOnApartMs?: number;
}

export interface Fleet {
  pi(name: string): VirtualPi | undefined;
  /** When the last one is off. Rejects when a port of the switch cannot be opened. */
  readonly finished: Promise<void>;
}

export function startFleet(settings: FleetSettings): Fleet {
  const { pis, onEvent, signal, powerOnApartMs = 0, ...shared } = settings;
  const fleet = pis.map(
    (pi) =>
      new VirtualPi({
        ...shared,
        ...pi,
        report: (event) => onEvent({ unixMs: settings.clock.unixMs(), pi: pi.name, ...event }),
      }),
  );
  const powerOff = () => {
    for (const pi of fleet) pi.powerOff();
  };
  signal.addEventListener("abort", powerOff, { once: true });
  const run = async (pi: VirtualPi, index: number) => {
    const delayMs = index * powerOnApartMs;
    if (delayMs > 0) await waitUnlessAborted(settings.clock, delayMs, signal);
    if (!signal.aborted) await pi.run();
  };
  const finished = Promise.all(fleet.map(run))
    .then(() => {})
    .finally(() => {
      signal.removeEventListener("abort", powerOff);
      powerOff();
    });
  return { pi: (name) => fleet.find((pi) => pi.name === name), finished };
}

function waitUnlessAborted(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const stop = () => {
      timer.cancel();
      resolve();
    };
    const timer = clock.after(delayMs, () => {
      signal.removeEventListener("abort", stop);
      resolve();
    });
    signal.addEventListener("abort", stop, { once: true });
  });
}
