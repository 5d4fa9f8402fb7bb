/**
 * What `logs: { keep: memory }` spares: two booted nodes that log the same, one to its disk, as Debian does after it was
 * installed, and one to its memory. What each writes in two minutes, and what a flush writes, as `bramble top` counts it.
 */
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import type { ClusterActivityView } from "../../src/manager/cluster-activity.ts";
import { missingImages, trixieLikeImage } from "./images.ts";
import { leftToSoak, requireTools } from "./required-tools.ts";
import { Simulation } from "./simulation.ts";

/** One line a second, of 120 bytes, to the journal and to a file. */
const LOGGER = `      [Service]
      ExecStart=/bin/sh -c 'n=0; while sleep 1; do n=$((n + 1)); line="$n of an idle node that says every second how it is, as many small programs of a household do; all is well"; logger -t own "$line"; echo "$line" >> /var/log/own.log; done'
      [Install]
      WantedBy=multi-user.target
`;

const manifest = (image: string) => `cluster: attic
network: { interface: eth0, subnet: 10.9.8.0/24, dhcp: server, range: { from: 10.9.8.100, to: 10.9.8.200 } }
image: ${JSON.stringify(image)}
units: { enable: [own] }
files:
  - path: /etc/systemd/system/own.service
    content: |
${LOGGER}
nodes:
  - name: disk
    mac: "dc:a6:32:00:00:01"
    serial: "10000001"
    files: [{ path: /etc/systemd/journald.conf.d/50-disk.conf, content: "[Journal]\\nStorage=persistent\\n" }]
  - { name: memory, mac: "dc:a6:32:00:00:02", serial: "10000002", logs: { keep: memory } }
`;

const SETTLE_MS = 90_000;
const MEASURED_MS = 120_000;

let cluster: Simulation | undefined;
afterEach(() => cluster?.stop(), 60_000);

const skipped = leftToSoak || requireTools(["ip", "unshare", "qemu-system-aarch64"]) || missingImages();

/** Since the manager started, by node. */
async function totals() {
  await delay(2000);
  const { nodes } = JSON.parse(cluster!.bramble("top", "--once", "--json")) as ClusterActivityView;
  return Object.fromEntries(nodes.map((node) => [node.node, node.totals]));
}

it.skipIf(skipped)(
  "a node that logs to its memory writes a fraction to its disk",
  async () => {
    cluster = new Simulation({ manifest: manifest(trixieLikeImage()) });
    await Promise.all(["disk", "memory"].map((node) => cluster!.waitUp(node)));
    await delay(SETTLE_MS);
    const first = await totals();
    await delay(MEASURED_MS);
    const before = await totals();
    await delay(MEASURED_MS);
    const after = await totals();
    const made = Math.round((before.disk!.writtenBytes - first.disk!.writtenBytes) / 1024);
    const spent = (node: string) => ({
      KiB: Math.round((after[node]!.writtenBytes - before[node]!.writtenBytes) / 1024),
      calls: after[node]!.operations - before[node]!.operations,
    });
    cluster.ssh("memory", "sudo systemctl start bramble-logs-flush.service");
    const flushed = await totals();
    const flushKiB = Math.round((flushed.memory!.writtenBytes - after.memory!.writtenBytes) / 1024);
    const sizes = cluster.ssh("memory", "sudo du -sk /var/log /var/lib/bramble/logs.tar.gz | cut -f 1 | xargs echo");
    console.log(`2 minutes before: disk ${made} KiB`);
    console.log(`in 2 minutes: disk ${JSON.stringify(spent("disk"))}, memory ${JSON.stringify(spent("memory"))}`);
    console.log(`one flush: ${flushKiB} KiB; KiB in /var/log and in its archive: ${sizes}`);
    expect(spent("disk").KiB).toBeGreaterThan(100);
    expect(spent("memory").KiB).toBeLessThan(spent("disk").KiB / 10);
    expect(flushKiB).toBeLessThan(1024);
  },
  900_000,
);
