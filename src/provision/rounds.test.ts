import { expect, it } from "vitest";
import type { RemoteShell } from "../ports.ts";
import type { ClusterStep, DesiredCluster, NextSteps, Orchestrator } from "./orchestrator.ts";
import { StepError } from "./problems.ts";
import { Rounds, type StepListener } from "./rounds.ts";

const DESIRED: DesiredCluster = { name: "attic", members: [] };
const SHELL: RemoteShell = { run: () => Promise.reject(new Error("nobody is to be asked")) };
const step = (node: string): ClusterStep => ({ kind: "join", node, title: `join ${node}` });
const problem = (node: string) => ({ cause: "join-refused", node, message: `Cannot join ${node}` });

/** Joins nodes one after the other that are not in `observed`; `run` is what becomes of a step. */
function orchestrator(names: readonly string[][], run: (step: ClusterStep) => Promise<void>) {
  const its: Orchestrator<readonly string[], ClusterStep> = {
    observe: async () => [],
    plan: (_, observed): NextSteps<ClusterStep> => {
      const round = names.find((nodes) => nodes.some((node) => !observed.includes(node))) ?? [];
      return { steps: round.map(step), problems: [], waiting: [], joined: [...observed], lost: [] };
    },
    expect: (observed, { node }) => [...observed, node],
    run,
  };
  return new Rounds(its, SHELL, { monotonicMs: () => 0 });
}

function recorder() {
  const told: string[] = [];
  const listener: StepListener = {
    planned: () => {},
    begun: ({ node }) => told.push(`begun ${node}`),
    done: ({ node }) => told.push(`done ${node}`),
    failed: ({ node }, _, { cause }) => told.push(`failed ${node}: ${cause}`),
  };
  return { told, listener };
}

it("steps of a round run side by side, and one that fails holds up no other", async () => {
  const ends = new Map<string, (error?: Error) => void>();
  const rounds = orchestrator([["a", "b"]], ({ node }) => {
    return new Promise((resolve, reject) => ends.set(node, (error) => (error ? reject(error) : resolve())));
  });
  const { told, listener } = recorder();
  const result = rounds.run(DESIRED, listener);
  await new Promise(setImmediate);
  ends.get("b")!(new StepError(problem("b")));
  await new Promise(setImmediate);
  ends.get("a")!();
  expect(await result).toMatchObject({ done: 1, tried: 2, problems: [problem("b")] });
  expect(told).toEqual(["begun a", "begun b", "failed b: join-refused", "done a"]);
});

it("a fault of the program ends a round only when its other steps are over", async () => {
  let isOver = false;
  const rounds = orchestrator([["a", "b"]], async ({ node }) => {
    if (node === "a") throw new TypeError("it was not foreseen");
    await new Promise(setImmediate);
    isOver = true;
  });
  await expect(rounds.run(DESIRED, recorder().listener)).rejects.toThrow("it was not foreseen");
  expect(isOver).toBe(true);
});

it("a plan has all rounds, and does nothing", async () => {
  const rounds = orchestrator([["a"], ["b", "c"]], () => Promise.reject(new Error("nothing is to be done")));
  const { rounds: planned } = await rounds.plan(DESIRED);
  expect(planned.map((round) => round.map(({ title }) => title))).toEqual([["join a"], ["join b", "join c"]]);
});
