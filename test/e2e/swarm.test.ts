/**
 * From a manifest to a Docker Swarm, without a hand: two virtual Pis, Debian 12 with its own docker.io, Ansible with role swarm, and the
 * manager that joins them. Emulated this takes more than ten minutes, so `make e2e-swarm` runs it. The tests go on from each other.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { copyOutOfRoot, dockerImage, missingImages } from "../lab/images.ts";
import { leftToEndToEnd, requireRoot, requireTools } from "../lab/required-tools.ts";
import { Simulation, type SimulationEvent } from "../lab/simulation.ts";
import { pinned, writeImageArchive } from "./image-archive.ts";
import { memberLine, swarmMembers } from "./swarm-members.ts";

const MINUTE_MS = 60_000;
const JOINED_WITHIN_MS = 15 * MINUTE_MS;
const BOARD2 = { mac: "dc:a6:32:00:00:02", serial: "10000002" };

/** Docker is in the image; it gets settings of ours, and an image that no registry has. */
const variables = (archive: string) => ({
  docker_daemon: { "log-driver": "local" },
  docker_registry_mirrors: ["http://10.77.0.1:5000"],
  docker_images: [pinned(archive)],
});

const manifest = (image: string, archive: string) => `cluster: attic
network: { interface: eth0, dhcp: server, subnet: 10.77.0.0/24, range: { from: 10.77.0.100, to: 10.77.0.120 } }
image: ${JSON.stringify(image)}
storage: { kind: loop, size: 4GiB }
configure: { roles: [swarm], variables: ${JSON.stringify(variables(archive))} }
orchestrator: { kind: swarm, managers: [node1] }
nodes:
  - { name: node1, mac: "dc:a6:32:00:00:01", serial: "10000001", model: 4, address: 10.77.0.11 }
  - { name: node2, mac: "${BOARD2.mac}", serial: "${BOARD2.serial}", model: 4, address: 10.77.0.12 }
`;

/** Its one program is static. */
function writeImage(archive: string, osImage: string): void {
  const path = `${archive}.busybox`;
  copyOutOfRoot(osImage, "/usr/bin/busybox", path);
  writeImageArchive(archive, { name: "scratch:1", entrypoint: ["/busybox"], files: { busybox: readFileSync(path) } });
}

/** On every node, and each node's port leads to all of them: by Swarm's network over the nodes. */
const CREATE_SERVICE = `sudo docker service create --detach --quiet --no-resolve-image --mode global --name web
  --restart-delay 2s --hostname '{{.Node.Hostname}}' --publish 8080:8080 scratch:1 httpd -f -p 8080 -h /etc`;
/** bash, because the static busybox of Debian 12 crashes when it looks a host up, even one given as an address. */
const ASK_SERVICE = `for i in 1 2 3 4; do timeout 20 bash -c 'exec 3<>/dev/tcp/10.77.0.11/8080
  printf "GET /hostname HTTP/1.0\\r\\n\\r\\n" >&3; tail -n 1 <&3' 2> /dev/null; done | sort -u`;

const skipped =
  leftToEndToEnd || requireTools(["ansible-playbook", "losetup", "dpkg-deb", "qemu-system-aarch64"]) || requireRoot();

describe.skipIf(skipped || missingImages())("a Swarm of two nodes", () => {
  let folder: string;
  let cluster: Simulation;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-swarm-"));
    const archive = join(folder, "image.tar");
    writeImage(archive, dockerImage());
    cluster = new Simulation({ manifest: manifest(dockerImage(), archive) });
  }, 10 * MINUTE_MS);

  afterAll(async () => {
    if (folder) rmSync(folder, { recursive: true });
    if (cluster === undefined) return;
    console.log(timesOf(cluster.events).join("\n"));
    await cluster.stop();
  }, MINUTE_MS);

  const waitJoined = (node: string) =>
    cluster.wait(`${node} is joined`, (event) => event.kind === "joined" && event.node === node, JOINED_WITHIN_MS);

  const members = () => swarmMembers(cluster, "node1");
  const memberText = () => members().map(memberLine);

  const untilServedBy = (nodes: string[]) =>
    expect
      .poll(() => cluster.ssh("node1", ASK_SERVICE).split("\n"), { timeout: 5 * MINUTE_MS, interval: 5000 })
      .toEqual(nodes);

  it(
    "comes from a manifest and one command, though the manager is killed while it joins them",
    async () => {
      const isJoining = (event: SimulationEvent) =>
        event.kind === "step-begun" && event.step === "join" && event.node === "node2";
      const killed = cluster.wait("node2 is being joined", isJoining, JOINED_WITHIN_MS).then(() => {
        cluster.killManager();
        return cluster.wait("the manager starts again", (event) => event.kind === "manager-started", MINUTE_MS);
      });
      await Promise.all([killed, waitJoined("node1"), waitJoined("node2")]);
      expect(memberText()).toEqual(["node1 Ready Leader", "node2 Ready"]);
      expect(cluster.status().nodes.map(({ stage }) => stage)).toEqual(["joined", "joined"]);
    },
    JOINED_WITHIN_MS + MINUTE_MS,
  );

  it(
    "keeps its containers in overlay2 on the storage that was tried, can limit their memory, and has the settings of the manifest",
    () => {
      const look = `sudo docker info --format '{{.Driver}} {{.DockerRootDir}} {{.MemoryLimit}} {{.LoggingDriver}} {{.RegistryConfig.Mirrors}}'
        sudo findmnt -n -o SOURCE,FSTYPE -T /var/lib/docker/overlay2`;
      for (const node of ["node1", "node2"]) {
        const [docker, storage] = cluster.ssh(node, look).split("\n");
        expect(docker).toBe("overlay2 /var/lib/docker true local [http://10.77.0.1:5000/]");
        expect(storage).toMatch(/^\/dev\/loop\d+\[\/docker\] +ext4$/);
      }
      expect(cluster.status().nodes.map(({ containerStorage }) => containerStorage?.state)).toEqual(["ready", "ready"]);
    },
    2 * MINUTE_MS,
  );

  it(
    "runs a service on every node, of an image that none of them had to fetch",
    async () => {
      cluster.ssh("node1", CREATE_SERVICE.replaceAll("\n", " "));
      await untilServedBy(["node1", "node2"]);
    },
    8 * MINUTE_MS,
  );

  it(
    "takes the work of a node away when asked to, and gives it back",
    async () => {
      cluster.bramble("cluster", "drain", "node2");
      expect(members().map(({ Availability }) => Availability)).toEqual(["Active", "Drain"]);
      const running = "sudo docker node ps --filter desired-state=running --format '{{.CurrentState}}' node2";
      expect(cluster.ssh("node1", running)).not.toContain("Running");
      cluster.bramble("cluster", "drain", "node2", "--undo");
      expect(members().map(({ Availability }) => Availability)).toEqual(["Active", "Active"]);
      await untilServedBy(["node1", "node2"]);
    },
    12 * MINUTE_MS,
  );

  it(
    "has a node back that lost its power, as the same member, with its work",
    async () => {
      const before = members();
      const back = waitJoined("node2");
      cluster.powerCycle("node2");
      await back;
      expect(members()).toEqual(before);
      await untilServedBy(["node1", "node2"]);
    },
    JOINED_WITHIN_MS + 5 * MINUTE_MS,
  );

  it(
    "forgets a node that was removed, and takes in one that was added",
    async () => {
      cluster.bramble("nodes", "remove", "node2");
      // Its board is a stranger's now, and asks for an address in vain.
      cluster.powerCycle("node2");
      await expect.poll(memberText, { timeout: 8 * MINUTE_MS, interval: 5000 }).toEqual(["node1 Ready Leader"]);
      const joined = waitJoined("node3");
      const board = ["--mac", BOARD2.mac, "--serial", BOARD2.serial, "--model", "4"];
      cluster.bramble("nodes", "add", "node3", ...board, "--address", "10.77.0.13");
      await joined;
      expect(memberText()).toEqual(["node1 Ready Leader", "node3 Ready"]);
      await untilServedBy(["node1", "node3"]);
    },
    JOINED_WITHIN_MS + 10 * MINUTE_MS,
  );

  it(
    "has a node leave when asked to, and then everybody",
    async () => {
      const stateOf = (node: string) => cluster.ssh(node, "sudo docker info --format '{{.Swarm.LocalNodeState}}'");
      cluster.bramble("cluster", "remove", "node3");
      await expect.poll(memberText, { timeout: 3 * MINUTE_MS, interval: 5000 }).toEqual(["node1 Ready Leader"]);
      expect(stateOf("node3")).toBe("inactive");
      cluster.bramble("cluster", "leave", "--yes");
      expect(stateOf("node1")).toBe("inactive");
      expect(cluster.status().nodes.map(({ stage }) => stage)).toEqual(["up", "up"]);
    },
    12 * MINUTE_MS,
  );
});

/** When each node reached what, in seconds since it was switched on, and how long each step took. */
function timesOf(events: readonly SimulationEvent[]): string[] {
  const onMs = new Map<string, number>();
  const lines: string[] = [];
  for (const event of events) {
    if (event.kind === "power-on" && "pi" in event) onMs.set(event.pi, event.unixMs);
    if (!("node" in event) || event.node === undefined) continue;
    const { node } = event;
    const since = ((event.unixMs - onMs.get(node === "node3" ? "node2" : node)!) / 1000).toFixed(0);
    if (event.kind === "mount" && event.tree === "root") lines.push(`${node} ${since} s: root mounted`);
    if (event.kind === "up" || event.kind === "joined") lines.push(`${node} ${since} s: ${event.kind}`);
    if (event.kind === "step-done") lines.push(`${node} ${since} s: ${event.step} (${event.durationMs} ms)`);
    if (event.kind === "step-failed") lines.push(`${node} ${since} s: ${event.step} failed: ${event.message}`);
  }
  return lines;
}
