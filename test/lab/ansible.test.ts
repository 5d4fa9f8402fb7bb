/**
 * The real Ansible, over SSH, on a virtual Pi that booted: the inventory, its pinned host keys, and the collection's roles.
 * Emulated, a play takes most of a minute, so it is part of `make soak`. `test/cli/inventory.test.ts` has what needs no Pi.
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { labEnterCommand, readLabRecord } from "../../src/system/lab-network.ts";
import { missingImages, trixieLikeImage } from "./images.ts";
import { leftToSoak, requireTools } from "./required-tools.ts";
import { BRAMBLE, Simulation } from "./simulation.ts";

const COLLECTIONS = resolve(import.meta.dirname, "../../ansible");
const PLAY_TIMEOUT_MS = 600_000;

/** A service that Docker's handler can restart: the image has no Docker, and the lab no way to Debian's archive. */
const STAND_IN = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n";

describe.skipIf(leftToSoak || requireTools(["ansible", "nsenter"]) || missingImages())("Ansible", () => {
  let cluster: Simulation;
  let inventory: string;

  beforeAll(async () => {
    cluster = new Simulation({ image: trixieLikeImage(), nodes: 1 });
    await Promise.all([cluster.waitUp("node1"), cluster.waitLogin("node1")]);
    inventory = join(cluster.folder, "nodes");
    const bramble = `${process.execPath} ${BRAMBLE} --manifest ${cluster.folder}/bramble.yaml --state ${cluster.folder}`;
    writeFileSync(inventory, `#!/bin/sh\nexec ${bramble} inventory "$@"\n`, { mode: 0o755 });
  }, 400_000);

  afterAll(() => cluster.stop(), 60_000);

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

  it("reaches the nodes that are up", { timeout: PLAY_TIMEOUT_MS }, () => {
    expect(ansible("ansible", ["up", "-m", "ping"])).toMatch(/^node1 \| SUCCESS[\s\S]*"ping": "pong"/m);
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

  it("sets a node up by the collection's roles, and the second time changes nothing", {
    timeout: 3 * PLAY_TIMEOUT_MS,
  }, () => {
    cluster.ssh(
      "node1",
      `printf '${STAND_IN.replaceAll("\n", "\\n")}' | sudo tee /etc/systemd/system/docker.service; sudo systemctl daemon-reload`,
    );
    const wanted = {
      base_packages: ["sudo", "openssh-server"],
      base_hostname: "renamed",
      docker_packages: ["procps"],
      docker_userns_remap: "default",
      docker_daemon: { "log-driver": "local" },
    };
    const play = () => ansible("ansible-playbook", ["bramble.cluster.docker", "-e", JSON.stringify(wanted)]);
    // Host name, folder, daemon.json, the service and its restart.
    expect(play()).toMatch(/^node1 +: ok=\d+ +changed=5 +unreachable=0 +failed=0 /m);
    expect(play()).toMatch(/^node1 +: ok=\d+ +changed=0 +unreachable=0 +failed=0 /m);
    expect(cluster.ssh("node1", "hostname; systemctl is-active docker; systemctl is-enabled docker")).toBe(
      "renamed\nactive\nenabled",
    );
    const settings: unknown = JSON.parse(cluster.ssh("node1", "cat /etc/docker/daemon.json"));
    expect(settings).toEqual({ "log-driver": "local", "userns-remap": "default" });
  });
});
