/** Virtual Pis against a manager that an ordinary user runs on loopback: the built program, real sockets, no rights. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Ipv4 } from "../../src/bytes/addresses.ts";
import { bootOverNetwork } from "../../src/simulator/firmware.ts";
import { type LoopbackNetwork, openLoopbackNetwork } from "../../src/simulator/loopback-network.ts";
import { findVirtualModel, makeBoard } from "../../src/simulator/models.ts";
import { seededRandom } from "../../src/simulator/seed.ts";
import { systemClock } from "../../src/system/clock.ts";
import { createUdpSockets } from "../../src/system/udp.ts";
import { requireTools } from "../lab/required-tools.ts";
import { CLUSTER_TOOLS, LoopbackCluster } from "./loopback-cluster.ts";

const MODELS = ["3b+", "4", "5"];
/** What the small image lacks for models other than the 4. */
const BOOT_FILES = {
  "bootcode.bin": "second stage",
  "start.elf": "firmware",
  "fixup.dat": "fixup",
  "bcm2837-rpi-3-b-plus.dtb": "device tree",
  "bcm2710-rpi-3-b-plus.dtb": "device tree",
  "bcm2712-rpi-5-b.dtb": "device tree",
};
const boards = MODELS.map((model, index) => makeBoard(findVirtualModel(model)!, {}, seededRandom(index)));
const nodes = boards.map(({ mac, serial, model }, index) => {
  return `{ name: pi${index}, mac: "${mac}", serial: "${serial}", model: "${model.pi.id}", address: 127.0.0.${index + 11} }`;
});

describe.skipIf(requireTools(CLUSTER_TOOLS))("a manager on loopback", () => {
  const cluster = new LoopbackCluster(nodes);
  let loopback: LoopbackNetwork;
  const warnings: string[] = [];

  beforeAll(async () => {
    const network = ["interface: lo", "dhcp: server", "subnet: 127.0.0.0/24"];
    await cluster.start({ network }, { boot: BOOT_FILES });
    const manager = { address: "127.0.0.1" as Ipv4, dhcpPort: cluster.port("dhcp"), tftpPort: cluster.port("tftp") };
    const onWarning = (message: string) => void warnings.push(message);
    loopback = await openLoopbackNetwork({ sockets: await createUdpSockets(), clock: systemClock, manager, onWarning });
  });
  afterAll(async () => {
    loopback?.close();
    await cluster.remove();
  });

  it.each(MODELS.map((model, index) => [model, index] as const))("boots a Pi %s up to its kernel", async (_, index) => {
    const world = { port: loopback.plug(), clock: systemClock, random: seededRandom(9), report: () => {} };
    const booted = await bootOverNetwork(boards[index]!, world, { linkUpMs: 1, dhcpTimeoutMs: 8000 });
    expect(booted.ownAddress).toBe(`127.0.0.${index + 11}`);
    expect(booted.commandLine).toContain("root=/dev/nfs");
    expect(booted.kernel.sizeBytes).toBeGreaterThan(0);
    expect(warnings).toEqual([]);
    const status = await cluster.ask("status");
    expect(status.stdout).toMatch(new RegExp(`pi${index} .*kernel`));
  });
});
