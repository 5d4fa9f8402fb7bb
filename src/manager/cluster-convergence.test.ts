import { describe, expect, it } from "vitest";
import type { Ipv4 } from "../bytes/addresses.ts";
import type { BootEvent, BootOccurrence } from "../cluster/event.ts";
import { type Manifest, parseManifest } from "../cluster/manifest.ts";
import { type ClusterStatus, INITIAL_STATUS, nextStatus } from "../cluster/status.ts";
import type { ClusterStep, DesiredCluster } from "../provision/orchestrator.ts";
import type { ClusterRounds, RoundResult, StepListener } from "../provision/rounds.ts";
import { SimulatedClock } from "../simulator/simulated-clock.ts";
import { ClusterConvergence } from "./cluster-convergence.ts";

const MANIFEST = (lines: string) => `cluster: attic
image: pi.img
${lines}
nodes:
  - { name: a, mac: "dc:a6:32:00:00:01", address: 10.0.0.1 }
  - { name: b, mac: "dc:a6:32:00:00:02", address: 10.0.0.2 }
`;

const IDLE: RoundResult = { done: 0, tried: 0, problems: [], waiting: [] };

/** What a round comes to, and whom it found joined or lost. */
type Told = Partial<RoundResult & Parameters<StepListener["planned"]>[0]>;
type Round = (desired: DesiredCluster, listener: StepListener) => Told | Promise<Told>;

/** A convergence with rounds as told; the last one is repeated. */
function convergence(rounds: readonly Round[], lines = "orchestrator: { kind: swarm }") {
  const clock = new SimulatedClock();
  const parsed = parseManifest(MANIFEST(lines), { fileExists: () => true });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  const { manifest } = parsed;
  const listeners = new Set<(event: BootEvent) => void>();
  const events: BootEvent[] = [];
  let status: ClusterStatus = INITIAL_STATUS;
  const report = (occurrence: BootOccurrence, node?: string) => {
    const event = { ...occurrence, sequence: events.length + 1, unixMs: clock.unixMs(), ...(node && { node }) };
    events.push(event);
    status = nextStatus(status, event);
    for (const listener of listeners) listener(event);
  };
  const begunMs: number[] = [];
  const desired: DesiredCluster[] = [];
  const its: ClusterRounds = {
    run: async (wanted, listener) => {
      begunMs.push(clock.monotonicMs());
      desired.push(wanted);
      const round = rounds[Math.min(begunMs.length, rounds.length) - 1]!;
      const { joined = [], lost = [], ...result } = await round(wanted, listener);
      listener.planned({ joined, lost });
      return { ...IDLE, ...result };
    },
    plan: async () => ({ rounds: [], problems: [], waiting: [], joined: [] }),
  };
  const made = new ClusterConvergence({
    journal: {
      listen: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    clock,
    report,
    manifest: () => manifest,
    status: () => status,
    wishes: { of: () => "in" },
    isConfigured: () => true,
    roundsOf: ({ orchestrator }: Manifest) => (orchestrator ? its : undefined),
  });
  const up = (node: string, bootId = `boot-of-${node}`) => {
    report({ kind: "mount", tree: "root", client: `10.0.0.${node === "a" ? 1 : 2}` as Ipv4 }, node);
    report({ kind: "up", bootId }, node);
  };
  const kinds = () => events.map(({ kind, node }) => (node ? `${kind} ${node}` : kind));
  return { made, clock, report, events, begunMs, desired, up, kinds, status: () => status };
}

const STEP: ClusterStep = { kind: "join", node: "b", title: "join b as a worker" };

describe("the cluster is looked at", () => {
  it("when the manager starts, and every five minutes while all is well", async () => {
    const { made, clock, begunMs } = convergence([() => ({})]);
    made.start();
    await clock.runFor(11 * 60_000);
    expect(begunMs).toEqual([1000, 301_000, 601_000]);
  });

  it("once when several nodes come up together, with the nodes that are up", async () => {
    const { made, clock, begunMs, up, desired } = convergence([() => ({})]);
    made.start();
    await clock.runFor(10_000);
    up("a");
    up("b");
    await clock.runFor(10_000);
    expect(begunMs).toEqual([1000, 11_000]);
    expect(desired.map(({ members }) => members.map(({ isReady }) => isReady))).toEqual([
      [false, false],
      [true, true],
    ]);
  });

  it("less and less often while something is waited for, but at once when a node comes up", async () => {
    const { made, clock, begunMs, up } = convergence([() => ({ waiting: ["b is not Ready yet"] })]);
    made.start();
    await clock.runFor(150_000);
    expect(begunMs).toEqual([1000, 6000, 16_000, 36_000, 76_000, 136_000]);
    up("a");
    await clock.runFor(10_000);
    expect(begunMs.slice(6)).toEqual([151_000, 156_000]);
  });

  it("at once when a node that is up does not answer any more, and when it does again", async () => {
    const { made, clock, begunMs, up, report } = convergence([() => ({})]);
    up("a");
    made.start();
    await clock.runFor(10_000);
    report({ kind: "no-answer", address: "10.0.0.1" as Ipv4, sinceMs: 0 }, "a");
    await clock.runFor(10_000);
    report({ kind: "answers-again" }, "a");
    await clock.runFor(10_000);
    expect(begunMs).toEqual([1000, 11_000, 21_000]);
  });

  it("never, at no cost, without an orchestrator", async () => {
    const { made, clock, begunMs, up, kinds } = convergence([() => ({})], "");
    made.start();
    up("a");
    await clock.runFor(3_600_000);
    expect(begunMs).toEqual([]);
    expect(kinds()).toEqual(["mount a", "up a"]);
  });

  it("by one round at a time, and again for what came while one was under way", async () => {
    let end = (_: Told) => {};
    const slow = () => new Promise<Told>((resolve) => (end = resolve));
    const { made, clock, begunMs, up } = convergence([slow, () => ({})]);
    made.start();
    await clock.runFor(5000);
    up("a");
    await clock.runFor(20_000);
    expect(begunMs).toEqual([1000]);
    end({});
    await clock.runFor(100);
    expect(begunMs).toEqual([1000, 25_000]);
  });

  it("no more after it was stopped, and what is broken off is not told", async () => {
    let end = (_: Told) => {};
    const slow: Round = async (_, listener) => {
      listener.begun(STEP);
      const result = await new Promise<Told>((resolve) => (end = resolve));
      listener.failed(STEP, 5, { cause: "node-unreachable", node: "b", message: "the manager stops" });
      return result;
    };
    const { made, clock, begunMs, kinds } = convergence([slow]);
    const stop = made.start();
    await clock.runFor(2000);
    stop();
    end({ problems: [{ cause: "node-unreachable", message: "the manager stops" }] });
    await clock.runFor(3_600_000);
    expect(begunMs).toEqual([1000]);
    expect(kinds()).toEqual(["step-begun b"]);
  });
});

it("goes round at once after a step was done, and tells steps, problems, and who is joined, once", async () => {
  const problem = { cause: "docker-missing", node: "b", message: "Cannot join b to the swarm: …" };
  const { made, clock, begunMs, up, kinds, status } = convergence([
    (_, listener) => {
      listener.begun(STEP);
      listener.done(STEP, 1200);
      return { done: 1, tried: 1, problems: [problem] };
    },
    () => ({ joined: ["a"], problems: [problem] }),
    () => ({ joined: ["a", "b"] }),
  ]);
  up("a");
  up("b");
  made.start();
  await clock.runFor(1500);
  expect(begunMs).toEqual([1000, 1000]);
  await clock.runFor(10_000);
  expect(kinds().slice(4)).toEqual([
    "step-begun b",
    "step-done b",
    "cluster-problems",
    "joined a",
    "joined b",
    "cluster-problems",
  ]);
  expect(Array.from(status().nodes.values(), ({ stage }) => stage)).toEqual(["joined", "joined"]);
  expect(status().clusterProblems).toEqual([]);
});

it("tells nobody joined who started anew while work was tried on it", async () => {
  const { made, clock, up, kinds } = convergence([
    () => {
      up("a", "another-boot");
      return { joined: ["a"] };
    },
    () => ({}),
  ]);
  up("a");
  made.start();
  await clock.runFor(5000);
  expect(kinds()).not.toContain("joined a");
});

it("takes back that a node is joined when it is lost", async () => {
  const { made, clock, up, status } = convergence([
    () => ({ joined: ["a"] }),
    () => ({ lost: [{ node: "a", reason: "its managers do not hear it" }] }),
  ]);
  up("a");
  made.start();
  await clock.runFor(2000);
  expect(status().nodes.get("a")?.stage).toBe("joined");
  await clock.runFor(300_000);
  expect(status().nodes.get("a")).toMatchObject({ stage: "up", hasJoined: true });
});

it("goes on after a fault of an orchestrator's", async () => {
  const { made, clock, begunMs, events } = convergence([
    () => {
      throw new Error("it was not foreseen");
    },
    () => ({}),
  ]);
  made.start();
  await clock.runFor(120_000);
  expect(begunMs).toEqual([1000, 61_000]);
  expect(events).toEqual([expect.objectContaining({ kind: "warning" })]);
});

it("asks nodes only when their storage was tried, and says why not", async () => {
  const { made, clock, up, report, desired, status } = convergence(
    [() => ({})],
    "orchestrator: { kind: swarm }\nstorage: { kind: loop, size: 1GiB }",
  );
  made.start();
  up("a");
  report({ kind: "storage-tried", state: "no-space" }, "a");
  up("b");
  report({ kind: "storage-tried", state: "ready", freeKiB: 900_000, sizeKiB: 1_000_000 }, "b");
  await clock.runFor(5000);
  expect(desired[0]!.members.map(({ isReady }) => isReady)).toEqual([false, true]);
  expect(status().clusterProblems).toEqual([
    { cause: "storage-not-verified", node: "a", message: expect.stringContaining("there was no space for it") },
  ]);
});

it("apply goes round until nothing can be done for the moment", async () => {
  const step = () => ({ done: 1, tried: 1 });
  const { made, begunMs, clock } = convergence([step, step, () => ({ waiting: ["b is not Ready yet"] })]);
  const applied = made.apply();
  await clock.runFor(100);
  expect(await applied).toEqual({ isSettled: false, problems: [], waiting: ["b is not Ready yet"] });
  expect(begunMs).toHaveLength(3);
});

it("apply waits for a round that began after it was asked", async () => {
  let end = (_: Told) => {};
  const slow = () => new Promise<Told>((resolve) => (end = resolve));
  const { made, clock } = convergence([slow, () => ({ waiting: ["what was asked for"] })]);
  made.start();
  await clock.runFor(2000);
  const applied = made.apply();
  await clock.runFor(2000);
  end({ waiting: ["something older"] });
  await clock.runFor(2000);
  expect((await applied).waiting).toEqual(["what was asked for"]);
});

it("apply ends when the manager does", async () => {
  const { made, clock } = convergence([() => new Promise(() => {})]);
  const stop = made.start();
  const applied = made.apply();
  await clock.runFor(2000);
  stop();
  await applied;
});
