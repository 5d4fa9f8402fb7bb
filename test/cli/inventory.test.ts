/** `bramble inventory` and the collection, read by the real Ansible. Over SSH, on a node: `test/lab/ansible.test.ts`. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { COLLECTION_ROLES } from "../../src/cluster/manifest-configure.ts";
import { requireTools } from "../lab/required-tools.ts";
import { Workplace } from "./command-line.ts";
import { CLUSTER_TOOLS, LoopbackCluster } from "./loopback-cluster.ts";
import { reportUp } from "./up-report.ts";

const CHECKOUT = resolve(import.meta.dirname, "../..");
const COLLECTIONS = join(CHECKOUT, "ansible");
const PLAYBOOKS = join(COLLECTIONS, "ansible_collections/bramble/cluster/playbooks");

const MANIFEST = `cluster: attic
network: { address: 127.0.0.1 }
image: os.img
stateDir: my state
access: { user: admin }
orchestrator: { kind: swarm, managers: [node1] }
configure: { roles: [base], variables: { base_packages: [htop] } }
nodes:
  - { name: node1, mac: "dc:a6:32:00:00:01", address: 127.0.0.11, model: 3b+ }
  - { name: node2, serial: 91cdf03d, role: web front }
  - { name: node3, mac: "dc:a6:32:00:00:03" }
`;

interface Listed {
  _meta: { hostvars: Record<string, Record<string, unknown>> };
  [group: string]: unknown;
}

const work = new Workplace();

beforeAll(() => {
  work.write("os.img", "");
  work.write("bramble.yaml", MANIFEST);
  mkdirSync(work.path("my state"));
});
afterAll(() => work.remove());

function ansible(program: string, words: readonly string[]) {
  const env = { ...process.env, ANSIBLE_COLLECTIONS_PATH: COLLECTIONS, ANSIBLE_HOME: work.path("ansible") };
  return spawnSync(program, words, { cwd: work.folder, encoding: "utf8", env });
}

describe("bramble inventory", () => {
  it("lists every node without a manager, and says that nobody is known to be up", async () => {
    const { code, stdout, stderr } = await work.bramble(["inventory", "--list"]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ all: { hosts: ["node1", "node2", "node3"] }, up: { hosts: [] } });
    expect(stderr).toMatch(
      /^bramble: The group "up" is empty, and addresses are the manifest's: Cannot reach the manager: none listens on /,
    );
    expect((await work.bramble(["inventory"])).stdout).toBe(stdout);
  });

  it("has the variables of one node", async () => {
    const { code, stdout } = await work.bramble(["inventory", "--host", "node1"]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      ansible_host: "127.0.0.11",
      ansible_user: "admin",
      ansible_ssh_private_key_file: work.path("my state/secrets/id_ed25519"),
      bramble_model: "3b+",
    });
  });

  it.each([
    [
      "a node that there is not",
      ["--host", "node9"],
      1,
      /Cannot give the variables of node9: the manifest has no node/,
    ],
    ["both at once", ["--list", "--host", "node1"], 2, /'--host <node>' cannot be used with option '--list'/],
  ])("refuses %s", async (_, words, code, message) => {
    const outcome = await work.bramble(["inventory", ...words]);
    expect(outcome).toMatchObject({ code, stdout: "" });
    expect(outcome.stderr).toMatch(message);
  });
});

describe.skipIf(requireTools(CLUSTER_TOOLS))("bramble inventory beside a running manager", () => {
  const cluster = new LoopbackCluster([
    '{ name: node1, mac: "dc:a6:32:00:00:01", address: 127.0.0.11 }',
    '{ name: node2, mac: "dc:a6:32:00:00:02", address: 127.0.0.12 }',
  ]);
  beforeAll(() => cluster.start());
  afterAll(() => cluster.remove());

  it("has in the group up who has said so", async () => {
    const list = async () => {
      const { stdout, stderr } = await cluster.ask("inventory");
      expect(stderr).toBe("");
      return JSON.parse(stdout) as Listed;
    };
    expect((await list()).up).toEqual({ hosts: [] });
    await reportUp(cluster, "node1", "127.0.0.11");
    expect((await list()).up).toEqual({ hosts: ["node1"] });
  });
});

describe.skipIf(requireTools(["ansible-inventory"]))("Ansible", () => {
  beforeAll(() => {
    const bramble = `${process.execPath} ${join(CHECKOUT, "dist/cli/main.js")} --manifest ${work.path("bramble.yaml")}`;
    work.write("nodes", `#!/bin/sh\nexec ${bramble} inventory "$@"\n`);
    spawnSync("chmod", ["+x", work.path("nodes")]);
  });

  it("takes the inventory from a script of two lines, and warns of nothing in it", () => {
    const { status, stdout, stderr } = ansible("ansible-inventory", ["-i", "nodes", "--list"]);
    expect([status, stderr.match(/Invalid characters|Found both|Unable to parse/)]).toEqual([0, null]);
    const { _meta, ...groups } = JSON.parse(stdout) as Listed;
    expect(_meta.hostvars.node1).toMatchObject({ base_packages: ["htop"] });
    expect(groups).toMatchObject({
      model_3b_plus: { hosts: ["node1"] },
      role_web_front: { hosts: ["node2"] },
      orchestrator_manager: { hosts: ["node1"] },
      orchestrator_worker: { hosts: ["node2", "node3"] },
    });
    expect(Object.keys(_meta.hostvars).sort()).toEqual(["node1", "node2", "node3"]);
    expect(_meta.hostvars.node2).toMatchObject({ bramble_serial: "91cdf03d", ansible_host_key_checking: true });
  });

  it("calls ssh with the host keys of the state folder, also when its path has a space", () => {
    // What ssh makes of the options: it prints its settings, and connects to nobody.
    const { stdout } = ansible("ansible-inventory", ["-i", "nodes", "--host", "node1"]);
    const { ansible_ssh_common_args } = JSON.parse(stdout) as { ansible_ssh_common_args: string };
    const shown = spawnSync("sh", ["-c", `ssh -G ${ansible_ssh_common_args} 127.0.0.11`], { encoding: "utf8" }).stdout;
    expect(shown.split("\n")).toEqual(
      expect.arrayContaining([
        `userknownhostsfile ${work.path("my state/known_hosts")}`,
        "hostkeyalias node1",
        "stricthostkeychecking true",
      ]),
    );
  });

  it("has all roles that the manifest may name in short", () => {
    const roles = readdirSync(join(COLLECTIONS, "ansible_collections/bramble/cluster/roles"));
    // Portainer is for a cluster that is joined: a playbook of its own.
    expect(roles.filter((name) => name !== "portainer").sort()).toEqual([...COLLECTION_ROLES].sort());
  });

  it("finds no mistake in the collection's playbooks and roles", () => {
    const playbooks = readdirSync(PLAYBOOKS).map((file) => `bramble.cluster.${file.replace(".yml", "")}`);
    expect(playbooks).toContain("bramble.cluster.docker");
    const { status, stderr } = ansible("ansible-playbook", ["--syntax-check", "-i", "localhost,", ...playbooks]);
    expect([status, stderr.replace(/.*running playbook inside collection.*\n/g, "")]).toEqual([0, ""]);
  });
});
