/**
 * The real Ansible, over SSH, on a virtual Pi that booted: the inventory, its pinned host keys, and the collection's roles.
 * Emulated, a play takes most of a minute, so it is part of `make soak`. `test/cli/inventory.test.ts` has what needs no Pi.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ConfigureOutcome } from "../../src/manager/configuration/configurator.ts";
import { labEnterCommand, readLabRecord } from "../../src/system/lab-network.ts";
import { debianImage, missingImages } from "./images.ts";
import { leftToSoak, requireTools } from "./required-tools.ts";
import { BRAMBLE, Simulation } from "./simulation.ts";

const COLLECTIONS = resolve(import.meta.dirname, "../../ansible");
const PLAY_TIMEOUT_MS = 600_000;

/** A service that Docker's handler can restart: the image has no Docker, and the lab no way to Debian's archive. */
const STAND_IN = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n";

/** A playbook of a user, after the roles. */
const SITE = `- hosts: model_4
  become: true
  gather_facts: false
  tasks:
    - name: Greet
      ansible.builtin.copy: { content: "{{ greeting }} {{ inventory_hostname }} of model {{ bramble_model }}", dest: /var/lib/greeting, mode: "0644" }
`;

function manifest(playbook: string): string {
  const variables = {
    base_packages: ["sudo", "openssh-server"],
    base_hostname: "renamed",
    docker_packages: ["procps"],
    docker_userns_remap: "default",
    docker_daemon: { "log-driver": "local" },
    log2ram_size: "32M",
    greeting: "hello",
  };
  return JSON.stringify({
    cluster: "attic",
    network: { interface: "eth0", subnet: "10.9.8.0/24", dhcp: "server" },
    image: debianImage(),
    files: [{ path: "/etc/systemd/system/docker.service", content: STAND_IN }],
    storage: { kind: "loop", size: "64MiB" },
    configure: { roles: ["base", "swarm", "log2ram"], after: [playbook], variables },
    nodes: [{ name: "node1", mac: "dc:a6:32:00:00:01", address: "10.9.8.11", model: "4" }],
  });
}

describe.skipIf(leftToSoak || requireTools(["ansible", "nsenter"]) || missingImages())("Ansible", () => {
  let cluster: Simulation;
  let playbooks: string;
  let inventory: string;
  let configured: Promise<unknown>;

  beforeAll(async () => {
    playbooks = mkdtempSync(join(tmpdir(), "bramble-playbooks-"));
    writeFileSync(join(playbooks, "site.yml"), SITE);
    cluster = new Simulation({ manifest: manifest(join(playbooks, "site.yml")) });
    configured = cluster.wait("node1 is configured", ({ kind }) => kind === "configured", 2 * PLAY_TIMEOUT_MS);
    await Promise.all([cluster.waitUp("node1"), cluster.waitLogin("node1")]);
    inventory = join(cluster.folder, "nodes");
    const bramble = `${process.execPath} ${BRAMBLE} --manifest ${cluster.folder}/bramble.yaml --state ${cluster.folder}`;
    writeFileSync(inventory, `#!/bin/sh\nexec ${bramble} inventory "$@"\n`, { mode: 0o755 });
  }, 600_000);

  afterAll(async () => {
    await cluster.stop();
    if (playbooks) rmSync(playbooks, { recursive: true });
  }, 60_000);

  function ansible(program: string, words: readonly string[], environment: NodeJS.ProcessEnv = {}) {
    const lab = labEnterCommand(readLabRecord(join(cluster.folder, "lab.json"))!);
    const [enter, ...rest] = [...lab, program, "-i", inventory, ...words];
    const settings = {
      ANSIBLE_HOME: join(cluster.folder, "ansible"),
      ANSIBLE_COLLECTIONS_PATH: COLLECTIONS,
      ANSIBLE_PIPELINING: "1",
      ANSIBLE_TIMEOUT: "60",
    };
    const { stdout, stderr } = spawnSync(enter!, rest, {
      encoding: "utf8",
      env: { ...process.env, ...settings, ...environment },
      timeout: PLAY_TIMEOUT_MS,
    });
    return stdout + stderr;
  }

  /** What a command prints, also when it fails. */
  function bramble(...words: string[]): string {
    const all = [BRAMBLE, "--manifest", join(cluster.folder, "bramble.yaml"), "--state", cluster.folder, ...words];
    return spawnSync(process.execPath, all, { encoding: "utf8", timeout: PLAY_TIMEOUT_MS }).stdout;
  }

  it("reaches the nodes that are up", { timeout: PLAY_TIMEOUT_MS }, () => {
    expect(ansible("ansible", ["up", "-m", "ping"])).toMatch(/^node1 \| SUCCESS[\s\S]*"ping": "pong"/m);
  });

  it("sets a node up by itself when it comes up, as the manifest says; the second time changes nothing", {
    timeout: 2 * PLAY_TIMEOUT_MS,
  }, async () => {
    await configured;
    expect(cluster.ssh("node1", "hostname; systemctl is-active docker; systemctl is-enabled docker")).toBe(
      "renamed\nactive\nenabled",
    );
    const settings: unknown = JSON.parse(cluster.ssh("node1", "cat /etc/docker/daemon.json"));
    expect(settings).toEqual({ "log-driver": "local", "userns-remap": "default" });
    expect(cluster.ssh("node1", "cat /var/lib/greeting")).toBe("hello node1 of model 4");
    expect(
      cluster.ssh("node1", "cat /proc/sys/net/bridge/bridge-nf-call-iptables; findmnt -n -o FSTYPE /var/log"),
    ).toBe("1\ntmpfs");
    const [outcome] = JSON.parse(bramble("configure", "--json")) as ConfigureOutcome[];
    expect(outcome).toMatchObject({ node: "node1", result: "configured", changed: 0 });
  });

  it("does not log in to whoever has another host key, also where ansible.cfg says so", {
    timeout: PLAY_TIMEOUT_MS,
  }, () => {
    const knownHosts = join(cluster.folder, "known_hosts");
    const right = readFileSync(knownHosts, "utf8");
    const managers = readFileSync(join(cluster.folder, "secrets/id_ed25519.pub"), "utf8");
    writeFileSync(knownHosts, `node1 ${managers}`);
    // Not over the connection that is still open.
    const careless = { ANSIBLE_HOST_KEY_CHECKING: "False", ANSIBLE_SSH_ARGS: "-C" };
    const said = ansible("ansible", ["node1", "-m", "ping"], careless);
    writeFileSync(knownHosts, right);
    expect(said).toMatch(/^node1 \| UNREACHABLE![\s\S]*Host key verification failed/m);
  });

  it("sees with --check what somebody has changed on the node, and mends it", { timeout: 2 * PLAY_TIMEOUT_MS }, () => {
    cluster.ssh("node1", "echo '{}' | sudo tee /etc/docker/daemon.json");
    const shown = bramble("configure", "--check", "node1");
    expect(shown).toMatch(/^ {2}docker: Write daemon.json\n {4}changed: node1$/m);
    expect(shown).toMatch(/^node1 +checked /m);
    expect(cluster.ssh("node1", "cat /etc/docker/daemon.json")).toBe("{}");
    const [outcome] = JSON.parse(bramble("configure", "--json", "node1")) as ConfigureOutcome[];
    // The file, and Docker's restart.
    expect(outcome).toMatchObject({ node: "node1", result: "configured", changed: 2 });
  });

  it("brings logs in memory to the disk, and what was removed there goes", { timeout: PLAY_TIMEOUT_MS }, () => {
    const disk = "/var/lib/log2ram/disk";
    cluster.ssh("node1", "sudo sh -c 'echo one > /var/log/one; mkdir /var/log/folder; echo two > /var/log/folder/two'");
    cluster.ssh("node1", "sudo systemctl start log2ram-flush");
    expect(cluster.ssh("node1", `sudo cat ${disk}/one ${disk}/folder/two`)).toBe("one\ntwo");
    cluster.ssh("node1", "sudo sh -c 'rm -r /var/log/folder; systemctl stop log2ram'");
    expect(
      cluster.ssh(
        "node1",
        "findmnt -n -o FSTYPE -T /var/log; ls -d /var/log/one /var/log/folder; journalctl --disk-usage > /dev/null && echo sound",
      ),
    ).toMatch(/^nfs\n\/var\/log\/one\nsound$/);
    cluster.ssh("node1", "sudo systemctl start log2ram");
    expect(cluster.ssh("node1", "findmnt -n -o FSTYPE /var/log; cat /var/log/one")).toBe("tmpfs\none");
  });

  it("refuses to keep containers where overlayfs does not work", { timeout: PLAY_TIMEOUT_MS }, () => {
    const said = ansible("ansible-playbook", ["bramble.cluster.swarm", "-e", '{"swarm_storage_types": [xfs]}']);
    expect(said).toContain(
      "Cannot keep containers on node1: /var/lib/docker is on ext4, and Docker's overlay2 needs xfs",
    );
  });

  it("says what to do about a node without Python", { timeout: PLAY_TIMEOUT_MS }, () => {
    // All of them: without `python3` Ansible takes `python3.11`.
    cluster.ssh("node1", "sudo mkdir /var/hidden && sudo mv /usr/bin/python3* /var/hidden");
    const failed = bramble("configure", "node1");
    cluster.ssh("node1", "sudo mv /var/hidden/* /usr/bin");
    expect(failed).toMatch(
      /^node1 +failed +0 +0 +task "Gathering Facts": the node has no Python 3, which Ansible's modules need; use an image with python3$/m,
    );
  });
});
