import { describe, expect, it } from "vitest";
import { parseManifest } from "../../cluster/manifest.ts";
import { inventoryOf } from "../inventory.ts";
import { explainFailure, isAnsibleNewEnough, parseAnsibleVersion } from "./explain.ts";
import { configurationPlaybook, inventoryFile } from "./playbook.ts";
import { AnsibleProgress, parseAnsibleEvent } from "./progress.ts";

/** What the callback plugin wrote with ansible-core 2.14: nodes a, b and c; b fails, c cannot be reached, one failure is allowed. */
const RECORDED = `{"name": "One", "event": "play"}
{"name": "Say", "role": null, "event": "task"}
{"node": "a", "state": "changed", "task": "Say", "message": null, "event": "result"}
{"node": "b", "state": "changed", "task": "Say", "message": null, "event": "result"}
{"node": "c", "state": "unreachable", "task": "Say", "message": "Failed to connect to the host via ssh: ssh: connect to host 127.0.0.9 port 22: Connection refused", "event": "result"}
{"name": "Loop", "role": null, "event": "task"}
{"node": "a", "state": "skipped", "task": "Loop", "message": null, "event": "result"}
{"node": "b", "state": "ignored", "task": "Loop", "message": "non-zero return code", "event": "result"}
{"name": "Hidden", "role": null, "event": "task"}
{"node": "a", "state": "skipped", "task": "Hidden", "message": null, "event": "result"}
{"node": "b", "state": "failed", "task": "Hidden", "message": "what it said is hidden (no_log)", "event": "result"}
{"name": "none", "event": "play"}
{"event": "no-nodes"}
{"name": "bramble: done", "event": "play"}
{"name": "bramble: done", "role": null, "event": "task"}
{"node": "a", "state": "ok", "task": "bramble: done", "message": null, "event": "result"}
{"nodes": {"a": {"ok": 2, "failures": 0, "unreachable": 0, "changed": 1, "skipped": 2, "rescued": 0, "ignored": 0}, "b": {"ok": 2, "failures": 1, "unreachable": 0, "changed": 2, "skipped": 0, "rescued": 0, "ignored": 1}, "c": {"ok": 0, "failures": 0, "unreachable": 1, "changed": 0, "skipped": 0, "rescued": 0, "ignored": 0}}, "event": "end"}`.split(
  "\n",
);

function fold(lines: readonly string[]) {
  const progress = new AnsibleProgress();
  const shown = lines.map((line) => progress.take(parseAnsibleEvent(line)!));
  return { progress, shown };
}

describe("the outcome of a run", () => {
  it("is of each node: done with all, failed at a task, not reached", () => {
    expect(fold(RECORDED).progress.outcomes(["a", "b", "c"], "")).toEqual([
      { node: "a", result: "configured", ok: 1, changed: 1, skipped: 2 },
      {
        node: "b",
        result: "failed",
        ok: 2,
        changed: 2,
        skipped: 0,
        task: "Hidden",
        message: "what it said is hidden (no_log)",
      },
      {
        node: "c",
        result: "unreachable",
        ok: 0,
        changed: 0,
        skipped: 0,
        task: "Say",
        message: "Failed to connect to the host via ssh: ssh: connect to host 127.0.0.9 port 22: Connection refused",
      },
    ]);
  });

  it("does not show the play that tells it", () => {
    expect(
      fold(RECORDED)
        .shown.map((shown, index) => (shown ? -1 : index))
        .filter((index) => index >= 0),
    ).toEqual([13, 14, 15, 16]);
  });

  it("is a failure of nodes that the run did not get to, since others failed", () => {
    const lines = RECORDED.filter((line) => !line.includes("bramble: done"));
    expect(fold(lines).progress.outcomes(["a"], "")[0]).toMatchObject({
      result: "failed",
      message: "the run ended before it was this node's turn, since c, b failed",
    });
  });

  it.each([
    ["ERROR! the role 'nosuch' was not found in x", "the role 'nosuch' was not found in x"],
    ["", "ansible-playbook ended early, without a word"],
  ])("is a failure of all nodes when Ansible ends with %j", (said, message) => {
    expect(fold([]).progress.outcomes(["a"], said)).toMatchObject([{ node: "a", result: "failed", message }]);
  });
});

it.each(["", "{", "null", "[]", '{"event": "other"}', '{"event": "pla'])(
  "a line that is no event is left out: %j",
  (line) => {
    expect(parseAnsibleEvent(line)).toBe(undefined);
  },
);

describe("what Ansible says", () => {
  it.each([
    ["/bin/sh: 1: /usr/bin/python3: not found\nThe module failed to execute correctly", /^the node has no Python 3/],
    ["No python interpreters found for host node1", /^the node has no Python 3/],
    ["Missing sudo password", /^the user of the node may not become root/],
    ["/bin/sh: 1: sudo: not found", /^the node has no sudo/],
    ["Failed to connect to the host via ssh: Host key verification failed.", /^another host key/],
    ["pi@10.0.0.7: Permission denied (publickey,password).", /^the node does not take the manager's key/],
    ["[WARNING]: odd\n\u001b[0;31mERROR! no\n\u001b[0m", /^no$/],
    [
      "ERROR! couldn't resolve module/action 'x'.\n\nThe error appears to be in '/m/site.yml': line 2, column 11, but may\nbe elsewhere\n- x:",
      /^couldn't resolve module\/action 'x'\. \(in \/m\/site\.yml, line 2\)$/,
    ],
    ["no, since --token SWMTKN-1-abc-def is expired", /^no, since --token \[redacted\] is expired$/],
    [`${"x".repeat(600)}`, /^x{499}…$/],
  ])("%j is told in one line", (said, told) => {
    expect(explainFailure(said)).toMatch(told);
  });

  it.each([
    ["ansible-playbook [core 2.14.18]\n  config file = None", "2.14.18", true],
    ["ansible-playbook [core 2.20.0rc1]", "2.20.0rc1", true],
    ["ansible-playbook 2.9.27", "2.9.27", false],
    ["ansible-playbook [core 2.13.1]", "2.13.1", false],
    ["ansible-playbook [core 3.0.0]", "3.0.0", true],
  ])("%j is a version", (said, version, isNew) => {
    expect([parseAnsibleVersion(said), isAnsibleNewEnough(version)]).toEqual([version, isNew]);
  });

  it("may be no version", () => {
    expect(parseAnsibleVersion("ERROR: Ansible requires the locale encoding to be UTF-8")).toBe(undefined);
  });
});

describe("what ansible-playbook is given", () => {
  const text =
    'cluster: attic\nimage: pi.img\nconfigure: { roles: [base], before: [/pre.yml], after: [/site.yml], variables: { x: 1 } }\nnodes: [{ name: a, mac: "dc:a6:32:00:00:01" }]\n';
  const result = parseManifest(text, { fileExists: () => true });
  if (!result.ok) throw new Error("the manifest is wrong");
  const { manifest } = result;

  it("are the user's playbooks around the roles, and a last play that tells who got there", () => {
    expect(configurationPlaybook(manifest.configure!)).toMatchObject([
      { "ansible.builtin.import_playbook": "/pre.yml" },
      { hosts: "all", become: true, roles: ["bramble.cluster.base"] },
      { "ansible.builtin.import_playbook": "/site.yml" },
      { name: "bramble: done", hosts: "all", gather_facts: false },
    ]);
    expect(configurationPlaybook({ ...manifest.configure!, roles: [], before: [] })).toHaveLength(2);
  });

  it("is an inventory with the manifest's variables", () => {
    const files = { managerKey: "/k", knownHosts: "/h" };
    const inventory = inventoryOf(manifest, [{ name: "a", stage: "up", address: "10.0.0.7" }], files);
    expect(inventoryFile(inventory, manifest.configure!.variables)).toMatchObject({
      all: { hosts: { a: { ansible_host: "10.0.0.7" } }, vars: { x: 1 }, children: { up: { hosts: { a: {} } } } },
    });
  });
});
