/** `packages:` on a booted node, with apt as it is, from an archive of our own in the lab. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { labEnterCommand, readLabRecord } from "../../src/system/lab-network.ts";
import { APT_ARCHIVE_SERVER, aptSource, makeAptArchive } from "./apt-archive.ts";
import { missingImages, trixieLikeImage } from "./images.ts";
import { leftToSoak, requireTools } from "./required-tools.ts";
import { Simulation } from "./simulation.ts";

const manifest = (image: string) => `cluster: attic
network: { interface: eth0, address: 10.9.8.1, subnet: 10.9.8.0/24, dhcp: server, range: { from: 10.9.8.100, to: 10.9.8.200 } }
image: ${JSON.stringify(image)}
packages: [own-package]
logs: { keep: memory, flush: 7d }
files:
  - { path: /etc/apt/sources.list.d/own.list, content: ${JSON.stringify(aptSource("10.9.8.1"))} }
nodes:
  - { name: node1, mac: "dc:a6:32:00:00:01", serial: "10000001" }
  - { name: node2, mac: "dc:a6:32:00:00:02", serial: "10000002", packages: [no-such-package] }
`;

let cluster: Simulation | undefined;
let server: ChildProcess | undefined;
let folder: string | undefined;
afterEach(async () => {
  server?.kill();
  await cluster?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true });
}, 60_000);

const skipped =
  leftToSoak || requireTools(["ip", "unshare", "nsenter", "dpkg-deb", "qemu-system-aarch64"]) || missingImages();

it.skipIf(skipped)(
  "packages are installed beside the boot, and stay over a restart with the folders of their logs",
  async () => {
    folder = mkdtempSync(join(tmpdir(), "bramble-archive-"));
    makeAptArchive(folder, ["own-package"]);
    cluster = new Simulation({ manifest: manifest(trixieLikeImage()) });
    const up = Promise.all([cluster.waitUp("node1"), cluster.waitUp("node2")]);
    await cluster.wait("the lab runs", (event) => event.kind === "dhcp-request");
    const [enter, ...rest] = labEnterCommand(readLabRecord(join(cluster.folder, "lab.json"))!);
    server = spawn(enter!, [...rest, process.execPath, "-e", APT_ARCHIVE_SERVER, folder], { stdio: "inherit" });
    await up;
    const packagesOf = (index: number) =>
      cluster!.status().nodes[index]!.settings?.find(({ setting }) => setting === "packages")?.state;
    await expect.poll(() => packagesOf(0), { timeout: 300_000, interval: 3000 }).toBe("ready");
    await expect.poll(() => packagesOf(1), { timeout: 300_000, interval: 3000 }).toBe("unknown");
    expect(cluster.status().nodes.map(({ problem }) => problem)).toEqual([
      undefined,
      expect.stringContaining("Cannot install the packages of node2: its archives do not have all of them"),
    ]);
    expect(cluster.ssh("node1", "own-package; stat -f -c %T /var/log/own-package")).toBe("own-package runs\ntmpfs");

    // The flush after apt is all that has been: the clock asks for none in this week.
    const again = cluster.waitUp("node1");
    cluster.powerCycle("node1");
    await again;
    expect(cluster.ssh("node1", "own-package; stat -f -c %T /var/log/own-package")).toBe("own-package runs\ntmpfs");
    await expect.poll(() => packagesOf(0), { timeout: 60_000 }).toBe("ready");
    expect(cluster.ssh("node1", "systemctl --failed --no-legend --plain")).toBe("");
  },
  1_200_000,
);
