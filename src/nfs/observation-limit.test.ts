import { expect, it } from "vitest";
import { parseIpv4 } from "../bytes/addresses.ts";
import type { NfsObservation } from "./observation.ts";
import { limitObservations } from "./observation-limit.ts";

const ONE = parseIpv4("192.0.2.1");
const OTHER = parseIpv4("192.0.2.2");

function limited() {
  const clock = { nowMs: 0, monotonicMs: () => clock.nowMs };
  const told: NfsObservation[] = [];
  const observe = limitObservations(clock, (observation) => void told.push(observation));
  const repeat = (times: number, observation: NfsObservation) => {
    for (let time = 0; time < times; time++) observe(observation);
    return told.splice(0).length;
  };
  return { clock, repeat };
}

it("tells ten troubles of a kind and client in ten seconds, and the next ten after them", () => {
  const { clock, repeat } = limited();
  const damaged: NfsObservation = { kind: "bad-call", client: ONE, reason: "cut" };
  expect(repeat(9, damaged)).toBe(9);
  expect(repeat(100_000, damaged)).toBe(1);
  clock.nowMs = 9999;
  expect(repeat(100, damaged)).toBe(0);
  clock.nowMs = 10_000;
  expect(repeat(100, damaged)).toBe(10);
});

it("lets no client and no kind of trouble silence another", () => {
  const { repeat } = limited();
  expect(repeat(100, { kind: "bad-call", client: ONE, reason: "cut" })).toBe(10);
  expect(repeat(100, { kind: "bad-call", client: OTHER, reason: "cut" })).toBe(10);
  expect(repeat(100, { kind: "fault", client: ONE, treeId: 1, procedure: "READ", error: "EIO" })).toBe(10);
});

it("tells every mount", () => {
  const { repeat } = limited();
  expect(repeat(100, { kind: "mount", client: ONE, path: "/", treeId: 1 })).toBe(100);
});
