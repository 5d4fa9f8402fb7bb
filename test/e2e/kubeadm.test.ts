/**
 * From a manifest to kubeadm, without a hand: two virtual Pis, Debian 12 with its own containerd and runc, the real Ansible with role
 * kubeadm, real SSH, systemd, storage and cgroups. kubeadm, kubelet and kubectl are stand-ins: they are not to be had here. Emulated this
 * takes more than ten minutes: `make e2e-kubernetes`. The tests go on from each other.
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dockerImage, missingImages } from "../lab/images.ts";
import { leftToSoak, requireRoot, requireTools } from "../lab/required-tools.ts";
import { Simulation } from "../lab/simulation.ts";
import { pinned, writeImageArchive } from "./image-archive.ts";
import { storyOf } from "./story.ts";

const MINUTE_MS = 60_000;
const JOINED_WITHIN_MS = 25 * MINUTE_MS;
const STAND_IN = resolve(import.meta.dirname, "stand-ins/kubernetes.py");
const PAUSE_IMAGE = "bramble.test/pause:3.10";

const pinnedText = (source: string) => JSON.stringify(pinned(source));

const manifest = (folder: string) => `cluster: attic
network: { interface: eth0, dhcp: server, subnet: 10.79.0.0/24, range: { from: 10.79.0.100, to: 10.79.0.120 } }
image: ${JSON.stringify(dockerImage())}
storage: { kind: loop, size: 512MiB }
units: { mask: [docker.service, docker.socket] }
configure: { roles: [base], variables: { kubeadm_packages: [containerd, iptables, openssl] } }
orchestrator:
  kind: kubeadm
  version: v1.31.4
  managers: [node1]
  podCidr: 10.244.0.0/16
  pauseImage: ${PAUSE_IMAGE}
  binaries: { kubeadm: ${pinnedText(STAND_IN)}, kubelet: ${pinnedText(STAND_IN)}, kubectl: ${pinnedText(STAND_IN)} }
  cniPlugins: ${pinnedText(join(folder, "plugins.tgz"))}
  cni: ${pinnedText(join(folder, "net.yaml"))}
  airgapImages: ${pinnedText(join(folder, "images.tar"))}
nodes:
  - { name: node1, mac: "dc:a6:32:00:00:01", serial: "10000001", model: 4, address: 10.79.0.11 }
  - { name: node2, mac: "dc:a6:32:00:00:02", serial: "10000002", model: 4, address: 10.79.0.12 }
`;

function writeFiles(folder: string): void {
  mkdirSync(join(folder, "plugins"));
  copyFileSync("/dev/null", join(folder, "plugins/bridge"));
  execFileSync("tar", ["-C", join(folder, "plugins"), "-czf", join(folder, "plugins.tgz"), "."]);
  writeFileSync(join(folder, "net.yaml"), "kind: List\n");
  writeImageArchive(join(folder, "images.tar"), { name: PAUSE_IMAGE, entrypoint: ["/pause"], files: {} });
}

const skipped =
  leftToSoak || requireTools(["ansible-playbook", "losetup", "dpkg-deb", "qemu-system-aarch64"]) || requireRoot();

describe.skipIf(skipped || missingImages())("kubeadm, by stand-ins, on two nodes with containerd", () => {
  let folder: string;
  let cluster: Simulation;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-kubeadm-"));
    writeFiles(folder);
    cluster = new Simulation({ manifest: manifest(folder) });
  }, 10 * MINUTE_MS);

  afterAll(async () => {
    if (folder) rmSync(folder, { recursive: true });
    if (cluster === undefined) return;
    console.log(storyOf(cluster.events).join("\n"));
    await cluster.stop();
  }, MINUTE_MS);

  it(
    "comes from a manifest and one command",
    async () => {
      const waitJoined = (node: string) =>
        cluster.wait(`${node} is joined`, (event) => event.kind === "joined" && event.node === node, JOINED_WITHIN_MS);
      await Promise.all([waitJoined("node1"), waitJoined("node2")]);
      expect(cluster.status().nodes.map(({ stage }) => stage)).toEqual(["joined", "joined"]);
      const calls = (node: string) =>
        cluster
          .ssh(node, "sudo cat /var/log/stand-in.ndjson")
          .split("\n")
          .map((line) => JSON.parse(line) as { program: string; argv: string[] })
          .filter(({ program }) => program === "kubeadm")
          .map(({ argv }) => argv.join(" "));
      expect(calls("node1")).toEqual([
        "init --config /run/bramble/kubeadm.yaml --skip-token-print",
        "token create --ttl 15m0s --description Bramble: node2",
      ]);
      expect(calls("node2")).toEqual(["join --config /run/bramble/kubeadm.yaml"]);
    },
    JOINED_WITHIN_MS + MINUTE_MS,
  );

  it(
    "runs by the role's units, with its data on the storage that was tried; no token rests on a node",
    () => {
      const look = `systemctl is-active kubelet containerd; systemctl is-enabled kubelet containerd
        findmnt -n -o FSTYPE -T /var/lib/kubelet; findmnt -n -o FSTYPE -T /var/lib/containerd; sudo ls -A /run/bramble`;
      const said = "active\nactive\nenabled\nenabled\next4\next4\nstorage";
      for (const node of ["node1", "node2"]) expect(cluster.ssh(node, look)).toBe(said);
      expect(cluster.ssh("node1", "sudo ls /var/lib/bramble/containers/etcd")).toContain("state.json");
      const told = JSON.stringify(cluster.events) + readFileSync(join(cluster.folder, "events.ndjson"), "utf8");
      expect(told).not.toMatch(/[0-9a-f]{6}\.[0-9a-f]{16}/);
    },
    2 * MINUTE_MS,
  );

  it(
    "has a containerd that took the role's settings and images, and runs a container of them in overlays",
    () => {
      const settings = "sudo containerd config dump | grep -E 'SystemdCgroup|sandbox_image' | tr -d ' '";
      expect(cluster.ssh("node2", settings).split("\n").sort()).toEqual([
        "SystemdCgroup=true",
        `sandbox_image="${PAUSE_IMAGE}"`,
      ]);
      const plugins = "sudo ctr plugins ls | grep -E '\\b(cri|overlayfs)\\b' | tr -s ' ' | cut -d ' ' -f 2,4 | sort";
      expect(cluster.ssh("node2", plugins)).toBe("cri ok\noverlayfs ok");
      const mounts = ["/usr/bin,dst=/bin", "/sys/fs/cgroup,dst=/cgroup"].map(
        (paths) => `--mount type=bind,src=${paths},options=rbind:ro`,
      );
      const inside = "busybox head -n 1 /proc/mounts; busybox cat /cgroup/k8s.io/trial/memory.max";
      const words = ["--rm --memory-limit 67108864", ...mounts, PAUSE_IMAGE, `trial /bin/busybox sh -c '${inside}'`];
      const run = `sudo ctr -n k8s.io run ${words.join(" ")}`;
      expect(cluster.ssh("node2", run)).toMatch(/^overlay \/ overlay .*upperdir=\/var\/lib\/containerd\/.*\n67108864$/);
    },
    3 * MINUTE_MS,
  );

  it(
    "has a node out of it when asked to, and in again, and ends when asked to",
    async () => {
      const list = "sudo kubectl --kubeconfig /etc/kubernetes/admin.conf get --raw /api/v1/nodes";
      const names = () =>
        (JSON.parse(cluster.ssh("node1", list)) as { items: { metadata: { name: string } }[] }).items.map(
          ({ metadata }) => metadata.name,
        );
      const stages = () => cluster.status().nodes.map(({ stage }) => stage);
      const patience = { timeout: 5 * MINUTE_MS, interval: 5000 };
      cluster.bramble("cluster", "remove", "node2");
      await expect.poll(names, patience).toEqual(["node1"]);
      await expect.poll(stages, patience).toEqual(["joined", "up"]);
      const look =
        "sudo find /etc/kubernetes /run/bramble -name '*.conf' -o -name '*.yaml'; systemctl is-active kubelet";
      await expect.poll(() => cluster.ssh("node2", `${look} || true`), patience).toBe("inactive");
      cluster.bramble("cluster", "join", "node2");
      await expect.poll(stages, patience).toEqual(["joined", "joined"]);
      expect(names()).toEqual(["node1", "node2"]);
      cluster.bramble("cluster", "leave", "--yes");
      await expect.poll(stages, patience).toEqual(["up", "up"]);
      expect(cluster.ssh("node1", `${look} || true`)).toBe("inactive");
    },
    20 * MINUTE_MS,
  );
});
