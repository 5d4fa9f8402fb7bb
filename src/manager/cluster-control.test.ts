import { expect, it } from "vitest";
import { type ClusterMemberView, isUnderWay } from "./cluster-control.ts";

it.each<[string, Pick<ClusterMemberView, "wish" | "stage" | "step">, boolean]>([
  ["that is up and has not joined since", { wish: "in", stage: "up" }, true],
  ["that has joined", { wish: "in", stage: "joined" }, false],
  ["that has joined and is being labelled", { wish: "in", stage: "joined", step: "label node1" }, true],
  ["that is leaving", { wish: "out", stage: "joined", step: "have node1 leave the swarm" }, true],
  ["that has left", { wish: "out", stage: "up" }, false],
  ["that was started anew without work", { wish: "drained", stage: "up" }, false],
  ["that is off", { wish: "in", stage: "silent" }, false],
])("tells whether something is under way with a member %s", (_, member, expected) => {
  expect(isUnderWay(member)).toBe(expected);
});
