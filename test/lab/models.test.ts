/**
 * Every model that boots over the network, from power-on to where its kernel would start, on a network of the kernel:
 * with addresses of ours, and beside dnsmasq as a home router on a machine of its own. All boards have one TAP interface.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PI_MODELS } from "../../src/pi/models.ts";
import { type FleetEvent, startFleet } from "../../src/simulator/fleet.ts";
import { makeBoard, VIRTUAL_MODELS } from "../../src/simulator/models.ts";
import { SharedCard } from "../../src/simulator/shared-card.ts";
import { systemClock } from "../../src/system/clock.ts";
import { createLabNetwork, type LabNetwork } from "../../src/system/lab-network.ts";
import { systemRandom } from "../../src/system/random.ts";
import { openTap } from "../../src/system/tap.ts";
import { makeSmallImage, SMALL_IMAGE_COMMANDS } from "../cli/small-image.ts";
import { kernel } from "../plan-images.ts";
import { startDnsmasqRouter } from "./dnsmasq-router.ts";
import { ManagerProcess } from "./manager-process.ts";
import { enterNetworkNamespace } from "./network-namespace.ts";
import { requireRoot, requireTools } from "./required-tools.ts";

const NODES = VIRTUAL_MODELS.map((model, index) => ({
  name: model.pi.id.replace("+", "plus"),
  board: makeBoard(model, { serial: `1000a00${index.toString(16)}` }, systemRandom),
}));

/** What a boot partition for all of them holds. */
const BOOT_FILES = {
  "/bootcode.bin": new Uint8Array(52_460),
  "/start.elf": new Uint8Array(300_000),
  "/fixup.dat": new Uint8Array(7000),
  "/start4.elf": new Uint8Array(300_000),
  "/fixup4.dat": new Uint8Array(5000),
  "/config.txt": "arm_64bit=1\nkernel=kernel8.img\ninitramfs initramfs8 followkernel\n",
  "/kernel8.img": Buffer.concat([kernel("6.12.47+rpt-rpi-v8"), Buffer.alloc(200_000, 8)]),
  "/initramfs8": Buffer.alloc(100_000, 7),
  ...Object.fromEntries(PI_MODELS.flatMap(({ deviceTree }) => [[`/${deviceTree}`, `device tree ${deviceTree}`]])),
};
const BOOT_TIMEOUT_MS = 45_000;

const skipped = requireRoot() || requireTools(["ip", "dnsmasq", ...SMALL_IMAGE_COMMANDS]);

describe.skipIf(skipped)("every model on a network of the kernel", () => {
  let folder: string;
  let lab: LabNetwork;
  let card: SharedCard;

  beforeAll(async () => {
    enterNetworkNamespace();
    folder = mkdtempSync(join(tmpdir(), "bramble-models-"));
    makeSmallImage(join(folder, "all.img"), { boot: BOOT_FILES });
    lab = await createLabNetwork({ taps: 1 });
    card = new SharedCard(openTap(lab.taps[0]!));
  });

  afterAll(async () => {
    await card.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const manifest = (network: string) => `cluster: attic
network: { interface: ${lab.bridge}, ${network} }
image: ${join(folder, "all.img")}
access: { user: pi }
nodes:
${NODES.map(({ name, board }) => `  - { name: ${name}, mac: "${board.mac}", serial: "${board.serial}", model: "${board.model.pi.id}" }`).join("\n")}
`;

  /** All together, until each has what its kernel needs. */
  async function bootAll(): Promise<FleetEvent[]> {
    const events: FleetEvent[] = [];
    const off = new AbortController();
    const late = setTimeout(() => off.abort(), BOOT_TIMEOUT_MS);
    await startFleet({
      pis: NODES.map((node) => ({ ...node, tapName: lab.taps[0]! })),
      openPort: () => card.plug(),
      clock: systemClock,
      random: systemRandom,
      signal: off.signal,
      onEvent: (event) => events.push(event),
    }).finished;
    clearTimeout(late);
    return events;
  }

  const of = (events: readonly FleetEvent[], name: string) => events.filter(({ pi }) => pi === name);

  function expectAllBooted(events: readonly FleetEvent[], addresses: RegExp): void {
    const failures = events.flatMap((event) =>
      event.kind === "firmware-failed" ? [`${event.pi}: ${event.message}`] : [],
    );
    expect(failures).toEqual([]);
    const seen = new Set<string>();
    for (const { name, board } of NODES) {
      const mine = of(events, name);
      expect(mine.filter(({ kind }) => kind === "firmware-done").map(() => name)).toEqual([name]);
      const files = mine.flatMap((event) => (event.kind === "file-loaded" ? [event.path.replace(/^.*\//, "")] : []));
      const wanted = ["config.txt", "kernel8.img", "initramfs8", "cmdline.txt", board.model.pi.deviceTree];
      expect([name, wanted.filter((file) => !files.includes(file))]).toEqual([name, []]);
      for (const event of mine) {
        if (event.kind !== "address") continue;
        expect(event).toMatchObject({ address: expect.stringMatching(addresses), tftpServer: "10.77.0.1" });
        seen.add(event.address);
      }
    }
    expect(seen.size).toBe(NODES.length);
  }

  /** The manager's story of the same boots. */
  async function expectTold(manager: ManagerProcess): Promise<void> {
    const kernels = () =>
      manager.events.flatMap((event) =>
        event.kind === "tftp-complete" && event.path.endsWith("kernel8.img") ? [event.node] : [],
      );
    await expect.poll(() => new Set(kernels()).size, { timeout: 10_000 }).toBe(NODES.length);
    const addresses = new Map(NODES.map(({ name }) => [name, new Set<string>()]));
    for (const event of manager.events) {
      if (event.kind === "tftp-complete" && event.node) addresses.get(event.node)?.add(event.client);
    }
    // Boot ROM, second stage and firmware of one board are one node at one address.
    expect([...addresses].filter(([, each]) => each.size !== 1)).toEqual([]);
  }

  it(
    "boots with dhcp: server",
    async () => {
      const manager = await ManagerProcess.start(
        manifest("dhcp: server, subnet: 10.77.0.0/24, range: { from: 10.77.0.100, to: 10.77.0.199 }"),
      );
      try {
        expectAllBooted(await bootAll(), /^10\.77\.0\.1\d\d$/);
        await expectTold(manager);
      } finally {
        await manager.stop();
      }
    },
    2 * BOOT_TIMEOUT_MS,
  );

  it(
    "boots with dhcp: proxy beside dnsmasq, which gives the addresses",
    async () => {
      // dnsmasq offers one address to several at a time, and the 3B's boot ROM takes an offer without asking for it.
      const reserved = NODES.map(({ board: { mac } }, index) => ({ mac, address: `10.77.0.${50 + index}` }));
      const router = await startDnsmasqRouter(lab, `bramble-router-m${process.pid}`, reserved);
      const manager = await ManagerProcess.start(manifest("dhcp: proxy"));
      try {
        expectAllBooted(await bootAll(), /^10\.77\.0\.[5-9]\d$/);
        await expectTold(manager);
      } finally {
        await manager.stop();
        await router.stop();
      }
    },
    2 * BOOT_TIMEOUT_MS,
  );
});
