/**
 * The netconsole of a real Linux kernel: a virtual machine loads the module and makes a target in the plain and one in the
 * extended format. What it prints then must come as lines.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { Ipv4 } from "../../src/bytes/addresses.ts";
import type { BootOccurrence } from "../../src/cluster/event.ts";
import { startNetconsole } from "../../src/manager/netconsole.ts";
import { MemoryVolume } from "../../src/nfs/memory-volume.ts";
import { systemClock } from "../../src/system/clock.ts";
import { createUdpSockets } from "../../src/system/udp.ts";
import { freePorts } from "../free-ports.ts";
import { MISSION_TIMEOUT_MS, MISSION_TOOLS, runMission } from "./nfs-virtual-machine.ts";
import { requireTools } from "./required-tools.ts";
import { serveVolume } from "./served-volume.ts";

const LOOPBACK = "127.0.0.1" as Ipv4;
/** 1000 bytes are what Linux sends of a line at once. */
const LONG = "x".repeat(900);

/** Shell that makes a target at 10.0.2.2, which QEMU's network takes to this machine's loopback. */
function target(name: string, port: number, isExtended: boolean): string {
  return `
mkdir -p /sys/kernel/config && { mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config; }
mkdir /sys/kernel/config/netconsole/${name} && cd /sys/kernel/config/netconsole/${name}
echo eth0 > dev_name; echo 10.0.2.15 > local_ip; echo 10.0.2.2 > remote_ip; echo ${port} > remote_port
echo 52:55:0a:00:02:02 > remote_mac; echo ${isExtended ? 1 : 0} > extended; echo 1 > enabled
cd /mnt`;
}

it.skipIf(requireTools(MISSION_TOOLS))(
  "hears what a Linux kernel prints, in both of its formats",
  async () => {
    const work = mkdtempSync(join(tmpdir(), "bramble-netconsole-"));
    const [port, extendedPort] = (await freePorts(2)) as [number, number];
    const lines: (BootOccurrence & { kind: "console-line" })[] = [];
    const sockets = await createUdpSockets();
    const listen = (at: number, node: string) =>
      startNetconsole({
        sockets,
        bindings: [{ address: LOOPBACK, port: at }],
        clock: systemClock,
        ownerOf: (address) => (address === LOOPBACK ? node : undefined),
        learnNeighbours: async () => {},
        report: (occurrence, of) => {
          expect(of).toBe(node);
          if (occurrence.kind === "console-line") lines.push({ ...occurrence, text: `${node}: ${occurrence.text}` });
        },
      });
    const listeners = [await listen(port, "plain"), await listen(extendedPort, "extended")];
    const served = await serveVolume(new MemoryVolume({ nowNs: () => systemClock.unixNs() }), {
      port: 0,
      start: 1,
      observe: () => {},
    });
    try {
      const console = await runMission(work, {
        port: served.listener.localPort,
        modules: ["configfs", "netconsole"],
        prepare: target("plain", port, false) + target("extended", extendedPort, true),
        checks: [
          { name: "plain", command: "echo '<3>bramble hears this' > /dev/kmsg" },
          { name: "bytes", command: "printf '<3>caf\\303\\251\\033[31m' > /dev/kmsg" },
          { name: "long", command: `echo '<3>${LONG}' > /dev/kmsg` },
          { name: "waits", command: "sleep 1" },
        ],
      });
      expect(console).toContain("all checks were run");
      const texts = lines.map(({ text }) => text.replace(/\[ *\d+\.\d+\] /, ""));
      expect(texts).toContain("plain: bramble hears this");
      expect(texts).toContain("extended: bramble hears this");
      expect(texts).toContain(`plain: ${LONG}`);
      expect(texts).toContain(`extended: ${LONG}`);
      const bytes = texts.filter((text) => text.includes("caf"));
      expect(bytes).toHaveLength(2);
      for (const text of bytes) expect(text).toMatch(/^(plain|extended): [ -~]*$/);
    } finally {
      for (const listener of listeners) listener.close();
      await served.listener.close();
      rmSync(work, { recursive: true });
    }
  },
  MISSION_TIMEOUT_MS,
);
