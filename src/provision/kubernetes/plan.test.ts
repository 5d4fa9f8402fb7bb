import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DesiredCluster, DesiredMember, NextSteps } from "../orchestrator.ts";
import { expectKubernetes } from "./expect.ts";
import { nodeMarks } from "./marks.ts";
import type { ClusterNode, LocalState, ObservedKubernetes } from "./observed.ts";
import { planKubernetes } from "./plan.ts";
import { compareVersions, skewOf } from "./plan-upgrade.ts";
import type { KubernetesSettings } from "./settings.ts";
import type { KubernetesStep } from "./steps.ts";

const VERSION = "v1.31.4+k3s1";
const OLDER = "v1.30.8+k3s1";
const SETTINGS: KubernetesSettings = {
  what: "k3s",
  cluster: "attic",
  version: VERSION,
  models: { "3b": { labels: { small: "yes" }, taints: ["small=yes:NoSchedule"] } },
  isShared: true,
};

function member(name: string, role: "manager" | "worker", more: Partial<DesiredMember> = {}): DesiredMember {
  return { name, role, wish: "in", facts: {}, isReady: true, wasTried: false, hasJoined: false, ...more };
}

function cluster(...members: DesiredMember[]): DesiredCluster {
  return { name: "attic", members };
}

const EMPTY: LocalState = {
  bootId: "boot1",
  identity: "none",
  isActive: false,
  isHealthy: false,
  isShared: false,
  versions: [VERSION],
  isConfigured: false,
};
const SERVER: LocalState = {
  ...EMPTY,
  identity: "server",
  isActive: true,
  isHealthy: true,
  isShared: true,
  isConfigured: true,
  clusterId: "id",
  current: VERSION,
};
const AGENT: LocalState = { ...EMPTY, identity: "agent", isActive: true, isConfigured: true, current: VERSION };

function node(name: string, more: Partial<ClusterNode> = {}): ClusterNode {
  const labels = nodeMarks(SETTINGS, member(name, "worker")).labels;
  return {
    name,
    isControlPlane: false,
    isReady: true,
    isCordoned: false,
    version: VERSION,
    bootId: "boot1",
    checkedBootId: "boot1",
    labels,
    taints: [],
    ...more,
  };
}

const server = (name: string, more: Partial<ClusterNode> = {}) => node(name, { isControlPlane: true, ...more });
const view = (...nodes: ClusterNode[]) => ({ through: nodes[0]!.name, id: "id", nodes });

const plan = (desired: DesiredCluster, observed: ObservedKubernetes, settings = SETTINGS) =>
  planKubernetes(settings, desired, observed);

function shown({ steps, problems, waiting, joined }: NextSteps<KubernetesStep>) {
  return {
    steps: steps.map(({ kind, node: name }) => `${kind} ${name}`),
    problems: problems.map(({ cause, node: name }) => `${cause} ${name}`),
    waiting,
    joined,
  };
}

const ONE = cluster(member("a", "manager"), member("b", "worker"), member("c", "worker"));
const THREE = cluster(member("a", "manager"), member("b", "manager"), member("c", "manager"), member("d", "worker"));

describe("the first steps", () => {
  it.each<[string, DesiredCluster, Record<string, LocalState>, Partial<ReturnType<typeof shown>>]>([
    [
      "make the cluster on the first of the control plane",
      THREE,
      { a: EMPTY, b: EMPTY, d: EMPTY },
      { steps: ["init a"] },
    ],
    ["wait for the first of the control plane", ONE, { b: EMPTY }, { waiting: ["a, the first of the control plane"] }],
    ["need the program", ONE, { a: { ...EMPTY, versions: [] } }, { problems: ["missing a"] }],
    [
      "say what stands in the way of a node",
      ONE,
      { a: { ...EMPTY, obstacle: "cgroup" }, b: { ...EMPTY, obstacle: "storage" } },
      { problems: ["cgroup a", "storage b"] },
    ],
    ["remove what the first node holds of another role", ONE, { a: AGENT }, { steps: ["reset a"] }],
    [
      "make no second cluster while one that was a member is off",
      cluster(member("a", "manager"), member("b", "manager", { hasJoined: true }), member("c", "manager")),
      { a: EMPTY, c: EMPTY },
      { problems: ["control-plane-off b"] },
    ],
    [
      "make no second cluster where another node holds one",
      THREE,
      { a: EMPTY, b: { ...SERVER, isHealthy: false, isActive: false } },
      { steps: ["start b"] },
    ],
    [
      "wait for a control plane that starts",
      ONE,
      { a: { ...SERVER, isHealthy: false } },
      { waiting: ["the control plane to answer"] },
    ],
    [
      "say that the quorum is lost",
      cluster(...THREE.members.map((each) => ({ ...each, hasJoined: true }))),
      { a: { ...SERVER, isHealthy: false } },
      { problems: ["quorum-lost b"] },
    ],
  ])("%s", (_, desired, local, expected) => {
    expect(shown(plan(desired, { local }))).toEqual({ steps: [], problems: [], waiting: [], joined: [], ...expected });
  });
});

it("a member that is in no cluster any more is lost, the last one, too", () => {
  const out = { wish: "out", wasTried: true } as const;
  const all = cluster(member("a", "manager", out), member("b", "worker", out));
  expect(plan(all, { local: { a: EMPTY, b: AGENT } }).lost.map(({ node }) => node)).toEqual(["a"]);
});

describe("a cluster that answers", () => {
  const local = { a: SERVER, b: EMPTY, c: EMPTY };
  it.each<[string, DesiredCluster, ObservedKubernetes, Partial<ReturnType<typeof shown>>]>([
    [
      "takes all workers at once",
      ONE,
      { local, cluster: view(server("a")) },
      { steps: ["join-agent b", "join-agent c"], joined: ["a"] },
    ],
    [
      "takes one of the control plane, and no worker meanwhile",
      THREE,
      { local: { ...local, d: EMPTY }, cluster: view(server("a")) },
      { steps: ["join-server b"], joined: ["a"] },
    ],
    [
      "takes no further one of the control plane while another is not Ready",
      THREE,
      { local: { a: SERVER, b: SERVER, c: EMPTY }, cluster: view(server("a"), server("b", { isReady: false })) },
      { waiting: ["b to be Ready, before c joins the control plane", "b to be Ready"], joined: ["a"] },
    ],
    [
      "gets a database that can be shared first",
      THREE,
      { local: { a: { ...SERVER, isShared: false, isConfigured: false }, b: EMPTY }, cluster: view(server("a")) },
      { waiting: ["the database of a to be one that others can share"], steps: ["start a"], joined: ["a"] },
    ],
    [
      "does not move to another node by itself",
      cluster(member("b", "manager"), member("a", "worker")),
      { local: { a: { ...SERVER, isShared: false }, b: EMPTY }, cluster: view(server("a")) },
      { problems: ["quorum-needed a", "control-plane-moved b"], joined: ["a"] },
    ],
    [
      "forgets a node that lost what it held, as each ephemeral one does",
      ONE,
      { local, cluster: view(server("a"), node("b"), node("c", { isReady: false })) },
      { steps: ["delete a"], joined: ["a", "b"] },
    ],
    [
      "forgets a node of ours that left the manifest and is down",
      cluster(member("a", "manager")),
      {
        local: { a: SERVER },
        cluster: view(server("a"), node("x", { isReady: false }), node("y"), node("z", { isReady: false, labels: {} })),
      },
      { steps: ["delete a"], joined: ["a"] },
    ],
    [
      "starts what stands still",
      ONE,
      {
        local: { a: SERVER, b: { ...AGENT, isActive: false } },
        cluster: view(server("a"), node("b", { isReady: false })),
      },
      { steps: ["start b"], joined: ["a"] },
    ],
    [
      "empties a node whose certificates it does not know",
      ONE,
      { local: { a: SERVER, b: AGENT }, cluster: view(server("a")) },
      { steps: ["reset b"], joined: ["a"] },
    ],
    [
      "drains one that its owner wants out",
      cluster(member("a", "manager"), member("b", "worker", { wish: "out" })),
      { local: { a: SERVER, b: AGENT }, cluster: view(server("a"), node("b")) },
      { steps: ["drain b"], joined: ["a"] },
    ],
    [
      "forgets it after that",
      cluster(member("a", "manager"), member("b", "worker", { wish: "out" })),
      {
        local: { a: SERVER, b: AGENT },
        cluster: view(server("a"), node("b", { drainReason: "leave", isCordoned: true })),
      },
      { steps: ["delete a"], joined: ["a"] },
    ],
    [
      "leaves one alone that is out",
      cluster(member("a", "manager"), member("b", "worker", { wish: "out" })),
      { local: { a: SERVER, b: EMPTY }, cluster: view(server("a")) },
      { joined: ["a"] },
    ],
    [
      "drains and fills as its owner wishes",
      cluster(member("a", "manager"), member("b", "worker", { wish: "drained" }), member("c", "worker")),
      {
        local: { a: SERVER, b: AGENT, c: AGENT },
        cluster: view(server("a"), node("b"), node("c", { drainReason: "owner", isCordoned: true })),
      },
      { steps: ["drain b", "uncordon c"], joined: ["a", "b", "c"] },
    ],
    [
      "labels by model, and tries work after each boot",
      cluster(member("a", "manager"), member("b", "worker", { facts: { model: "3b" } }), member("c", "worker")),
      {
        local: { a: SERVER, b: AGENT, c: AGENT },
        cluster: view(server("a"), node("b"), node("c", { bootId: "boot2" })),
      },
      { steps: ["mark a", "check c"], joined: ["a"] },
    ],
    [
      "is two where another node of the control plane has its own",
      THREE,
      { local: { a: SERVER, b: { ...SERVER, clusterId: "other" } }, cluster: view(server("a")) },
      { problems: ["two-clusters b"], steps: [], joined: ["a"] },
    ],
  ])("%s", (_, desired, observed, expected) => {
    const found = shown(plan(desired, observed));
    expect(found).toEqual({ steps: [], problems: [], waiting: [], joined: [], ...expected });
  });
});

describe("an upgrade", () => {
  const BOTH = [OLDER, VERSION];
  const old = { version: OLDER };
  const local = { a: { ...SERVER, versions: BOTH }, b: { ...AGENT, versions: BOTH }, c: { ...AGENT, versions: BOTH } };

  it("goes from the control plane to the workers, each without its work meanwhile", () => {
    let observed: ObservedKubernetes = { local, cluster: view(server("a", old), node("b", old), node("c", old)) };
    const done: string[] = [];
    for (let round = 0; round < 20; round++) {
      const { steps } = plan(ONE, observed);
      if (steps.length === 0) break;
      for (const step of steps) {
        done.push(`${step.kind} ${step.node}`);
        observed = expectKubernetes(SETTINGS, observed, step);
      }
    }
    expect(done).toEqual(["a", "b", "c"].flatMap((name) => [`drain ${name}`, `upgrade ${name}`, `uncordon ${name}`]));
  });

  it.each<[string, string, Partial<LocalState>, string[], string[]]>([
    ["needs the new version on the node", OLDER, { versions: [OLDER] }, ["missing a"], []],
    ["goes one minor version at a time", "v1.29.1+k3s1", { versions: BOTH }, ["version-skew a"], []],
    ["never goes down", "v1.31.5+k3s1", { versions: BOTH }, ["version-skew a"], []],
    ["begins with a drain", "v1.31.3+k3s1", { versions: BOTH }, [], ["drain a"]],
  ])("%s", (_, version, state, problems, steps) => {
    const observed = { local: { ...local, a: { ...SERVER, ...state } }, cluster: view(server("a", { version })) };
    const found = shown(plan(cluster(member("a", "manager")), observed));
    expect([found.problems, found.steps]).toEqual([problems, steps]);
  });

  it("waits while another one of the control plane is not Ready", () => {
    const observed = {
      local: { a: { ...SERVER, versions: BOTH }, b: { ...SERVER, versions: BOTH }, c: { ...SERVER, versions: BOTH } },
      cluster: view(server("a", old), server("b", { ...old, isReady: false }), server("c", old)),
    };
    expect(shown(plan(THREE, observed)).waiting).toContain(`b to be Ready, before a gets ${VERSION}`);
  });
});

describe("versions", () => {
  it.each([
    ["v1.31.4+k3s1", "v1.31.4+k3s1", 0],
    ["v1.31.10", "v1.31.9", 1],
    ["v1.9.0", "v1.10.0", -1],
    ["v1.31.4+k3s1", "v1.31.4+k3s2", -1],
  ])("%s beside %s", (a, b, sign) => expect(Math.sign(compareVersions(a, b))).toBe(sign));

  it.each([
    ["v1.30.1", "v1.31.0", true],
    ["v1.29.1", "v1.31.0", false],
    ["v1.31.1", "v1.31.0", false],
    ["v1.31.1", "v1.31.1", true],
  ])("from %s to %s", (from, to, isPossible) => expect(skewOf(from, to) === undefined).toBe(isPossible));
});

describe("from any state that was observed", () => {
  const NAMES = ["a", "b", "c", "d", "e"];
  const state = fc.constantFrom<LocalState["identity"]>("none", "server", "agent");

  /** What nodes can really be found in: a cluster is there where a member of the control plane is healthy. */
  const situations = fc
    .record({
      managers: fc.constantFrom(1, 3),
      size: fc.integer({ min: 1, max: 5 }),
      isOff: fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
      identities: fc.array(state, { minLength: 5, maxLength: 5 }),
      isKnown: fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
      isActive: fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
      isConfigured: fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
      versions: fc.array(fc.constantFrom(VERSION, OLDER), { minLength: 5, maxLength: 5 }),
      reasons: fc.array(fc.constantFrom(undefined, "upgrade" as const, "leave" as const, "owner" as const), {
        minLength: 5,
        maxLength: 5,
      }),
      wishes: fc.array(fc.constantFrom("in" as const, "in" as const, "drained" as const, "out" as const), {
        minLength: 5,
        maxLength: 5,
      }),
      isUp: fc.boolean(),
      stranger: fc.boolean(),
    })
    .map((r) => {
      const size = r.managers === 3 ? Math.max(3, r.size) : r.size;
      const names = NAMES.slice(0, size);
      const desired = cluster(
        ...names.map((name, i) =>
          member(name, i < r.managers ? "manager" : "worker", {
            wish: i < r.managers ? "in" : r.wishes[i]!,
            facts: { model: i % 2 === 0 ? "3b" : "4" },
          }),
        ),
      );
      const local: Record<string, LocalState> = {};
      names.forEach((name, i) => {
        const identity = i === 0 && r.isUp ? "server" : r.identities[i]!;
        local[name] = {
          ...EMPTY,
          identity,
          versions: [OLDER, VERSION],
          ...(identity !== "none" && {
            isActive: r.isActive[i]! || i === 0,
            isConfigured: r.isConfigured[i]!,
            current: r.versions[i]!,
          }),
          ...(identity === "server" && {
            isShared: r.managers === 3,
            isHealthy: r.isUp,
            ...(r.isUp && { clusterId: "id" }),
          }),
        };
      });
      if (!r.isUp) return { desired, observed: { local } };
      // At most one node is drained by us: it is what the plan keeps to.
      let ours = false;
      const nodes = names.flatMap((name, i): ClusterNode[] => {
        if (i > 0 && !r.isKnown[i]) return [];
        const isServer = local[name]!.identity === "server";
        if (isServer && r.managers === 1 && i > 0) return [];
        const reason = r.reasons[i]!;
        const drainReason = reason !== "owner" && ours ? undefined : reason;
        ours ||= drainReason === "upgrade" || drainReason === "leave";
        const base = isServer ? server(name) : node(name);
        return [
          {
            ...base,
            version: r.versions[i]!,
            isReady: local[name]!.isActive && local[name]!.identity !== "none",
            labels: {},
            ...(drainReason && { drainReason, isCordoned: true }),
          },
        ];
      });
      const strangers = r.stranger ? [node("gone", { isReady: false })] : [];
      return { desired, observed: { local, cluster: { through: "a", id: "id", nodes: [...nodes, ...strangers] } } };
    });

  /** Members of the control plane that must be Ready for it to answer. */
  const quorum = (count: number) => Math.floor(count / 2) + 1;

  function inOneRound(observed: ObservedKubernetes, steps: readonly KubernetesStep[]): void {
    const nodes = observed.cluster?.nodes ?? [];
    const servers = nodes.filter(({ isControlPlane }) => isControlPlane);
    expect(new Set(steps.map((step) => step.node)).size).toBe(steps.length);
    const disturbing = steps.filter(
      (step) =>
        ["init", "join-server", "upgrade", "delete"].includes(step.kind) ||
        (step.kind === "drain" && step.reason !== "owner"),
    );
    expect(disturbing.length).toBeLessThanOrEqual(1);
    for (const step of steps) {
      if (step.kind === "init") expect(observed.cluster).toBeUndefined();
      if (step.kind === "delete") {
        const lost = servers.filter(({ name }) => step.targets.includes(name));
        expect(lost.length).toBeLessThanOrEqual(1);
        const left = servers.filter(({ name }) => !step.targets.includes(name));
        if (lost.length > 0)
          expect(left.filter(({ isReady }) => isReady).length).toBeGreaterThanOrEqual(quorum(left.length));
        expect(step.targets).not.toContain(step.node);
      }
      if (step.kind === "upgrade" && servers.length >= 3 && servers.some(({ name }) => name === step.node)) {
        const others = servers.filter(({ name, isReady }) => name !== step.node && isReady);
        expect(others.length).toBeGreaterThanOrEqual(quorum(servers.length));
      }
      if (step.kind === "join-server") expect(servers.every(({ isReady }) => isReady)).toBe(true);
    }
    const drained = nodes.filter(({ drainReason }) => drainReason === "upgrade" || drainReason === "leave");
    expect(drained.length).toBeLessThanOrEqual(1);
  }

  it("the steps end, with all members joined or a problem said; the quorum is kept, and one node is without its work at most", () => {
    fc.assert(
      fc.property(situations, ({ desired, observed: first }) => {
        let observed: ObservedKubernetes = first;
        for (let round = 0; round < 80; round++) {
          const next = plan(desired, observed);
          inOneRound(observed, next.steps);
          if (next.steps.length === 0) {
            if (next.problems.length > 0 || next.waiting.length > 0) return;
            const wanted = desired.members.filter(({ wish }) => wish !== "out").map(({ name }) => name);
            expect([...next.joined].sort()).toEqual(wanted);
            expect(observed.cluster!.nodes.map(({ name }) => name).sort()).toEqual(wanted);
            return;
          }
          observed = next.steps.reduce((now, step) => expectKubernetes(SETTINGS, now, step), observed);
        }
        throw new Error("The steps do not end");
      }),
      { numRuns: 3000 },
    );
  });

  it("a cluster that is dissolved ends with its control plane", () => {
    fc.assert(
      fc.property(fc.constantFrom(1, 3), fc.integer({ min: 3, max: 6 }), (managers, size) => {
        const names = Array.from({ length: size }, (_, i) => `n${i}`);
        const desired = cluster(
          ...names.map((name, i) => member(name, i < managers ? "manager" : "worker", { wish: "out" })),
        );
        let observed: ObservedKubernetes = {
          local: Object.fromEntries(names.map((name, i) => [name, i < managers ? SERVER : AGENT])),
          cluster: view(...names.map((name, i) => (i < managers ? server(name) : node(name)))),
        };
        const emptied: string[] = [];
        for (let round = 0; round < 60; round++) {
          const { steps, problems } = plan(desired, observed);
          expect(problems).toEqual([]);
          inOneRound(observed, steps);
          emptied.push(...steps.filter(({ kind }) => kind === "reset").map((step) => step.node));
          observed = steps.reduce((now, step) => expectKubernetes(SETTINGS, now, step), observed);
        }
        expect(Object.values(observed.local).every(({ identity }) => identity === "none")).toBe(true);
        expect(observed.cluster).toBeUndefined();
        expect(emptied.slice(0, size - managers).every((name) => Number(name.slice(1)) >= managers)).toBe(true);
      }),
    );
  });

  it("nothing but a fresh start needs no problem: from empty nodes all are joined", () => {
    fc.assert(
      fc.property(fc.constantFrom(1, 3), fc.integer({ min: 3, max: 10 }), (managers, size) => {
        const desired = cluster(
          ...Array.from({ length: size }, (_, i) => member(`n${i}`, i < managers ? "manager" : "worker")),
        );
        let observed: ObservedKubernetes = {
          local: Object.fromEntries(desired.members.map(({ name }) => [name, EMPTY])),
        };
        for (let round = 0; round < 60; round++) {
          const { steps, problems } = plan(desired, observed);
          expect(problems).toEqual([]);
          observed = steps.reduce((now, step) => expectKubernetes(SETTINGS, now, step), observed);
        }
        expect(plan(desired, observed)).toMatchObject({
          steps: [],
          waiting: [],
          joined: desired.members.map(({ name }) => name),
        });
      }),
    );
  });
});
