import { describe, expect, it } from "vitest";
import { type Manifest, parseManifest } from "../cluster/manifest.ts";
import { inventoryList, inventoryOf, type KnownNode } from "./inventory.ts";
import { pinnedHostKeyOptions } from "./ssh-options.ts";

const FILES = { managerKey: "/state/secrets/id_ed25519", knownHosts: "/state/known_hosts" };

/** A manifest with these nodes and lines. */
function manifest(nodes: readonly string[], lines = ""): Manifest {
  const list = nodes.map((node, index) => `  - { mac: "dc:a6:32:00:00:0${index}", ${node} }\n`).join("");
  const text = `cluster: attic\nimage: pi.img\n${lines}\nnodes:${list ? `\n${list}` : " []\n"}`;
  const result = parseManifest(text, { fileExists: () => true });
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.manifest;
}

function groupsOf(nodes: readonly string[], lines = "", known: readonly KnownNode[] = []) {
  const { groups } = inventoryOf(manifest(nodes, lines), known, FILES);
  return Object.fromEntries(groups);
}

describe("the groups of an inventory", () => {
  it.each<[string, readonly string[], string, readonly KnownNode[], Record<string, string[]>]>([
    ["are `up` alone without nodes", [], "", [], { up: [] }],
    [
      "are by model, of those whose model is known",
      ["name: a, model: 3b+", "name: b, model: 4", "name: c, model: cm5l", "name: d"],
      "",
      [],
      { up: [], model_3b_plus: ["a"], model_4: ["b"], model_cm5l: ["c"] },
    ],
    [
      "are by the model that a node told, where the manifest has none",
      ["name: a"],
      "",
      [{ name: "a", stage: "dhcp", model: "400" }],
      { up: [], model_400: ["a"] },
    ],
    [
      "are by role, in letters that Ansible takes",
      ["name: a, role: worker", "name: b, role: web front-end", "name: c, role: worker"],
      "",
      [],
      { up: [], role_worker: ["a", "c"], role_web_front_end: ["b"] },
    ],
    [
      "are by what a node is to the orchestrator",
      ["name: a", "name: b", "name: c"],
      "orchestrator: { kind: swarm, managers: [b] }",
      [],
      { up: [], orchestrator_worker: ["a", "c"], orchestrator_manager: ["b"] },
    ],
    [
      "have the first node as manager where the manifest names none",
      ["name: a", "name: b"],
      "orchestrator: { kind: swarm }",
      [],
      { up: [], orchestrator_manager: ["a"], orchestrator_worker: ["b"] },
    ],
    ["say nothing of an orchestrator where there is none", ["name: a"], "", [], { up: [] }],
    [
      "have in `up` who is up now and answers, and nobody who is no node",
      ["name: a", "name: b", "name: c"],
      "",
      [
        { name: "a", stage: "up" },
        { name: "b", stage: "root" },
        { name: "c", stage: "up", noAnswerSinceMs: 1 },
        { name: "gone", stage: "up" },
      ],
      { up: ["a"] },
    ],
  ])("%s", (_, nodes, lines, known, expected) => {
    expect(groupsOf(nodes, lines, known)).toEqual(expected);
  });

  it("warn of roles that become one group", () => {
    const { groups, warnings } = inventoryOf(manifest(["name: a, role: a-b", "name: b, role: a_b"]), [], FILES);
    expect(groups.get("role_a_b")).toEqual(["a", "b"]);
    expect(warnings).toEqual([
      'The roles "a-b" and "a_b" are one group for Ansible, role_a_b; name them so that letters or digits differ',
    ]);
  });
});

describe("the variables of a host", () => {
  const PINNED =
    "-o 'UserKnownHostsFile=\"/state/known_hosts\"' -o GlobalKnownHostsFile=/dev/null -o HostKeyAlias=a -o StrictHostKeyChecking=yes -o UpdateHostKeys=no";
  const CONNECTION = {
    ansible_user: "pi",
    ansible_ssh_private_key_file: "/state/secrets/id_ed25519",
    ansible_ssh_common_args: PINNED,
    ansible_host_key_checking: true,
  };

  it.each<[string, string, readonly KnownNode[], object]>([
    ["are the manifest's without a manager", "name: a", [], { ...CONNECTION, bramble_mac: "dc:a6:32:00:00:00" }],
    [
      "have the manifest's address, role and model",
      "name: a, address: 10.0.0.7, role: disk, model: 4",
      [],
      {
        ...CONNECTION,
        ansible_host: "10.0.0.7",
        bramble_mac: "dc:a6:32:00:00:00",
        bramble_role: "disk",
        bramble_model: "4",
      },
    ],
    [
      "have what the manager knows better",
      "name: a, address: 10.0.0.7",
      [{ name: "a", stage: "up", address: "10.0.0.9", serial: "91cdf03d", mac: "dc:a6:32:00:00:00", model: "5" }],
      {
        ...CONNECTION,
        ansible_host: "10.0.0.9",
        bramble_mac: "dc:a6:32:00:00:00",
        bramble_serial: "91cdf03d",
        bramble_model: "5",
      },
    ],
  ])("%s", (_, node, known, expected) => {
    expect(inventoryOf(manifest([node]), known, FILES).hosts.get("a")).toEqual(expected);
  });

  it("log in as the manifest's user", () => {
    const { hosts } = inventoryOf(manifest(["name: a"], "access: { user: admin }"), [], FILES);
    expect(hosts.get("a")!.ansible_user).toBe("admin");
  });
});

it("a list has every node in `all`, also those of no group, and the variables of each", () => {
  const inventory = inventoryOf(manifest(["name: a, model: 4", "name: b"]), [{ name: "a", stage: "up" }], FILES);
  expect(inventoryList(inventory)).toEqual({
    _meta: { hostvars: Object.fromEntries(inventory.hosts) },
    all: { hosts: ["a", "b"] },
    up: { hosts: ["a"] },
    model_4: { hosts: ["a"] },
  });
});

it.each([
  ["/state/known_hosts", 'UserKnownHostsFile="/state/known_hosts"'],
  ["/my state/50%/known_hosts", 'UserKnownHostsFile="/my state/50%%/known_hosts"'],
  ['/a"b\\c/known_hosts', 'UserKnownHostsFile="/a\\"b\\\\c/known_hosts"'],
])("ssh is told of the host keys in %s as one file", (knownHosts, expected) => {
  expect(pinnedHostKeyOptions("a", { ...FILES, knownHosts })[1]).toBe(expected);
});
