/**
 * Pis that no node names, beside a router that is not ours: they are discovered, adopted and boot. Among them a 3B, whose
 * boot ROM needs frames that only the kernel's packet sockets can send. Machines that are no Pi firmware get no answer.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Ipv4, macFromBytes, parseMac } from "../../src/bytes/addresses.ts";
import type { UnknownPi } from "../../src/cluster/unknown-pis.ts";
import { type DhcpOption, makeOption, OPTIONS, readOption } from "../../src/dhcp/options.ts";
import { decodePacket, encodePacket, makePacket } from "../../src/dhcp/packet.ts";
import { NUDGE_ETHER_TYPE } from "../../src/dhcp/reply-timing.ts";
import type { EthernetPort } from "../../src/ports.ts";
import { type FleetEvent, startFleet } from "../../src/simulator/fleet.ts";
import { findVirtualModel, makeBoard, type VirtualBoard } from "../../src/simulator/models.ts";
import { NetworkStack } from "../../src/simulator/network-stack.ts";
import { systemClock } from "../../src/system/clock.ts";
import { createLabNetwork, type LabNetwork } from "../../src/system/lab-network.ts";
import { systemRandom } from "../../src/system/random.ts";
import { openTap } from "../../src/system/tap.ts";
import { demoImage } from "./demo-image.ts";
import { startDnsmasqRouter } from "./dnsmasq-router.ts";
import { ManagerProcess } from "./manager-process.ts";
import { enterNetworkNamespace } from "./network-namespace.ts";
import { requireRoot, requireTools } from "./required-tools.ts";

const NODE_MAC = parseMac("dc:a6:32:00:00:01");
const skipped = requireRoot() || requireTools(["ip", "dnsmasq"]);

describe.skipIf(skipped)("in proxy mode, beside dnsmasq as the router", () => {
  let lab: LabNetwork;
  let router: { stop(): Promise<void> } | undefined;
  let manager: ManagerProcess;

  beforeAll(async () => {
    const image = demoImage();
    enterNetworkNamespace();
    lab = await createLabNetwork({ taps: 2 });
    router = await startDnsmasqRouter(lab, `bramble-adoption-${process.pid}`);
    manager = await ManagerProcess.start(`cluster: attic
network: { interface: ${lab.bridge}, dhcp: proxy }
image: ${JSON.stringify(image)}
nodes:
  - { name: node1, mac: "${NODE_MAC}" }   # the first
`);
  }, 300_000);

  afterAll(async () => {
    await manager?.stop();
    await router?.stop();
  });

  /** Switches the board on. */
  function powerOn(board: VirtualBoard, onFrame: (frame: Uint8Array) => void = () => {}) {
    const events: FleetEvent[] = [];
    const off = new AbortController();
    const { finished } = startFleet({
      pis: [{ name: "pi", board, tapName: lab.taps[0]! }],
      openPort: (name) => listening(openTap(name), onFrame),
      clock: systemClock,
      random: systemRandom,
      firmware: { linkUpMs: 10, discardContents: true },
      signal: off.signal,
      onEvent(event) {
        events.push(event);
        if (event.kind === "firmware-failed") off.abort();
      },
    });
    return { events, finished };
  }

  it.each(["4", "3b"])(
    "a Pi %s is discovered, adopted, and boots at its next try",
    async (model) => {
      const board = makeBoard(findVirtualModel(model)!, {}, systemRandom);
      const nudges: Uint8Array[] = [];
      const { events, finished } = powerOn(board, (frame) => {
        if (((frame[12]! << 8) | frame[13]!) === NUDGE_ETHER_TYPE) nudges.push(frame);
      });
      const discovered = async () => JSON.parse(await manager.bramble("nodes", "discovered", "--json")) as UnknownPi[];
      // The ROM of a 3B tells its MAC alone.
      const about = model === "4" ? { mac: board.mac, serial: board.serial, model: "4" } : { mac: board.mac };
      await expect.poll(discovered, { timeout: 20_000 }).toMatchObject([about]);
      const name = `pi-${model}`;
      await manager.bramble("nodes", "adopt", board.serial, "--name", name);
      expect(manager.manifest).toContain(`   # the first\n`);
      expect(manager.manifest).toContain(`  - { name: ${name}, serial: `);
      expect(await discovered()).toEqual([]);

      await finished;
      expect(events.map(({ kind }) => kind)).toContain("firmware-done");
      const files = manager.events.flatMap((event) =>
        event.kind === "tftp-complete" && event.node === name ? [event.path] : [],
      );
      expect(files.join(" ")).toMatch(/config\.txt/);
      expect(nudges.length >= 2).toBe(model === "3b");
      for (const frame of nudges) expect(macFromBytes(frame.subarray(0, 6))).toBe(board.mac);
    },
    90_000,
  );

  it("the node's board gets no answer while U-Boot, UEFI or iPXE runs on it, and one when its firmware asks", async () => {
    const port = openTap(lab.taps[1]!);
    const stack = new NetworkStack({ mac: NODE_MAC, clock: systemClock, transmit: (frame) => port.send(frame) });
    port.onFrame((frame) => stack.receive(frame));
    const servers: (Ipv4 | undefined)[] = [];
    stack.listen(68, ({ bytes }) => servers.push(readOption(decodePacket(bytes).options, OPTIONS.serverIdentifier)));
    const discover = (...options: DhcpOption[]) => {
      const all = [makeOption(OPTIONS.messageType, "DISCOVER"), ...options];
      const packet = makePacket({ op: "request", transactionId: 7, mac: NODE_MAC, options: all });
      stack.sendBroadcast({ sourcePort: 68, port: 67, bytes: encodePacket(packet) });
    };
    const vendorClass = (text: string) => makeOption(OPTIONS.vendorClass, text);
    const architecture = (code: number) => makeOption(OPTIONS.clientArchitecture, Uint8Array.of(0, code));
    const firmware = [vendorClass("PXEClient:Arch:00000:UNDI:002001"), architecture(0)];
    const others = [
      [vendorClass("U-Boot.armv8"), architecture(0x16)],
      [vendorClass("PXEClient:Arch:00011:UNDI:003016"), architecture(11)],
      [...firmware, makeOption(OPTIONS.userClass, Buffer.from("iPXE"))],
    ];
    try {
      const ignored = () => manager.events.flatMap((each) => (each.kind === "dhcp-ignored" ? [each.reason] : []));
      // A port of a bridge needs a moment until it forwards.
      const isHeard = async () => {
        discover(...others[0]!);
        return ignored().length > 0;
      };
      await expect.poll(isHeard, { timeout: 10_000 }).toBe(true);
      for (const options of others) discover(...options);
      await expect.poll(() => new Set(ignored()).size, { timeout: 10_000 }).toBe(3);
      discover(...firmware);
      await expect.poll(() => servers, { timeout: 10_000 }).toContain("10.77.0.1");
      // The answers come in the order of the questions: before ours to the firmware there was none.
      const replies = manager.events.filter((each) => each.kind === "dhcp-reply" && each.mac === NODE_MAC);
      expect(replies).toHaveLength(1);
      expect(servers.filter((server) => server === "10.77.0.1")).toHaveLength(1);
      expect(servers).toContain("10.77.0.254");
    } finally {
      await port.close();
    }
  }, 60_000);
});

/** The port, with somebody who hears every frame that comes to it. */
function listening(port: EthernetPort, onFrame: (frame: Uint8Array) => void): EthernetPort {
  return {
    send: (frame) => port.send(frame),
    onFrame: (handler) =>
      port.onFrame((frame) => {
        onFrame(frame);
        handler(frame);
      }),
    close: () => port.close(),
  };
}
