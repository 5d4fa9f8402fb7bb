/**
 * What goes wrong on a cable, in a switch or on a server's way in, as a wrapper around an Ethernet port: of a simulated
 * network or of the lab's. Faults stand in a list and work one after another, in both directions unless they say otherwise.
 */
import type { Clock, EthernetPort } from "../../ports.ts";
import { type FrameFacts, frameFacts } from "./frame-facts.ts";

/** Probabilities are from 0 to 1. "Sent" is what the wrapped side sends, "received" what reaches it. */
export type FrameFault =
  | { name: "loss"; probability: number }
  | { name: "duplication"; probability: number }
  /** Some frames are overtaken by those behind them. */
  | { name: "reordering"; probability: number; lateMs: number }
  /** All frames take so much longer, and up to the jitter more; they stay in order only without jitter. */
  | { name: "delay"; delayMs: number; jitterMs?: number }
  /** The switch lets nothing through for so long after the port is opened: twice the forward delay, usually 30 s. */
  | { name: "spanning-tree"; deadMs: number }
  /** IP packets above the size vanish. */
  | { name: "small-mtu"; mtuBytes: number }
  /** Packets sent to these ports of the far side vanish; both ends of a range are in it. */
  | { name: "firewall"; protocol: "udp" | "tcp"; ports: readonly (readonly [first: number, last: number])[] }
  /** What a TFTP or NFS server sends comes so much later: DHCP does not suffer. */
  | { name: "slow-tftp"; delayMs: number }
  | { name: "slow-nfs"; delayMs: number }
  /** Nothing passes in this time, counted from when the port is opened. */
  | { name: "outage"; fromMs: number; untilMs: number };

export const FRAME_FAULT_NAMES: readonly FrameFault["name"][] = [
  "loss",
  "duplication",
  "reordering",
  "delay",
  "spanning-tree",
  "small-mtu",
  "firewall",
  "slow-tftp",
  "slow-nfs",
  "outage",
];

export interface FaultWorld {
  clock: Pick<Clock, "monotonicMs" | "after">;
  /** Uniform in [0, 1), from a seed, so that a run can be had again. */
  chance(): number;
}

const NFS_PORT = 2049;
/** DHCP's, and everything below the ports that TFTP transfers use. */
const UDP_SERVICE_PORT_MAX = 1023;

export function withFaults(port: EthernetPort, faults: readonly FrameFault[], world: FaultWorld): EthernetPort {
  const openedMs = world.clock.monotonicMs();
  let isOpen = true;
  const pass = (frame: Uint8Array, direction: "sent" | "received", forward: (frame: Uint8Array) => void) => {
    const facts = frameFacts(frame);
    const sinceMs = world.clock.monotonicMs() - openedMs;
    let delays = [0];
    for (const fault of faults) {
      delays = delays.flatMap((delayMs) => {
        return delaysOf(fault, facts, direction, sinceMs, world.chance).map((more) => delayMs + more);
      });
    }
    for (const delayMs of delays) {
      if (delayMs === 0) forward(frame);
      else world.clock.after(delayMs, () => isOpen && forward(frame.slice()));
    }
  };
  return {
    send: (frame) => pass(frame, "sent", (passed) => port.send(passed)),
    onFrame: (handler) => port.onFrame((frame) => pass(frame, "received", handler)),
    close() {
      isOpen = false;
      return port.close();
    },
  };
}

const UNHARMED = [0];
const LOST: number[] = [];

/** How much later each copy of the frame goes on: no copies are a lost frame. */
function delaysOf(
  fault: FrameFault,
  frame: FrameFacts,
  direction: "sent" | "received",
  sinceOpenedMs: number,
  chance: () => number,
): number[] {
  const lostIf = (isLost: boolean) => (isLost ? LOST : UNHARMED);
  const lateIf = (isLate: boolean, delayMs: number) => (isLate ? [delayMs] : UNHARMED);
  switch (fault.name) {
    case "loss":
      return lostIf(chance() < fault.probability);
    case "duplication":
      return chance() < fault.probability ? [0, 0] : UNHARMED;
    case "reordering":
      return lateIf(chance() < fault.probability, fault.lateMs);
    case "delay":
      return [fault.delayMs + (fault.jitterMs === undefined ? 0 : chance() * fault.jitterMs)];
    case "spanning-tree":
      return lostIf(sinceOpenedMs < fault.deadMs);
    case "small-mtu":
      return lostIf((frame.ip?.totalBytes ?? 0) > fault.mtuBytes);
    case "firewall":
      return lostIf(direction === "sent" && isTo(frame, fault.protocol, fault.ports));
    case "slow-tftp":
      return lateIf(direction === "received" && isTftp(frame), fault.delayMs);
    case "slow-nfs":
      return lateIf(direction === "received" && isFrom(frame, "tcp", NFS_PORT), fault.delayMs);
    case "outage":
      return lostIf(sinceOpenedMs >= fault.fromMs && sinceOpenedMs < fault.untilMs);
  }
}

function isTo({ ip }: FrameFacts, protocol: "udp" | "tcp", ports: readonly (readonly [number, number])[]): boolean {
  if (ip?.protocol !== protocol || ip.ports === undefined) return false;
  const { to } = ip.ports;
  return ports.some(([first, last]) => to >= first && to <= last);
}

function isFrom({ ip }: FrameFacts, protocol: "udp" | "tcp", port: number): boolean {
  return ip?.protocol === protocol && ip.ports?.from === port;
}

function isTftp({ ip }: FrameFacts): boolean {
  return ip?.protocol === "udp" && (ip.ports?.to ?? 0) > UDP_SERVICE_PORT_MAX;
}
