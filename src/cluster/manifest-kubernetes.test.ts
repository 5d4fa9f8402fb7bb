import { describe, expect, it } from "vitest";
import { formatProblem, parseManifest } from "./manifest.ts";
import { kubernetesWarnings } from "./manifest-kubernetes.ts";

const SUM = "ab".repeat(32);
const BINARY = `binary: { source: k3s-arm64, sha256: ${SUM} }`;
const K3S = `kind: k3s, version: v1.31.4+k3s1, managers: [a], ${BINARY}`;
const LOOP = "storage: { kind: loop, size: 8GiB }";
const NODES = "{ name: a, serial: 1 }, { name: b, serial: 2 }, { name: c, serial: 3 }";

const parse = (orchestrator: string, lines = LOOP, nodes = NODES, missing: readonly string[] = []) =>
  parseManifest(`cluster: attic\nimage: pi.img\n${lines}\norchestrator: { ${orchestrator} }\nnodes: [${nodes}]\n`, {
    fileExists: (path) => !missing.includes(path),
  });

function problemsOf(...words: Parameters<typeof parse>): string[] {
  const result = parse(...words);
  return result.ok ? [] : result.problems.map((problem) => formatProblem("bramble.yaml", problem));
}

describe("orchestrator of kind k3s", () => {
  it("has its defaults", () => {
    const result = parse(K3S);
    expect(result.ok && result.manifest.orchestrator).toEqual({
      kind: "k3s",
      version: "v1.31.4+k3s1",
      managers: ["a"],
      binary: { source: "k3s-arm64", sha256: SUM },
      flannel: "vxlan",
      disable: [],
      models: {},
    });
  });

  it("takes labels and taints by model, also where the model is a number", () => {
    const result = parse(`${K3S}, models: { 3b: { taints: ["small=true:NoSchedule"] }, 4: { labels: { disk: nfs } } }`);
    expect(result.ok && result.manifest.orchestrator).toMatchObject({
      models: { "3b": { labels: {}, taints: ["small=true:NoSchedule"] }, 4: { labels: { disk: "nfs" }, taints: [] } },
    });
  });

  it.each<[string, string, string, RegExp]>([
    [
      "no version",
      `kind: k3s, managers: [a], ${BINARY}`,
      LOOP,
      /orchestrator: .*"version" is missing|version: The key "version" is missing/,
    ],
    ["a version of Kubernetes", K3S.replace("+k3s1", ""), LOOP, /version: Expected a version of k3s, as v1.31.4\+k3s1/],
    [
      "two managers",
      K3S.replace("[a]", "[a, b]"),
      LOOP,
      /managers: Expected 1 or 3 nodes .*: with 2 the loss of either/,
    ],
    ["a manager twice", K3S.replace("[a]", "[a, b, a]"), LOOP, /managers\[2\]: The node a is named twice/],
    ["no checksum", K3S.replace(/, sha256: \w+/, ""), LOOP, /binary.sha256: The key "sha256" is missing/],
    ["another part", `${K3S}, disable: [nginx]`, LOOP, /disable\[0\]: Expected one of coredns/],
    [
      "a label that Kubernetes refuses",
      `${K3S}, models: { 4: { labels: { a: "b c" } } }`,
      LOOP,
      /labels.a: Expected a label's value/,
    ],
    ["a taint without its effect", `${K3S}, models: { 4: { taints: [small] } }`, LOOP, /taints\[0\]: Expected a taint/],
    ["a model that is none", `${K3S}, models: { 7: {} }`, LOOP, /models.7: Expected a model/],
    [
      "the same network twice",
      `${K3S}, podCidr: 10.42.0.0/16, serviceCidr: 10.42.0.0/16`,
      LOOP,
      /serviceCidr: The addresses of services are those of pods/,
    ],
    ["no storage", K3S, "", /orchestrator: k3s needs storage: overlayfs.*Add storage/],
    [
      "an ephemeral control plane",
      K3S,
      `${LOOP}\nroot: ephemeral`,
      /managers\[0\]: a would manage the cluster, and forget/,
    ],
  ])("%s is refused", (_, orchestrator, lines, expected) => {
    const problems = problemsOf(orchestrator, lines);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(expected);
  });

  it("refuses a node without storage of its own", () => {
    expect(problemsOf(K3S, LOOP, `{ name: a, serial: 1 }, { name: b, serial: 2, storage: { kind: none } }`)).toEqual([
      "bramble.yaml:5:64: nodes[1].storage: b: k3s needs storage: overlayfs, which its containers are made of, does not work on a root over NFS. Add storage: { kind: loop, size: 8GiB }",
    ]);
  });

  it("refuses a file that is not there", () => {
    expect(problemsOf(K3S, LOOP, NODES, ["k3s-arm64"])[0]).toMatch(
      /orchestrator.binary.source: The file k3s-arm64 is not/,
    );
  });

  it("lets workers be ephemeral", () => {
    expect(problemsOf(K3S, LOOP, "{ name: a, serial: 1 }, { name: b, serial: 2, root: ephemeral }")).toEqual([]);
  });
});

describe("orchestrator of kind kubeadm", () => {
  const pinned = (source: string) => `{ source: ${source}, sha256: ${SUM} }`;
  const KUBEADM = `kind: kubeadm, version: v1.31.4, managers: [a], binaries: { kubeadm: ${pinned("ka")}, kubelet: ${pinned("kl")}, kubectl: ${pinned("kc")} }, cniPlugins: ${pinned("p.tgz")}, cni: ${pinned("net.yaml")}`;

  it("is taken with all of its files", () => {
    expect(problemsOf(KUBEADM)).toEqual([]);
    expect(problemsOf(KUBEADM, LOOP, NODES, ["kl"])[0]).toMatch(/orchestrator.binaries.kubelet.source: The file kl/);
  });

  it.each([
    ["a version of k3s", KUBEADM.replace("v1.31.4", "v1.31.4+k3s1"), /version: Expected a version of Kubernetes/],
    [
      "a program missing",
      KUBEADM.replace(/kubelet: \{[^}]*\}, /, ""),
      /binaries.kubelet: The key "kubelet" is missing/,
    ],
    [
      "an endpoint with a port",
      `${KUBEADM}, endpoint: "api:6443"`,
      /endpoint: Expected a name or address without port/,
    ],
  ])("%s is refused", (_, orchestrator, expected) => {
    expect(problemsOf(orchestrator)[0]).toMatch(expected);
  });
});

it.each([
  ["a 3B+ of the control plane", K3S, "name: a, serial: 1, model: 3b+", 1],
  ["a 3B+ that is a worker", K3S, "name: b, serial: 1, model: 3b+", 0],
  ["a Pi 4 of the control plane", K3S, "name: a, serial: 1, model: 4", 0],
  ["a 3B that manages a Swarm", "kind: swarm, managers: [a]", "name: a, serial: 1, model: 3b", 0],
])("%s is warned of as it should be", (_, orchestrator, node, expected) => {
  const other = node.startsWith("name: a") ? "name: b" : "name: a";
  const result = parse(orchestrator, LOOP, `{ ${node} }, { ${other}, serial: 2 }`);
  expect(result.ok && kubernetesWarnings(result.manifest, result.manifest.nodes[0]!)).toHaveLength(expected);
});
