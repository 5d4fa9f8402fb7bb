/**
 * `bramble configure` and what the manager does by itself, with the real ansible-playbook: nodes are told to be up, and Ansible
 * works on this machine in their stead (`ansible_connection: local`). Over SSH, on a virtual Pi: `test/lab/ansible.test.ts`.
 */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ConfigureOutcome } from "../../src/manager/configuration/configurator.ts";
import { requireTools } from "../lab/required-tools.ts";
import { CLUSTER_TOOLS, LoopbackCluster } from "./loopback-cluster.ts";
import { reportUp, statusOf } from "./up-report.ts";

const REMOTE_TMP = mkdtempSync(join(tmpdir(), "bramble-remote-"));
if (process.getuid?.() === 0) chmodSync(REMOTE_TMP, 0o777);
afterAll(() => rmSync(REMOTE_TMP, { recursive: true, force: true }));

const TIMEOUT = { timeout: 180_000 };
const NODES = [1, 2, 3].map(
  (number) => `{ name: node${number}, mac: "dc:a6:32:00:00:0${number}", address: 127.0.0.1${number} }`,
);

/** Plays that leave a file for each node below the folder `done`. */
const BEFORE = `- hosts: all
  gather_facts: false
  tasks:
    - name: Leave a file
      ansible.builtin.copy: { content: "{{ greeting }}\\n", dest: "{{ playbook_dir }}/done/{{ inventory_hostname }}", mode: "0644" }
`;
const AFTER = `- hosts: role_web
  gather_facts: false
  tasks: []
- hosts: all
  gather_facts: false
  tasks:
    - name: Want a file
      ansible.builtin.stat: { path: "{{ playbook_dir }}/broken-{{ inventory_hostname }}" }
      register: broken
    - name: Be well
      ansible.builtin.assert: { that: not broken.stat.exists, fail_msg: it is broken }
`;

function configureLine(auto: boolean, more = ""): string {
  // Nobody's home folder is nowhere.
  const local = `ansible_connection: local, ansible_python_interpreter: /usr/bin/python3, ansible_remote_tmp: ${REMOTE_TMP}`;
  return `configure: { before: [before.yml], after: [after.yml], auto: ${auto}, variables: { greeting: hello, ${local}${more} } }`;
}

async function stateOf(cluster: LoopbackCluster, node: string) {
  return (await statusOf(cluster)).nodes.find(({ name }) => name === node)?.configuration;
}

const skipped = requireTools([...CLUSTER_TOOLS, "ansible-playbook"]);

describe.skipIf(skipped)("bramble configure", () => {
  const cluster = new LoopbackCluster(NODES);

  beforeAll(async () => {
    cluster.work.write("before.yml", BEFORE);
    cluster.work.write("after.yml", AFTER);
    cluster.work.makeFolder("done");
    await cluster.start({ cluster: [configureLine(false)] });
    await reportUp(cluster, "node1", "127.0.0.11");
    await reportUp(cluster, "node2", "127.0.0.12");
  }, 180_000);
  afterAll(() => cluster.remove());

  const outcomes = async (...words: string[]) => {
    const { code, stdout, stderr } = await cluster.ask("configure", "--json", ...words);
    return { code, stderr, outcomes: JSON.parse(stdout) as ConfigureOutcome[] };
  };

  it("only tells with --check what would be changed", TIMEOUT, async () => {
    const { code, stdout } = await cluster.ask("configure", "--check", "node1");
    expect(stdout).toMatch(/^configuring node1\n[\s\S]*^ {2}Leave a file\n {4}changed: node1\n/m);
    expect(stdout).toMatch(/^NODE +RESULT +OK +WOULD CHANGE\nnode1 +checked +3 +1\n1 node checked\n$/m);
    expect([code, existsSync(cluster.work.path("done/node1"))]).toEqual([0, false]);
  });

  it(
    "does on nodes that are up what the manifest says, several at a time, and the second time changes nothing",
    TIMEOUT,
    async () => {
      const { code, stdout } = await cluster.ask("configure");
      expect(code).toBe(0);
      expect(stdout).toMatch(/^configuring node1, node2\n/);
      expect(stdout).toMatch(/^ {2}Leave a file\n {4}changed: (node1, node2|node2, node1)\n/m);
      expect(stdout).toMatch(
        /^node1 +configured +3 +1\nnode2 +configured +3 +1\nnode3 +off +not up: nothing was done\n/m,
      );
      expect(stdout).toMatch(/\n2 nodes configured, 1 off\n$/);
      expect(stdout).not.toContain("bramble: done");
      expect(cluster.work.read("done/node2")).toBe("hello\n");
      const again = await outcomes();
      expect(again.outcomes.map((each) => each.result !== "off" && each.changed)).toEqual([0, 0, false]);
      expect((await stateOf(cluster, "node1"))?.state).toBe("done");
    },
  );

  it("says of each node what went wrong, and in bramble status what to do", TIMEOUT, async () => {
    cluster.work.write("broken-node2", "");
    const { code, outcomes: told } = await outcomes("node1", "node2");
    expect(code).toBe(1);
    expect(told).toMatchObject([
      { node: "node1", result: "configured" },
      { node: "node2", result: "failed", task: "Be well", message: "it is broken" },
    ]);
    expect(await stateOf(cluster, "node2")).toEqual({
      state: "failed",
      message: 'Cannot configure node2: task "Be well": it is broken; when that is mended: bramble configure node2',
    });
    cluster.work.removeFile("broken-node2");
    expect((await outcomes("node2")).code).toBe(0);
    expect((await stateOf(cluster, "node2"))?.state).toBe("done");
  });

  it("fails for a node that is off and was asked for", TIMEOUT, async () => {
    expect(await outcomes("node3")).toMatchObject({ code: 1, outcomes: [{ node: "node3", result: "off" }] });
  });

  it("tells what is wrong with a playbook", TIMEOUT, async () => {
    cluster.work.write("after.yml", "- hosts: all\n  tasks: [{ nosuch: {} }]\n");
    const { code, outcomes: told } = await outcomes("node1");
    cluster.work.write("after.yml", AFTER);
    expect([code, told[0]]).toMatchObject([
      1,
      {
        result: "failed",
        message: expect.stringMatching(/^couldn't resolve module\/action 'nosuch'.*\(in .*after\.yml, line 2\)$/),
      },
    ]);
  });

  it("ends the run when who asked for it goes away", TIMEOUT, async () => {
    const waiting =
      "- hosts: all\n  gather_facts: false\n  tasks: [{ name: Wait, ansible.builtin.command: sleep 300 }]\n";
    cluster.work.write("after.yml", waiting);
    const asked = cluster.run("configure", "node1");
    await asked.waitFor(/^ {2}Wait$/m);
    await asked.stop();
    cluster.work.write("after.yml", AFTER);
    expect((await outcomes("node1")).code).toBe(0);
  });

  it("refuses nodes that there are not", TIMEOUT, async () => {
    expect(await cluster.ask("configure", "node9")).toMatchObject({
      code: 1,
      stderr: "bramble: Cannot configure node9: the manifest has no node of that name\n",
    });
  });
});

describe.skipIf(skipped)("a manager with configure: { auto: true }", () => {
  const cluster = new LoopbackCluster([...NODES.slice(0, 2), NODES[2]!.replace("}", ", root: ephemeral }")]);
  const runs = () => cluster.manager.stdout.match(/conf {2}configured/g)?.length ?? 0;
  const configured = (node: string) => cluster.manager.waitFor(new RegExp(`${node} +conf +configured: 1 task changed`));

  beforeAll(async () => {
    cluster.work.write("before.yml", BEFORE.replace("\\n", " {{ now() }}"));
    cluster.work.write("after.yml", AFTER);
    cluster.work.makeFolder("done");
    await cluster.start({ cluster: [configureLine(true)] });
  }, 180_000);
  afterAll(() => cluster.remove());

  it("configures a node that comes up, once", TIMEOUT, async () => {
    await reportUp(cluster, "node1", "127.0.0.11");
    await configured("node1");
    expect(await stateOf(cluster, "node1")).toEqual({ state: "done" });
  });

  it("remembers over a restart what is done, and does what is not", TIMEOUT, async () => {
    await cluster.manager.stop();
    cluster.work.write("broken-node2", "");
    await cluster.startManager();
    await reportUp(cluster, "node2", "127.0.0.12");
    await cluster.manager.waitFor(
      /node2 +conf +Cannot configure node2: task "Be well": it is broken; it is tried again in 1 min, or now by bramble configure node2/,
    );
    expect([await stateOf(cluster, "node1"), runs()]).toEqual([{ state: "done" }, 0]);
    cluster.work.removeFile("broken-node2");
  });

  it("does it again at each boot of an ephemeral node, and not of one that keeps its files", TIMEOUT, async () => {
    const boot = (number: number) => `7a1fc2f0-9d5f-4f0b-8f7c-0c4ce4e0c10${number}`;
    await reportUp(cluster, "node3", "127.0.0.13", boot(1));
    await configured("node3");
    await reportUp(cluster, "node1", "127.0.0.11", boot(2));
    await reportUp(cluster, "node3", "127.0.0.13", boot(3));
    await expect.poll(runs, { timeout: 30_000 }).toBe(2);
    expect(cluster.manager.stdout).not.toMatch(/node1 +conf/);
  });

  it("waits for a playbook that a killed manager began, and removes what that run left", TIMEOUT, async () => {
    const lingering =
      "- hosts: all\n  gather_facts: false\n  tasks: [{ name: Linger, ansible.builtin.command: sleep 12 }]\n";
    const foldersLeft = () => readdirSync(tmpdir()).filter((name) => name.startsWith("bramble-ansible-"));
    const before = foldersLeft();
    cluster.work.write("after.yml", lingering);
    const asked = cluster.run("configure", "node1");
    await asked.waitFor(/^ {2}Linger$/m);
    const left = foldersLeft().filter((name) => !before.includes(name));
    expect(left).toHaveLength(1);
    cluster.manager.child.kill("SIGKILL");
    await asked.stop();
    await cluster.startManager();
    cluster.work.write("after.yml", AFTER);
    const said = async () => (await cluster.ask("configure", "node1")).stdout;
    expect(await said()).toContain("a run that an earlier manager began has not ended yet");
    await expect.poll(said, { timeout: 60_000 }).toMatch(/^node1 +configured/m);
    expect(foldersLeft()).not.toContain(left[0]);
  });

  it.each([
    ["is not installed", undefined, "ansible-playbook is not installed on the manager; apt install ansible-core"],
    [
      "is too old",
      "ansible-playbook 2.9.27",
      "ansible-playbook is of version 2.9.27, and 2.14 is the oldest that will do",
    ],
  ])("says so for each node when Ansible %s", TIMEOUT, async (_, says, message) => {
    const bin = cluster.work.path(says === undefined ? "none" : "old");
    mkdirSync(bin);
    const setpriv = spawnSync("sh", ["-c", "command -v setpriv"], { encoding: "utf8" }).stdout.trim();
    symlinkSync(setpriv, join(bin, "setpriv"));
    if (says !== undefined)
      writeFileSync(join(bin, "ansible-playbook"), `#!/bin/sh\necho "${says}"\n`, { mode: 0o755 });
    await cluster.restartManager({ PATH: bin });
    const { code, stdout } = await cluster.ask("configure", "node1");
    expect([code, stdout]).toEqual([
      1,
      expect.stringMatching(new RegExp(`^node1 +failed +0 +0 +Cannot run Ansible: ${message}$`, "m")),
    ]);
  });
});
