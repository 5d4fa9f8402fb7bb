import { describe, expect, it } from "vitest";
import type { FrameFault } from "./frame-faults.ts";
import { kernelFaultCommands } from "./kernel-faults.ts";

const commands = (...faults: FrameFault[]) =>
  kernelFaultCommands(faults, { name: "tap0", bridge: "br0" }).map((words) => words.join(" "));

describe("faults in the kernel's words", () => {
  it.each<[FrameFault[], string[]]>([
    [
      [
        { name: "loss", probability: 0.02 },
        { name: "duplication", probability: 0.005 },
      ],
      ["tc qdisc add dev tap0 root netem loss 2% duplicate 0.5%"],
    ],
    [[{ name: "delay", delayMs: 20, jitterMs: 10 }], ["tc qdisc add dev tap0 root netem delay 25ms 5ms"]],
    [[{ name: "reordering", probability: 0.1, lateMs: 3 }], ["tc qdisc add dev tap0 root netem delay 3ms reorder 90%"]],
    [[{ name: "small-mtu", mtuBytes: 1400 }], ["ip link set dev tap0 mtu 1400"]],
    [[{ name: "spanning-tree", deadMs: 30_000 }], ["ip link set dev br0 type bridge stp_state 1 forward_delay 1500"]],
    [
      [
        {
          name: "firewall",
          protocol: "tcp",
          ports: [
            [2049, 2049],
            [20048, 20050],
          ],
        },
      ],
      [
        'nft add table bridge bramble_faults; add chain bridge bramble_faults tap0 { type filter hook prerouting priority 0; iifname "tap0" tcp dport { 2049-2049, 20048-20050 } drop; }',
      ],
    ],
  ])("%j", (faults, expected) => {
    expect(commands(...faults)).toEqual(expected);
  });

  it("say what they cannot do", () => {
    const delay: FrameFault = { name: "delay", delayMs: 1 };
    expect(() => commands(delay, { name: "reordering", probability: 0.1, lateMs: 3 })).toThrow(/only one of each/);
    expect(() => commands(delay, { name: "slow-nfs", delayMs: 3 })).toThrow(/does not go with/);
    expect(() => commands({ name: "slow-tftp", delayMs: 3 })).toThrow(
      "Cannot set faults on interface tap0: slow-tftp is one of the firmware's port",
    );
  });
});
