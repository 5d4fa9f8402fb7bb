/**
 * From a manifest to k3s, without a hand, but with a stand-in for k3s, which is not to be had here: two virtual Pis, Debian 12, the real
 * Ansible with role k3s, real SSH, systemd, storage and cgroups. Emulated this takes more than ten minutes: `make e2e-kubernetes`.
 * The tests go on from each other.
 */
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { debianImage, missingImages } from "../lab/images.ts";
import { leftToSoak, requireRoot, requireTools } from "../lab/required-tools.ts";
import { Simulation, type SimulationEvent } from "../lab/simulation.ts";
import { storyOf } from "./story.ts";

const MINUTE_MS = 60_000;
const JOINED_WITHIN_MS = 25 * MINUTE_MS;
const K3S = resolve(import.meta.dirname, "stand-ins/kubernetes.py");
const VERSION = "v1.31.4+k3s1";

const manifest = () => `cluster: attic
network: { interface: eth0, dhcp: server, subnet: 10.78.0.0/24, range: { from: 10.78.0.100, to: 10.78.0.120 } }
image: ${JSON.stringify(debianImage())}
storage: { kind: loop, size: 512MiB }
configure: { roles: [base], variables: { k3s_packages: [] } }
orchestrator:
  kind: k3s
  version: ${VERSION}
  managers: [node1]
  binary: { source: ${JSON.stringify(K3S)}, sha256: ${createHash("sha256").update(readFileSync(K3S)).digest("hex")} }
  models: { 4: { labels: { example.org/size: large } } }
nodes:
  - { name: node1, mac: "dc:a6:32:00:00:01", serial: "10000001", model: 4, address: 10.78.0.11 }
  - { name: node2, mac: "dc:a6:32:00:00:02", serial: "10000002", model: 4, address: 10.78.0.12, root: ephemeral }
`;

interface NodeItem {
  metadata: { name: string; labels: Record<string, string> };
}

const skipped = leftToSoak || requireTools(["ansible-playbook", "qemu-system-aarch64"]) || requireRoot();

describe.skipIf(skipped || missingImages())("k3s, by a stand-in, on two nodes", () => {
  let cluster: Simulation;

  beforeAll(() => {
    cluster = new Simulation({ manifest: manifest() });
  }, 5 * MINUTE_MS);

  afterAll(async () => {
    if (cluster === undefined) return;
    console.log(storyOf(cluster.events).join("\n"));
    await cluster.stop();
  }, MINUTE_MS);

  const waitJoined = (node: string) =>
    cluster.wait(`${node} is joined`, (event) => event.kind === "joined" && event.node === node, JOINED_WITHIN_MS);

  const calls = (node: string) =>
    cluster
      .ssh(node, "sudo cat /var/log/stand-in.ndjson")
      .split("\n")
      .map((line) => JSON.parse(line) as { argv: string[]; token?: boolean });

  const nodeItems = () =>
    (JSON.parse(cluster.ssh("node1", "sudo k3s kubectl get --raw /api/v1/nodes")) as { items: NodeItem[] }).items;

  it(
    "comes from a manifest and one command, though the manager is killed while it joins a node",
    async () => {
      const isJoining = (event: SimulationEvent) =>
        event.kind === "step-begun" && event.step === "join-agent" && event.node === "node2";
      const killed = cluster.wait("node2 is being joined", isJoining, JOINED_WITHIN_MS).then(() => {
        cluster.killManager();
        return cluster.wait("the manager starts again", (event) => event.kind === "manager-started", MINUTE_MS);
      });
      await Promise.all([killed, waitJoined("node1"), waitJoined("node2")]);
      expect(cluster.status().nodes.map(({ stage }) => stage)).toEqual(["joined", "joined"]);
      const labels = nodeItems().map(({ metadata: { name, labels } }) => [
        name,
        labels["bramble/cluster"],
        labels["bramble/model"],
        labels["bramble/serial"],
        labels["example.org/size"],
      ]);
      expect(labels.sort()).toEqual([
        ["node1", "attic", "4", "10000001", "large"],
        ["node2", "attic", "4", "10000002", "large"],
      ]);
    },
    JOINED_WITHIN_MS + MINUTE_MS,
  );

  it(
    "runs by the role's units, with its data on the storage that was tried; no token rests on a node",
    () => {
      const look = (unit: string) =>
        `systemctl is-active ${unit}; systemctl is-enabled ${unit}; findmnt -n -o FSTYPE -T /var/lib/rancher; sudo ls -A /run/bramble; sudo stat -c %a /etc/rancher/k3s/config.yaml`;
      expect(cluster.ssh("node1", look("k3s"))).toBe("active\nenabled\next4\nstorage\n600");
      expect(cluster.ssh("node2", look("k3s-agent"))).toBe("active\nenabled\next4\nstorage\n600");
      expect(calls("node2").at(-1)).toMatchObject({ argv: ["agent"] });
      expect(calls("node1").map(({ argv }) => argv.join(" "))).toContain(
        "token create --ttl 15m --description Bramble: node2",
      );
      const told = JSON.stringify(cluster.events) + readFileSync(join(cluster.folder, "events.ndjson"), "utf8");
      expect(told).not.toMatch(/K10[0-9a-f]{16}/);
    },
    2 * MINUTE_MS,
  );

  it(
    "gives the user a kubeconfig, for the user alone",
    () => {
      const folder = mkdtempSync(join(tmpdir(), "bramble-kubeconfig-"));
      const path = join(folder, "attic.yaml");
      cluster.bramble("cluster", "kubeconfig", "--output", path);
      expect(readFileSync(path, "utf8")).toContain("server: https://10.78.0.11:6443");
      expect(statSync(path).mode & 0o777).toBe(0o600);
      rmSync(folder, { recursive: true });
    },
    2 * MINUTE_MS,
  );

  it(
    "has an ephemeral node back that lost its power, and with it all that it knew",
    async () => {
      const back = waitJoined("node2");
      const sequence = cluster.events.length;
      cluster.powerCycle("node2");
      await back;
      const steps = cluster.events.slice(sequence).flatMap((event) => (event.kind === "step-done" ? [event.step] : []));
      expect(steps).toEqual(expect.arrayContaining(["delete", "join-agent", "check"]));
      expect(
        nodeItems()
          .map(({ metadata }) => metadata.name)
          .sort(),
      ).toEqual(["node1", "node2"]);
    },
    JOINED_WITHIN_MS + MINUTE_MS,
  );
});
