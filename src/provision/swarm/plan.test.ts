import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Ipv4 } from "../../bytes/addresses.ts";
import type { DesiredCluster, DesiredMember, NextSteps } from "../orchestrator.ts";
import { type Host, type LocalSwarm, NODE_LABEL, type ObservedSwarm, ownerOf, type SwarmEntry } from "./observed.ts";
import { planSwarm } from "./plan.ts";
import { expectSwarm, type SwarmStep } from "./steps.ts";

const NOW_MS = Date.UTC(2026, 10, 21);

function member(name: string, change: Partial<DesiredMember> = {}): DesiredMember {
  const address = `10.0.0.${name.charCodeAt(0) - 96}` as Ipv4;
  return {
    name,
    role: "worker",
    wish: "in",
    facts: {},
    address,
    isReady: true,
    wasTried: false,
    hasJoined: false,
    ...change,
  };
}
const manager = (name: string, change: Partial<DesiredMember> = {}) => member(name, { role: "manager", ...change });
const cluster = (...members: DesiredMember[]): DesiredCluster => ({ name: "attic", members });

const OUTSIDE: LocalSwarm = { state: "inactive", nodeId: "", isManager: false, managerAddresses: [], words: "" };

function host(swarm: Partial<LocalSwarm> = {}, change: Partial<Host & { kind: "answered" }> = {}): Host {
  const docker = { kind: "running", driver: "overlay2", swarm: { ...OUTSIDE, ...swarm } } as const;
  return {
    kind: "answered",
    unixMs: NOW_MS,
    bootId: "b1",
    uptimeS: 3600,
    architecture: "arm64",
    lacksAppArmor: false,
    docker,
    ...change,
  };
}

/** A node that is in the swarm `c`, by the id of its name. */
function inside(name: string, isManager: boolean, change: Partial<LocalSwarm> = {}): Host {
  const swarm = { state: "active", nodeId: `id-${name}`, isManager, managerAddresses: ["10.0.0.1"] } as const;
  return host({ ...swarm, ...(isManager && { clusterId: "c" }), ...change });
}

function entry(name: string, change: Partial<SwarmEntry> = {}): SwarmEntry {
  const labels = { [NODE_LABEL]: name };
  return {
    id: `id-${name}`,
    hostname: name,
    labels,
    role: "worker",
    availability: "active",
    state: "ready",
    ...change,
  };
}
function managerEntry(name: string, change: Partial<SwarmEntry> = {}): SwarmEntry {
  const address = `10.0.0.${name.charCodeAt(0) - 96}`;
  return entry(name, { role: "manager", manager: { isReachable: true, isLeader: name === "a", address }, ...change });
}
const DOWN: Partial<SwarmEntry> = { state: "down" };
const downManager = (name: string, change: Partial<SwarmEntry> = {}) =>
  managerEntry(name, { ...DOWN, manager: { isReachable: false, isLeader: false, address: "" }, ...change });

function observed(hosts: Record<string, Host>, entries?: readonly SwarmEntry[], tried: string[] = []): ObservedSwarm {
  return {
    unixMs: NOW_MS,
    hosts: new Map(Object.entries(hosts)),
    clusters: new Map(entries ? [["c", entries]] : []),
    tried: new Set(tried),
  };
}

const titles = ({ steps }: NextSteps<SwarmStep>) => steps.map(({ title }) => title);
const causes = ({ problems }: NextSteps<SwarmStep>) =>
  problems.map(({ cause, node }) => (node === undefined ? cause : `${cause} ${node}`));

/** All rounds, as `bramble cluster plan` shows them. */
function rounds(desired: DesiredCluster, start: ObservedSwarm): string[][] {
  const found: string[][] = [];
  for (let now = start; found.length < 100; ) {
    const next = planSwarm(desired, now);
    if (next.steps.length === 0) return found;
    found.push(titles(next));
    now = next.steps.reduce(expectSwarm, now);
  }
  throw new Error("it has no end");
}

it.each<[string, DesiredCluster, ObservedSwarm]>([
  [
    "of a majority of managers",
    cluster(manager("a"), manager("b", { isReady: false })),
    observed({ a: starting(inside("a", true, { clusterId: undefined as never })) }),
  ],
  [
    "of the only manager",
    cluster(manager("a", { isReady: false, hasJoined: true }), member("b")),
    observed({ b: starting(inside("b", false)) }),
  ],
])("the absence %s is no problem yet while nodes start", (_, desired, now) => {
  const next = planSwarm(desired, now);
  expect([titles(next), causes(next), next.waiting.length]).toEqual([[], [], 1]);
});

function starting(its: Host): Host {
  return its.kind === "answered" ? { ...its, uptimeS: 100 } : its;
}

it.each<[string, DesiredCluster, ObservedSwarm, string]>([
  [
    "a worker",
    cluster(manager("a"), member("b"), member("c")),
    observed(
      { a: inside("a", true), b: inside("c", false), c: inside("c", false) },
      [managerEntry("a"), entry("c")],
      ["a", "c"],
    ),
    "copied-identity b",
  ],
  [
    "a worker that is off",
    cluster(manager("a"), member("b"), member("c", { isReady: false })),
    observed({ a: inside("a", true), b: inside("c", false) }, [managerEntry("a"), entry("c")], ["a"]),
    "copied-identity b",
  ],
  [
    "the only manager",
    cluster(manager("a"), member("b")),
    observed({ a: inside("a", true), b: inside("a", true) }, [managerEntry("a")], ["a"]),
    "copied-identity b",
  ],
])("nothing is done about a node whose files are those of %s, which stays a member", (_, desired, now, cause) => {
  const next = planSwarm(desired, now);
  expect([titles(next), causes(next)]).toEqual([[], [cause]]);
  expect(next.joined).not.toContain("b");
});

it("a node that has the files of one that is not in the manifest any more takes its place", () => {
  const now = observed({ a: inside("a", true), b: inside("c", false) }, [managerEntry("a"), entry("c")], ["a"]);
  expect(titles(planSwarm(cluster(manager("a"), member("b")), now))).toEqual(["label b"]);
});

it("waits for a new leader, and calls no quorum lost, while more than half of the managers are there", () => {
  const leaderless = { clusterId: undefined as never, words: "context deadline exceeded" };
  const desired = cluster(manager("a", { isReady: false }), manager("b"), manager("c"), member("d"));
  const now = observed({ b: inside("b", true, leaderless), c: inside("c", true, leaderless), d: host() });
  const next = planSwarm(desired, now);
  expect([next.steps, next.problems]).toEqual([[], []]);
  expect(next.waiting).toEqual([
    'b, c choose a new leader of the swarm (context deadline exceeded); if that lasts for minutes, "docker node ls" on b says why',
  ]);
});

it("makes a swarm of three managers and a worker, one manager at a time", () => {
  const desired = cluster(manager("a"), manager("b"), manager("c"), member("d"));
  expect(rounds(desired, observed({ a: host(), b: host(), c: host(), d: host() }))).toEqual([
    ["make a swarm with a as its first manager"],
    ["label a", "join b as a manager", "join d as a worker"],
    ["try work on a", "label b", "join c as a manager", "label d"],
    ["try work on b", "label c", "try work on d"],
    ["try work on c"],
  ]);
});

describe("a plan", () => {
  it.each<[string, DesiredCluster, ObservedSwarm, string[], string[]]>([
    [
      "waits for the first manager",
      cluster(manager("a", { isReady: false }), member("b")),
      observed({ b: host() }),
      [],
      [],
    ],
    [
      "makes no second swarm while a manager of the first is off",
      cluster(manager("a"), manager("b", { isReady: false, hasJoined: true })),
      observed({ a: host() }),
      [],
      ["managers-absent"],
    ],
    [
      "makes a new swarm where the only manager has lost its files, and takes over its workers",
      cluster(manager("a", { hasJoined: true }), member("b", { hasJoined: true })),
      observed({ a: host(), b: inside("b", false) }),
      ["have b leave the swarm that it is in", "make a swarm with a as its first manager"],
      [],
    ],
    [
      "touches nothing when the quorum is lost",
      cluster(manager("a"), manager("b", { isReady: false }), manager("c", { isReady: false }), member("d")),
      observed({ a: inside("a", true, { clusterId: undefined as never, words: "no leader" }), d: host() }),
      [],
      ["quorum-lost"],
    ],
    [
      "lets a node that was started anew join again, then forgets what it was before",
      cluster(manager("a", { wasTried: true }), member("b")),
      observed({ a: inside("a", true), b: host() }, [managerEntry("a"), entry("b", DOWN)]),
      ["forget what b was before"],
      [],
    ],
    [
      "forgets a vanished node of Bramble's when it is down, not somebody else's",
      cluster(manager("a", { wasTried: true })),
      observed({ a: inside("a", true) }, [
        managerEntry("a"),
        entry("gone", DOWN),
        entry("laptop", { ...DOWN, labels: {} }),
      ]),
      ["forget gone, which is no longer in the manifest"],
      [],
    ],
    [
      "drains a node that left the manifest and still runs",
      cluster(manager("a", { wasTried: true })),
      observed({ a: inside("a", true) }, [managerEntry("a"), entry("gone")]),
      ["drain gone, which is no longer in the manifest"],
      [],
    ],
    [
      "has no manager go while those that should manage do not",
      cluster(manager("a"), member("b", { wasTried: true })),
      observed({ a: host(), b: inside("b", true) }, [managerEntry("b")]),
      ["join a as a manager"],
      [],
    ],
    [
      "leaves a node in somebody else's swarm",
      cluster(manager("a", { wasTried: true }), member("b")),
      observed({ a: inside("a", true), b: inside("b", false, { managerAddresses: ["192.168.7.7"] }) }, [
        managerEntry("a"),
      ]),
      [],
      ["other-swarm b"],
    ],
    [
      "gives work again to whom Bramble drained, and not to whom somebody else did",
      cluster(manager("a", { wasTried: true }), member("b"), member("c")),
      observed({ a: inside("a", true), b: inside("b", false), c: inside("c", false) }, [
        managerEntry("a"),
        entry("b", { availability: "drain", labels: { [NODE_LABEL]: "b", "bramble.drained": "yes" } }),
        entry("c", { availability: "drain" }),
      ]),
      ["label b, give b work again"],
      ["not-active c"],
    ],
    [
      "does not take the last manager out",
      cluster(manager("a", { wish: "out" }), member("b", { wasTried: true })),
      observed({ a: inside("a", true), b: inside("b", false) }, [managerEntry("a"), entry("b")]),
      [],
      ["last-manager a"],
    ],
    [
      "tells of a manager with another address than the swarm knows",
      cluster(manager("a", { wasTried: true, address: "10.0.0.99" as Ipv4 })),
      observed({ a: inside("a", true) }, [managerEntry("a")]),
      [],
      ["manager-address-changed a"],
    ],
    [
      "tells of architectures that differ, and joins all the same",
      cluster(manager("a", { wasTried: true }), member("b")),
      observed({ a: inside("a", true), b: host({}, { architecture: "armhf" }) }, [managerEntry("a")]),
      ["join b as a worker"],
      ["mixed-architectures b"],
    ],
  ])("%s", (_, desired, now, expectedSteps, expectedCauses) => {
    const next = planSwarm(desired, now);
    expect([titles(next), causes(next)]).toEqual([expectedSteps, expectedCauses]);
  });
});

describe("a node is not joined, and it is said why,", () => {
  it.each<[string, Partial<Host & { kind: "answered" }>, string, RegExp]>([
    ["without Docker", { docker: { kind: "missing" } }, "docker-missing", /has no Docker; install it/],
    [
      "with Docker for another processor",
      { docker: { kind: "unusable", words: "docker: cannot execute binary file: Exec format error" } },
      "wrong-architecture",
      /does not run on arm64: .*Exec format error; install Docker for arm64/,
    ],
    [
      "with Docker that does not run",
      { docker: { kind: "stopped", words: "Cannot connect to the Docker daemon" } },
      "docker-stopped",
      /Cannot connect to the Docker daemon; see "bramble ssh b/,
    ],
    [
      "with storage that takes no overlays",
      { docker: { kind: "running", driver: "vfs", swarm: OUTSIDE } },
      "storage-driver",
      /driver vfs, not overlay2: .*set storage/,
    ],
    ["with AppArmor without its parser", { lacksAppArmor: true }, "apparmor-missing", /install package apparmor/],
    [
      "with a clock that is wrong",
      { unixMs: NOW_MS - 3 * 3_600_000 },
      "clock-wrong",
      /clock is 180 minutes behind, so certificates are not valid/,
    ],
    [
      "with a locked swarm",
      { docker: { kind: "running", driver: "overlay2", swarm: { ...OUTSIDE, state: "locked" } } },
      "swarm-locked",
      /docker swarm unlock/,
    ],
  ])("%s", (_, change, cause, message) => {
    const desired = cluster(manager("a", { wasTried: true }), member("b"));
    const next = planSwarm(desired, observed({ a: inside("a", true), b: host({}, change) }, [managerEntry("a")]));
    expect(next.steps).toEqual([]);
    expect(next.problems).toEqual([{ cause, node: "b", message: expect.stringMatching(message) }]);
  });
});

describe("who was joined is lost", () => {
  const joined = cluster(manager("a", { wasTried: true }), member("b", { wasTried: true, hasJoined: true }));
  it.each<[string, Host | undefined, readonly SwarmEntry[], string[]]>([
    ["when its Docker forgot the swarm", host(), [managerEntry("a"), entry("b", DOWN)], ["b"]],
    ["when managers do not hear it", inside("b", false), [managerEntry("a"), entry("b", DOWN)], ["b"]],
    ["when managers were told to forget it", inside("b", false), [managerEntry("a")], ["b"]],
    ["not when only its shell is silent", undefined, [managerEntry("a"), entry("b", DOWN)], []],
  ])("%s", (_, its, entries, expected) => {
    const hosts = { a: inside("a", true), ...(its && { b: its }) };
    expect(planSwarm(joined, observed(hosts, entries)).lost.map(({ node }) => node)).toEqual(expected);
  });

  it("when it was asked to leave and has left, the last one, too", () => {
    const out = { wish: "out", wasTried: true } as const;
    const one = cluster(manager("a", { wasTried: true }), member("b", out));
    expect(
      planSwarm(one, observed({ a: inside("a", true), b: inside("b", false) }, [managerEntry("a"), entry("b")])).lost,
    ).toEqual([]);
    expect(planSwarm(one, observed({ a: inside("a", true), b: host() }, [managerEntry("a")])).lost).toEqual([
      { node: "b", reason: "it has left" },
    ]);
    const all = cluster(manager("a", out), member("b", out));
    expect(planSwarm(all, observed({ a: host(), b: host() }, [])).lost.map(({ node }) => node)).toEqual(["a", "b"]);
  });
});

it("a cluster that is dissolved ends with its last manager", () => {
  const out = { wish: "out", wasTried: true } as const;
  const desired = cluster(manager("a", out), manager("b", out), member("c", out));
  const hosts = { a: inside("a", true), b: inside("b", true), c: inside("c", false) };
  const found = rounds(desired, observed(hosts, [managerEntry("a"), managerEntry("b"), entry("c")]));
  expect(found.flat().sort()).toEqual([
    "dissolve the swarm on b, its last member",
    "drain a",
    "drain c",
    "forget what a was before",
    "forget what c was before",
    "have a leave the swarm",
    "have c leave the swarm",
    "make a a worker",
  ]);
});

/** What a node may be found as. */
const situation = fc.record({
  role: fc.constantFrom("manager", "worker") as fc.Arbitrary<"manager" | "worker">,
  wish: fc.constantFrom("in", "in", "in", "drained", "out") as fc.Arbitrary<DesiredMember["wish"]>,
  isReady: fc.constantFrom(true, true, true, false),
  hasJoined: fc.boolean(),
  found: fc.constantFrom("fresh", "fresh", "worker", "manager", "orphan", "no docker"),
  hasOldEntry: fc.boolean(),
  wasManager: fc.boolean(),
  availability: fc.constantFrom("active", "active", "drain") as fc.Arbitrary<SwarmEntry["availability"]>,
});

interface World {
  desired: DesiredCluster;
  start: ObservedSwarm;
}

const world: fc.Arbitrary<World> = fc
  .record({
    nodes: fc.array(situation, { minLength: 1, maxLength: 7 }),
    gone: fc.array(fc.constantFrom("down", "ready") as fc.Arbitrary<"down" | "ready">, { maxLength: 2 }),
    hasForeign: fc.boolean(),
  })
  .map(({ nodes, gone, hasForeign }) => {
    const named = nodes.map((node, index) => ({ ...node, name: String.fromCharCode(97 + index) }));
    const members = named.map(({ name, role, wish, isReady, hasJoined }) =>
      member(name, { role, wish, isReady, hasJoined }),
    );
    const current = named
      .filter(({ found }) => found === "worker" || found === "manager")
      .map(({ name, found, isReady, availability }) => {
        const each = found === "manager" ? managerEntry(name, { availability }) : entry(name, { availability });
        if (isReady) return each;
        return found === "manager" ? downManager(name) : entry(name, DOWN);
      });
    const old = named
      .filter(({ hasOldEntry }) => hasOldEntry)
      .map(({ name, wasManager }) => {
        const id = `old-${name}`;
        return wasManager ? downManager(name, { id }) : entry(name, { ...DOWN, id });
      });
    const others = [
      ...gone.map((state, index) => entry(`gone${index}`, { state })),
      ...(hasForeign ? [entry("laptop", { labels: {} })] : []),
    ];
    const entries = [...current, ...old, ...others];
    const isQuorate = hasQuorum(entries);
    const hosts = named
      .filter(({ isReady }) => isReady)
      .map(({ name, found }): [string, Host] => {
        if (found === "no docker") return [name, host({}, { docker: { kind: "missing" } })];
        if (found === "fresh") return [name, host()];
        if (found === "orphan") return [name, inside(name, false, { nodeId: `lost-${name}` })];
        const its = inside(name, found === "manager");
        if (found === "manager" && !isQuorate) {
          return [
            name,
            host({ state: "active", nodeId: `id-${name}`, isManager: true, managerAddresses: ["10.0.0.1"] }),
          ];
        }
        return [name, its];
      });
    return {
      desired: { name: "attic", members },
      start: observed(Object.fromEntries(hosts), isQuorate ? entries : undefined),
    };
  });

function hasQuorum(entries: readonly SwarmEntry[]): boolean {
  const voices = entries.filter((each) => each.manager);
  return voices.filter((each) => each.manager?.isReachable).length > voices.length / 2;
}

it("whatever is found, rounds come to an end, harm no quorum, and leave nobody behind without saying why", () => {
  fc.assert(
    fc.property(world, ({ desired, start }) => {
      let now = start;
      let next = planSwarm(desired, now);
      const isDissolved = desired.members.every(({ wish }) => wish === "out");
      for (let round = 0; next.steps.length > 0; round++) {
        expect(round, "rounds").toBeLessThan(40);
        expect(new Set(next.steps.map(({ node }) => node)).size).toBe(next.steps.length);
        for (const step of next.steps) {
          if (step.kind === "init") expect([...now.clusters.keys()]).toEqual([]);
          const had = [...now.clusters.keys()];
          now = expectSwarm(now, step);
          for (const entries of now.clusters.values()) expect(hasQuorum(entries), step.title).toBe(true);
          for (const id of had) expect(now.clusters.has(id) || isDissolved, step.title).toBe(true);
        }
        next = planSwarm(desired, now);
      }
      const explained = new Set(next.problems.map(({ node }) => node));
      const isStuck = explained.has(undefined) || next.waiting.length > 0;
      for (const { name, isReady, wish } of desired.members) {
        const isJoined = next.joined.includes(name);
        if (!isReady || explained.has(name) || isStuck) continue;
        if (wish === "in" && desired.members.some(({ role, wish: its }) => role === "manager" && its !== "out")) {
          expect(isJoined, `${name} is joined`).toBe(true);
        }
        if (wish !== "in") expect(isJoined).toBe(false);
        if (wish === "out") {
          const left = [...now.clusters.values()]
            .flat()
            .some((each) => ownerOf(each) === name && each.state === "ready");
          expect(left, `${name} is out`).toBe(false);
        }
      }
    }),
    { numRuns: 1500 },
  );
});
