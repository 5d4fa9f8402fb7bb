/** Nodes whose kernel runs and that do not come up, and what is wrong with the network or the manager. */
import { describe } from "vitest";
import { type Ipv4, parseMac } from "../../src/bytes/addresses.ts";
import type { BootOccurrence } from "../../src/cluster/event.ts";
import { CANNOT_MOUNT_NFS } from "../../src/cluster/plan-wording.ts";
import type { MachineEnd } from "../../src/ports.ts";
import { startOtherDhcpServer } from "../../src/simulator/faults/other-dhcp-server.ts";
import { NETMASK } from "../virtual-network.ts";
import { type DiagnosedNetwork, makeTestBoard, NODE } from "./diagnosed-network.ts";
import { LinuxClient } from "./linux-client.ts";
import { type Scenario, scenarios } from "./scenario.ts";
import type { SystemScript } from "./scripted-machines.ts";

const NEVER = new Promise<MachineEnd>(() => {});
const activity = (more: Partial<BootOccurrence & { kind: "root-activity" }> = {}): BootOccurrence => ({
  kind: "root-activity",
  operations: 50,
  readBytes: 100_000,
  writtenBytes: 0,
  failures: 0,
  ...more,
});

/** A node that boots as far as its kernel, which then does this. */
function system(
  cause: string,
  bySeconds: number,
  script: (...all: [...Parameters<SystemScript>, DiagnosedNetwork]) => Promise<unknown>,
  more: Partial<Scenario> & { forMs?: number } = {},
): Scenario {
  return {
    cause,
    bySeconds,
    settings: {},
    ...more,
    async run(network) {
      const pi = network.powerOn(network.boards[0], {
        system: async (linux, wait) => {
          await script(linux, wait, network);
          return { kind: "reboot" };
        },
      });
      await network.pass(more.forMs ?? 60_000);
      pi.powerOff();
    },
  };
}

async function mounted(linux: LinuxClient, network: DiagnosedNetwork): Promise<void> {
  network.mount(NODE, await linux.address());
}

/** Tells an event each second, as the manager would. */
async function everySecond(
  network: DiagnosedNetwork,
  wait: (durationMs: number) => Promise<void>,
  seconds: number,
  occurrence: BootOccurrence,
): Promise<void> {
  for (let second = 0; second < seconds; second++) {
    network.report(occurrence, NODE);
    await wait(1000);
  }
}

describe("a node whose kernel runs", () => {
  scenarios([
    system("kernel-silent", 90, () => NEVER, { forMs: 120_000 }),
    system(
      "kernel-gets-no-address",
      20,
      async (linux, wait) => {
        for (let tries = 0; tries < 5; tries++) {
          linux.discover();
          await wait(3000);
        }
        await NEVER;
      },
      { settings: { mode: "proxy" } },
    ),
    system("root-not-asked-for", 35, async (linux) => {
      await linux.address();
      await NEVER;
    }),
    system("mount-from-unknown-address", 15, async (linux, _, network) => {
      await linux.address();
      network.mount(NODE, "10.77.0.99" as Ipv4);
      await NEVER;
    }),
    system("mount-of-no-tree", 15, async (linux, _, network) => {
      network.mount(NODE, await linux.address(), `/bramble/${NODE}/home`);
      await NEVER;
    }),
    system(
      "mount-of-another-node",
      15,
      async (linux, _, network) => {
        network.mount("node2", await linux.address());
        await NEVER;
      },
      {},
    ),
    system("nfs-version-refused", 15, async (linux, _, network) => {
      const client = await linux.address();
      network.nfs({ kind: "wrong-version", client, program: "NFS", version: 4 });
      await NEVER;
    }),
    system("nfs-from-unprivileged-port", 15, async (linux, _, network) => {
      const client = await linux.address();
      network.nfs({ kind: "bad-call", client, reason: "it is no kernel's", cause: "unprivileged-port" });
      await NEVER;
    }),
    system("kernel-restarts", 40, (_, wait) => wait(10_000), { forMs: 60_000 }),
    system(
      "root-restarts",
      60,
      async (linux, wait, network) => {
        await mounted(linux, network);
        await wait(10_000);
      },
      { forMs: 70_000 },
    ),
    system(
      "root-silent",
      90,
      async (linux, wait, network) => {
        await mounted(linux, network);
        await everySecond(network, wait, 10, activity());
        await NEVER;
      },
      { forMs: 120_000 },
    ),
    system(
      "first-boot-program",
      80,
      async (linux, wait, network) => {
        await mounted(linux, network);
        await everySecond(network, wait, 90, activity({ mostRead: "/usr/lib/raspberrypi-sys-mods/firstboot" }));
      },
      { forMs: 80_000 },
    ),
    system(
      "no-up-report",
      620,
      async (linux, wait, network) => {
        await mounted(linux, network);
        await everySecond(network, wait, 700, activity());
      },
      { forMs: 650_000 },
    ),
    ...(
      [
        ["over-quota", { failures: 2, failed: { NFS3ERR_DQUOT: 2 } }],
        ["manager-disk-full", { failures: 2, failed: { NFS3ERR_NOSPC: 2 } }],
        ["manager-disk-failing", { failures: 1, failed: { NFS3ERR_IO: 1 } }],
        ["root-replaced", { failures: 9, failed: { NFS3ERR_STALE: 9 } }],
        ["storage-slow", { p50Ms: 300, p99Ms: 4000 }],
      ] as const
    ).map(([cause, what]) =>
      system(cause, 25, async (linux, wait, network) => {
        await mounted(linux, network);
        network.report({ kind: "up", bootId: "a" }, NODE);
        await wait(2000);
        await everySecond(network, wait, 60, activity(what));
      }),
    ),
    system("up-no-answer", 30, async (linux, wait, network) => {
      const address = await linux.address();
      network.mount(NODE, address);
      network.report({ kind: "up", bootId: "a" }, NODE);
      await wait(10_000);
      network.report({ kind: "no-answer", address, sinceMs: network.clock.unixMs() - 10_000 }, NODE);
      await NEVER;
    }),
    ...(["root-too-large", "root-copy-failed"] as const).map((about) =>
      system(about === "root-too-large" ? "root-too-large-for-memory" : about, 15, async (linux, _, network) => {
        await mounted(linux, network);
        network.report({ kind: "warning", message: "the node says so", about }, NODE);
        await NEVER;
      }),
    ),
    system("files-of-another-node", 15, async (linux, _, network) => {
      const client = await linux.address();
      network.mount(NODE, client);
      network.nfs({ kind: "forbidden-handle", client, treeId: 0 });
      await NEVER;
    }),
    system("nfs-calls-damaged", 15, async (linux, _, network) => {
      const client = await linux.address();
      network.mount(NODE, client);
      for (let times = 0; times < 3; times++) network.nfs({ kind: "bad-call", client, reason: "no call" });
      await NEVER;
    }),
  ]);
});

describe("a plan with a problem", () => {
  const planned = (cause: string, problem: string): Scenario => ({
    cause,
    bySeconds: 10,
    settings: {},
    async run(network) {
      network.report({ kind: "planned", problems: [problem], warnings: [] }, NODE);
      await network.pass(5000);
    },
  });
  scenarios([
    planned("image-cannot-mount-nfs", `Cannot boot Pi 4: the kernel kernel8.img ${CANNOT_MOUNT_NFS} by itself`),
    planned("image-not-bootable", "Cannot boot Pi 4: the image has no start4.elf"),
  ]);
});

describe("the network", () => {
  const told = (cause: string, ...occurrences: BootOccurrence[]): Scenario => ({
    cause,
    bySeconds: 10,
    settings: {},
    nodes: [],
    lan: true,
    async run(network) {
      for (const occurrence of occurrences) network.report(occurrence);
      await network.pass(5000);
    },
  });
  const damaged = Buffer.from("no DHCP packet");
  scenarios([
    told("cannot-send", { kind: "warning", message: "Cannot send to 10.77.0.11: ENETDOWN", about: "sending" }),
    told("worker-crashed", { kind: "worker-crashed", worker: 1, reason: "SIGSEGV", crashes: 1, retryMs: 0 }),
    told("manifest-rejected", { kind: "manifest-rejected", problems: 2 }),
    told("network-section-changed", { kind: "warning", message: "it has changed", about: "network-changed" }),
    {
      cause: "second-dhcp-server",
      bySeconds: 15,
      settings: {},
      nodes: [],
      lan: true,
      async run(network) {
        const { clock, lan } = network;
        const address = "10.77.0.253" as Ipv4;
        const firstGiven = "10.77.0.100" as Ipv4;
        const where = { port: lan.plug(), clock, address, netmask: NETMASK, firstGiven };
        startOtherDhcpServer({ ...where, answers: "address-only", broadcasts: true, delayMs: 100 });
        network.powerOn();
        await network.pass(8000);
      },
    },
    {
      cause: "two-routers-give-addresses",
      bySeconds: 15,
      settings: { mode: "proxy" },
      nodes: [],
      lan: true,
      async run(network) {
        const linux = new LinuxClient(network.boards[0]!.mac, network.lan.plug());
        await network.clock.runUntilSettled(linux.address());
        linux.request("10.77.0.200" as Ipv4, "10.77.0.252" as Ipv4);
        await network.pass(5000);
      },
    },
    {
      cause: "dhcp-packets-damaged",
      bySeconds: 10,
      settings: {},
      nodes: [],
      lan: true,
      async run(network) {
        const client = new LinuxClient(parseMac("02:00:00:00:00:66"), network.lan.plug());
        for (let times = 0; times < 3; times++) client.datagram(67, damaged);
        await network.pass(5000);
      },
    },
    {
      cause: "stranger-mounts",
      bySeconds: 10,
      settings: {},
      nodes: [],
      lan: true,
      async run(network) {
        network.mount(NODE, "10.77.0.99" as Ipv4);
        await network.pass(5000);
      },
    },
    {
      cause: "unknown-pi-asks",
      bySeconds: 12,
      settings: { boards: [] },
      nodes: [],
      lan: true,
      async run(network) {
        const pi = network.powerOn(makeTestBoard("4"));
        await network.pass(8000);
        pi.powerOff();
      },
    },
  ]);
});
