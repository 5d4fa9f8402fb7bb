/**
 * Boot programs that are no Raspberry Pi's, beside `dhcp: proxy`: iPXE as a PC's network card has it, and U-Boot, each on
 * the MAC of a node, as when they run there. The router gives them addresses; Bramble keeps out of it, and answers a Pi
 * with the same MAC right after. Needs root, QEMU (x86-64 and arm64) with iPXE's ROMs, U-Boot for QEMU, and dnsmasq.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseMac } from "../../src/bytes/addresses.ts";
import type { BootEvent } from "../../src/cluster/event.ts";
import { startFleet } from "../../src/simulator/fleet.ts";
import { findVirtualModel, makeBoard } from "../../src/simulator/models.ts";
import { systemClock } from "../../src/system/clock.ts";
import { createLabNetwork, type LabNetwork } from "../../src/system/lab-network.ts";
import { systemRandom } from "../../src/system/random.ts";
import { openTap } from "../../src/system/tap.ts";
import { demoImage } from "./demo-image.ts";
import { startDnsmasqRouter } from "./dnsmasq-router.ts";
import { ManagerProcess } from "./manager-process.ts";
import { enterNetworkNamespace } from "./network-namespace.ts";
import { requireRoot, requireTools } from "./required-tools.ts";

const U_BOOT = "/usr/lib/u-boot/qemu_arm64/u-boot.bin";
const skipped =
  requireRoot() || requireTools(["ip", "dnsmasq", "setpriv", "qemu-system-x86_64", "qemu-system-aarch64"]);

interface Program {
  mac: string;
  qemu: string;
  words: string[];
  card: string;
  /** What it prints when it has an address, which it goes on with. */
  hasAddress: RegExp;
  /** Why Bramble does not answer. */
  reason: RegExp;
  isMissing: boolean;
}

const PROGRAMS: Record<string, Program> = {
  iPXE: {
    mac: "dc:a6:32:00:00:01",
    qemu: "qemu-system-x86_64",
    words: ["-machine", "pc,graphics=off", "-m", "64", "-boot", "n"],
    card: "virtio-net-pci",
    hasAddress: /net0: 10\.77\.0\.[5-9]\d\/255\.255\.255\.0/,
    reason: /^it is iPXE/,
    isMissing: false,
  },
  "U-Boot": {
    mac: "dc:a6:32:00:00:02",
    qemu: "qemu-system-aarch64",
    words: ["-machine", "virt", "-cpu", "cortex-a72", "-m", "256", "-bios", U_BOOT],
    // U-Boot 2023.01 reads the MAC of a virtio card wrongly.
    card: "e1000",
    hasAddress: /DHCP client bound to address 10\.77\.0\.[5-9]\d/,
    reason: /^it is U-Boot|^it asks for boot files of architecture (11|22),/,
    isMissing: !skipped && !existsSync(U_BOOT) && requireTools(["u-boot-qemu"]),
  },
};

describe.skipIf(skipped)("beside dhcp: proxy", () => {
  let lab: LabNetwork;
  let router: { stop(): Promise<void> } | undefined;
  let manager: ManagerProcess | undefined;

  beforeAll(async () => {
    const image = demoImage();
    enterNetworkNamespace();
    lab = await createLabNetwork({ taps: 1 });
    router = await startDnsmasqRouter(lab, `bramble-router-o${process.pid}`);
    const nodes = Object.values(PROGRAMS).map(({ mac }, index) => `{ name: node${index + 1}, mac: "${mac}" }`);
    manager = await ManagerProcess.start(`cluster: attic
network: { interface: ${lab.bridge}, dhcp: proxy }
image: ${JSON.stringify(image)}
nodes: [${nodes.join(", ")}]
`);
  }, 300_000);

  afterAll(async () => {
    await manager?.stop();
    await router?.stop();
  });

  /** Runs until its console shows the text. */
  async function runUntil({ qemu, words, card, mac }: Program, shown: RegExp): Promise<void> {
    const network = ["-netdev", `tap,id=lan,ifname=${lab.taps[0]},script=no,downscript=no`];
    const device = ["-device", `${card},netdev=lan,mac=${mac}`];
    const console = ["-nodefaults", "-display", "none", "-serial", "stdio", "-accel", "tcg", "-no-reboot"];
    const all = ["--pdeathsig", "KILL", qemu, ...words, ...console, ...network, ...device];
    const child: ChildProcess = spawn("setpriv", all, { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout!.setEncoding("latin1").on("data", (chunk: string) => {
      text += chunk;
    });
    try {
      await expect.poll(() => text, { timeout: 120_000 }).toMatch(shown);
    } finally {
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
    }
  }

  const about = (mac: string, from: number): BootEvent[] =>
    manager!.events.slice(from).filter((event) => "mac" in event && event.mac === mac);

  for (const [name, program] of Object.entries(PROGRAMS)) {
    it.skipIf(program.isMissing)(
      `${name} on a node's board is not answered, and the node's firmware is`,
      async () => {
        const mac = parseMac(program.mac);
        const first = manager!.events.length;
        await runUntil(program, program.hasAddress);
        const ignored = () => about(mac, first).flatMap((event) => (event.kind === "dhcp-ignored" ? [event] : []));
        await expect
          .poll(() => ignored().map(({ reason }) => reason), { timeout: 10_000 })
          .toContainEqual(expect.stringMatching(program.reason));
        for (const { reason } of ignored()) expect(reason).toMatch(program.reason);
        expect(about(mac, first).filter(({ kind }) => kind === "dhcp-reply")).toEqual([]);

        const second = manager!.events.length;
        const off = new AbortController();
        const board = makeBoard(findVirtualModel("4")!, { mac }, systemRandom);
        await startFleet({
          pis: [{ name: "node", board, tapName: lab.taps[0]! }],
          openPort: openTap,
          clock: systemClock,
          random: systemRandom,
          firmware: { linkUpMs: 10 },
          signal: off.signal,
          onEvent: ({ kind }) => kind === "firmware-failed" && off.abort(),
        }).finished;
        await expect
          .poll(() => about(mac, second).map(({ kind }) => kind), { timeout: 10_000 })
          .toContain("dhcp-reply");
      },
      240_000,
    );
  }
});
