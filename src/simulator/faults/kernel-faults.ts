/**
 * The same faults on an interface of the Linux kernel, as commands: for virtual Pis whose kernel runs in an emulator that has
 * the TAP interface to itself. tc-netem(8), tc-prio(8), nft(8), ip-link(8).
 * Delay, loss, duplication and order change for what the interface sends, that is for what reaches the Pi.
 */
import type { FrameFault } from "./frame-faults.ts";

export interface FaultyInterface {
  /** The Pi's port of the switch. */
  name: string;
  bridge: string;
}

const NFS_PORT = "2049";
const TABLE = "bramble_faults";

/** Each a program and its arguments, to be run in order. Throws for what the kernel cannot do, alone or together. */
export function kernelFaultCommands(faults: readonly FrameFault[], { name, bridge }: FaultyInterface): string[][] {
  const shaping = faults.flatMap((fault) => netemWords(fault));
  const commands: string[][] = [];
  if (shaping.length > 0) commands.push(["tc", "qdisc", "add", "dev", name, "root", "netem", ...shaping]);
  const delays = faults.filter((fault) => fault.name === "delay" || fault.name === "reordering");
  if (delays.length > 1) throw cannot(name, "reordering is made of a delay: only one of each can be set");
  for (const fault of faults) commands.push(...otherCommands(fault, name, bridge, shaping.length > 0));
  return commands;
}

function netemWords(fault: FrameFault): string[] {
  const percent = (probability: number) => `${Number((probability * 100).toFixed(4))}%`;
  switch (fault.name) {
    case "loss":
      return ["loss", percent(fault.probability)];
    case "duplication":
      return ["duplicate", percent(fault.probability)];
    case "delay": {
      // netem's jitter goes to both sides of the delay.
      const { delayMs, jitterMs = 0 } = fault;
      return ["delay", `${delayMs + jitterMs / 2}ms`, ...(jitterMs > 0 ? [`${jitterMs / 2}ms`] : [])];
    }
    case "reordering":
      // What is not "reordered" waits for the delay.
      return ["delay", `${fault.lateMs}ms`, "reorder", percent(1 - fault.probability)];
    default:
      return [];
  }
}

function otherCommands(fault: FrameFault, name: string, bridge: string, isShaped: boolean): string[][] {
  switch (fault.name) {
    case "loss":
    case "duplication":
    case "delay":
    case "reordering":
      return [];
    case "small-mtu":
      return [["ip", "link", "set", "dev", name, "mtu", String(fault.mtuBytes)]];
    case "spanning-tree": {
      // Real spanning tree: a port listens for one forward delay and learns for another. In hundredths of a second.
      const forwardDelay = String(Math.round(fault.deadMs / 2 / 10));
      return [["ip", "link", "set", "dev", bridge, "type", "bridge", "stp_state", "1", "forward_delay", forwardDelay]];
    }
    case "firewall": {
      const ports = fault.ports.map(([first, last]) => `${first}-${last}`).join(", ");
      const rule = `iifname "${name}" ${fault.protocol} dport { ${ports} } drop`;
      const chain = `type filter hook prerouting priority 0; ${rule}`;
      return [["nft", `add table bridge ${TABLE}; add chain bridge ${TABLE} ${name} { ${chain}; }`]];
    }
    case "slow-nfs": {
      if (isShaped) throw cannot(name, "slow-nfs does not go with loss, duplication, delay and reordering");
      const from = ["match", "ip", "protocol", "6", "0xff", "match", "ip", "sport", NFS_PORT, "0xffff"];
      return [
        // Nothing gets into the third band but by the filter.
        ["tc", "qdisc", "add", "dev", name, "root", "handle", "1:", "prio", "priomap", ..."0".repeat(16)],
        ["tc", "qdisc", "add", "dev", name, "parent", "1:3", "netem", "delay", `${fault.delayMs}ms`],
        ["tc", "filter", "add", "dev", name, "parent", "1:", "protocol", "ip", "u32", ...from, "flowid", "1:3"],
      ];
    }
    case "slow-tftp":
    case "outage":
      throw cannot(name, `${fault.name} is one of the firmware's port, see frame-faults.ts`);
  }
}

function cannot(name: string, why: string): Error {
  return new Error(`Cannot set faults on interface ${name}: ${why}`);
}
