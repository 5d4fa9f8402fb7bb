/** What a diagnosis is, and what one row of the table of causes has. */
import type { ClusterFacts, LanFacts, NodeFacts } from "./facts.ts";

export interface Diagnosis {
  /** The cause's id: lower-case words with hyphens. */
  cause: string;
  /** What is wrong, as a sentence without a full stop. */
  title: string;
  /** What was seen that says so. */
  evidence: string;
  /** What to do about it. */
  remedy: string;
}

/** Which boards a cause is about, for people. */
export type Boards = "all" | "3B" | "3B, 3B+, CM3" | "4 and 5 families" | "4 family";

interface CauseText {
  id: string;
  title: string;
  boards: Boards;
  /** How it is told, for the documentation. */
  sign: string;
  remedy: string;
  /** Where the behaviour is described: an issue of raspberrypi/firmware (FW), rpi-eeprom (EE), linux (LX), a release note … */
  source: string;
}

/** A row about one node. `find` gives the evidence, or nothing. */
export interface NodeCause extends CauseText {
  find(node: NodeFacts, seen: Surroundings): string | undefined;
}

/** A row about the network or the manager. */
export interface LanCause extends CauseText {
  find(lan: LanFacts, seen: Omit<Surroundings, "lan">): string | undefined;
}

export interface Surroundings {
  nowMs: number;
  lan: LanFacts;
  nodes: ClusterFacts["nodes"];
}

export const BRAMBLE = "Bramble";

/** `12 s`, `3 min`: for sentences. */
export function inWords(durationMs: number): string {
  const seconds = Math.max(0, Math.round(durationMs / 1000));
  return seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}

/** `1 DISCOVER`, `3 DISCOVERs`. */
export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
