import { describe, expect, it } from "vitest";
import { type Manifest, parseManifest } from "../cluster/manifest.ts";
import type { NodeStatus } from "../cluster/status.ts";
import {
  configurationDueMs,
  configurationFingerprint,
  configurationOf,
  configurationRetryMs,
  configurationView,
  mayJoin,
} from "./configuration.ts";

const UP_MS = 1_000_000;
const NOW_MS = UP_MS + 60_000;

function manifest(lines = "configure: { roles: [base] }", node = "name: a"): Manifest {
  const text = `cluster: attic\nimage: pi.img\n${lines}\nnodes: [{ mac: "dc:a6:32:00:00:01", ${node} }]\n`;
  const result = parseManifest(text, { fileExists: () => true });
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.manifest;
}

const fingerprintOf = (of: Manifest) => configurationFingerprint(of, of.nodes[0]!);

/** A node that is up, in the boot `now`. */
function up(more: Partial<NodeStatus> = {}): NodeStatus {
  const boot = {
    startedMs: 0,
    reachedMs: {},
    transfers: [],
    sentBytes: 0,
    retransmits: 0,
    dhcpAttempts: 0,
    bootId: "now",
  };
  return { node: "a", stage: "up", stageSinceMs: UP_MS, lastSeenMs: UP_MS, bootsCompleted: 1, boot, ...more };
}

function configured(of: Manifest, bootId = "now") {
  return { unixMs: UP_MS, fingerprint: fingerprintOf(of), bootId };
}

describe("the settings of a node", () => {
  const base = fingerprintOf(manifest());
  it.each([
    ["another role", manifest("configure: { roles: [base, docker] }"), false],
    ["another variable", manifest("configure: { roles: [base], variables: { x: 1 } }"), false],
    ["a playbook", manifest("configure: { roles: [base], after: [site.yml] }"), false],
    ["another image", manifest("configure: { roles: [base] }", "name: a, image: other.img"), false],
    ["a role of the node, which is a group", manifest("configure: { roles: [base] }", "name: a, role: web"), false],
    [
      "becoming a manager",
      manifest("configure: { roles: [base] }\norchestrator: { kind: swarm, managers: [a] }"),
      false,
    ],
    ["another user", manifest("configure: { roles: [base] }\naccess: { user: admin }"), false],
    ["when it is done", manifest("configure: { roles: [base], auto: false }"), true],
    ["another address", manifest("configure: { roles: [base] }", "name: a, address: 10.0.0.7"), true],
  ])("with %s: the same as before is %s", (_, other, same) => {
    expect(fingerprintOf(other) === base).toBe(same);
  });
});

describe("a node", () => {
  const wanted = manifest();
  const ephemeral = manifest("configure: { roles: [base] }\nroot: ephemeral");
  const failed = (attempts: number, of = wanted, bootId = "now", unixMs = UP_MS) => ({
    ...configured(of, bootId),
    unixMs,
    message: "no",
    attempts,
  });

  it.each<[string, Manifest, NodeStatus | undefined, number | undefined]>([
    ["that has come up: a moment later, with others", wanted, up(), UP_MS + 5000],
    ["that is not up: not", wanted, up({ stage: "root" }), undefined],
    ["that was never seen: not", wanted, undefined, undefined],
    ["where nothing is to be done: not", manifest(""), up(), undefined],
    ["that is configured by hand: not", manifest("configure: { roles: [base], auto: false }"), up(), undefined],
    ["that is configured: not", wanted, up({ configured: configured(wanted) }), undefined],
    [
      "that was configured in an earlier boot, and keeps its files: not",
      wanted,
      up({ configured: configured(wanted, "old") }),
      undefined,
    ],
    [
      "that was configured, and forgot: again",
      ephemeral,
      up({ configured: configured(ephemeral, "old") }),
      UP_MS + 5000,
    ],
    [
      "that was configured with other settings: again",
      wanted,
      up({ configured: { ...configured(wanted), fingerprint: "other" } }),
      UP_MS + 5000,
    ],
    ["that failed once: a minute later", wanted, up({ configureFailed: failed(1) }), UP_MS + 60_000],
    ["that failed three times: four minutes later", wanted, up({ configureFailed: failed(3) }), UP_MS + 240_000],
    [
      "that failed in an earlier boot: a moment later",
      wanted,
      up({ configureFailed: failed(9, wanted, "old") }),
      UP_MS + 5000,
    ],
    [
      "that failed with other settings: a moment later",
      wanted,
      up({ configureFailed: { ...failed(9), fingerprint: "x" } }),
      UP_MS + 5000,
    ],
    [
      "that failed in the future, for the clock was put back: now",
      wanted,
      up({ configureFailed: failed(1, wanted, "now", NOW_MS + 1) }),
      NOW_MS,
    ],
  ])("%s", (_, of, status, dueMs) => {
    expect(configurationDueMs(of, of.nodes[0]!, status, NOW_MS)).toBe(dueMs);
  });

  it.each<[string, Manifest, NodeStatus | undefined, boolean]>([
    ["may join without configure", manifest(""), up(), true],
    ["may join when somebody configures it by hand", manifest("configure: { roles: [base], auto: false }"), up(), true],
    ["may not join before it is configured", wanted, up(), false],
    ["may join when it is", wanted, up({ configured: configured(wanted) }), true],
    ["may not join when it forgot", ephemeral, up({ configured: configured(ephemeral, "old") }), false],
  ])("%s", (_, of, status, may) => {
    expect(mayJoin(of, of.nodes[0]!, status)).toBe(may);
  });

  it.each<[string, NodeStatus, string | undefined, string | undefined]>([
    ["off the network", up({ stage: "silent" }), undefined, undefined],
    ["that waits", up(), undefined, "waiting"],
    ["that Ansible works on", up(), "Install packages", "running"],
    [
      "that failed in this boot, though it was configured before",
      up({ configured: configured(wanted), configureFailed: failed(1) }),
      undefined,
      "failed",
    ],
    [
      "that failed in an earlier boot",
      up({ configured: configured(wanted), configureFailed: failed(1, wanted, "old") }),
      undefined,
      "done",
    ],
  ])("%s is shown as such", (_, status, task, state) => {
    expect(configurationView(wanted, wanted.nodes[0]!, status, task)?.state).toBe(state);
  });
});

it("failures in a row are waited for longer and longer, up to an hour", () => {
  expect([1, 2, 3, 7, 1000].map((attempts) => configurationRetryMs(attempts) / 60_000)).toEqual([1, 2, 4, 60, 60]);
});

describe("a cluster of Kubernetes", () => {
  const SUM = "ab".repeat(32);
  const K3S = `storage: { kind: loop, size: 8GiB }\norchestrator: { kind: k3s, version: v1.31.4+k3s1, binary: { source: k3s, sha256: ${SUM} } }`;

  it("has its role run without a word about it, after those that are named", () => {
    const variables = { k3s_version: "v1.31.4+k3s1", k3s_binary_source: "/x/k3s", k3s_binary_sha256: SUM };
    const resolve = (path: string) => `/x/${path}`;
    expect(configurationOf(manifest(K3S), resolve)).toEqual({
      roles: ["bramble.cluster.k3s"],
      variables,
      before: [],
      after: [],
      auto: true,
    });
    const named = manifest(`${K3S}\nconfigure: { roles: [base], variables: { k3s_packages: [] }, before: [pre.yml] }`);
    expect(configurationOf(named, resolve)).toEqual({
      roles: ["bramble.cluster.base", "bramble.cluster.k3s"],
      variables: { ...variables, k3s_packages: [] },
      before: ["/x/pre.yml"],
      after: [],
      auto: true,
    });
    expect(configurationOf(manifest("orchestrator: { kind: swarm }"))).toBeUndefined();
  });

  it("lets a node join only with the version that the manifest has", () => {
    const [now, then] = [manifest(K3S), manifest(K3S.replace("v1.31.4", "v1.31.3"))];
    const node = now.nodes[0]!;
    expect(mayJoin(now, node, up())).toBe(false);
    expect(mayJoin(now, node, up({ configured: configured(now) }))).toBe(true);
    expect(mayJoin(now, node, up({ configured: configured(then) }))).toBe(false);
  });
});
