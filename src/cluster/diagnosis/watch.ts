/**
 * Diagnoses over time: told when they come, change and go, and not when they flicker. Events and the clock come in,
 * what is to be told goes out.
 */
import { type BootEvent, type BootOccurrence, isUp } from "../event.ts";
import { isReachable } from "../status.ts";
import type { ClusterFacts, NodeFacts } from "./facts.ts";
import { newFacts } from "./facts.ts";
import { type Diagnosis, diagnoseLan, diagnoseNode } from "./index.ts";
import { takeEvent } from "./lan-reducer.ts";

/** A cause takes another's place, or is over, when that holds for so long. A node that is up is well at once. */
const CHANGE_AFTER_MS = 4_000;
const OVER_AFTER_MS = 8_000;

export interface Told {
  occurrence: BootOccurrence & { kind: "diagnosis" | "diagnosis-cleared" };
  /** Absent: it is about the network or the manager. */
  node?: string;
}

interface Held {
  diagnosis: Diagnosis;
  /** Since when the facts say something else. */
  otherwise?: { cause: string | undefined; sinceMs: number };
}

/** A node whose calls take so long is looked at, whatever it does. */
const WATCHED_P99_MS = 1000;

/** Nodes have names of at least one character. */
const LAN = "";

export class DiagnosisWatch {
  readonly facts: ClusterFacts = newFacts();
  readonly #held = new Map<string, Held>();

  /** Diagnoses that another manager told are no facts. */
  take(event: BootEvent): void {
    takeEvent(this.facts, event);
  }

  ofNode(name: string): Diagnosis | undefined {
    return this.#held.get(name)?.diagnosis;
  }

  ofLan(): Diagnosis | undefined {
    return this.#held.get(LAN)?.diagnosis;
  }

  /** Nothing is the matter, and nothing can become so before the next event. */
  get isAtRest(): boolean {
    return this.#held.size === 0 && [...this.facts.nodes.values()].every(isAtRest);
  }

  /** What has changed. `listed` are the nodes of the manifest: others are forgotten. */
  check(nowMs: number, listed: Iterable<string>): Told[] {
    const names = new Set(listed);
    for (const name of this.facts.nodes.keys()) if (!names.has(name)) this.facts.nodes.delete(name);
    const told = this.#compare(LAN, diagnoseLan(this.facts, nowMs), nowMs, false);
    for (const [name, node] of this.facts.nodes) {
      if (isAtRest(node) && !this.#held.has(name)) continue;
      const runs = isUp(node.status.stage);
      told.push(...this.#compare(name, diagnoseNode(this.facts, name, nowMs), nowMs, runs));
    }
    for (const name of this.#held.keys()) if (name !== LAN && !names.has(name)) this.#held.delete(name);
    return told;
  }

  #compare(name: string, found: Diagnosis | undefined, nowMs: number, runs: boolean): Told[] {
    const held = this.#held.get(name);
    if (held === undefined) return found === undefined ? [] : [this.#tell(name, found)];
    if (held.diagnosis.cause === found?.cause) {
      this.#held.set(name, { diagnosis: found });
      return [];
    }
    const known = held.otherwise;
    const sinceMs = known !== undefined && known.cause === found?.cause ? known.sinceMs : nowMs;
    const waitMs = runs ? 0 : found === undefined ? OVER_AFTER_MS : CHANGE_AFTER_MS;
    if (nowMs - sinceMs < waitMs) {
      held.otherwise = { cause: found?.cause, sinceMs };
      return [];
    }
    if (found !== undefined) return [this.#tell(name, found)];
    this.#held.delete(name);
    return [about(name, { kind: "diagnosis-cleared", cause: held.diagnosis.cause })];
  }

  #tell(name: string, diagnosis: Diagnosis): Told {
    this.#held.set(name, { diagnosis });
    return about(name, { kind: "diagnosis", ...diagnosis });
  }
}

function about(name: string, occurrence: Told["occurrence"]): Told {
  return name === LAN ? { occurrence } : { occurrence, node: name };
}

/** Nothing is the matter, and nothing can become so without an event. */
function isAtRest({ status, failed, warnings, asking, plan, declined, activity, attempt }: NodeFacts): boolean {
  const isSettled = isReachable(status) || status.stage === "silent";
  const isQuiet = failed.size + warnings.size + plan.problems.length + attempt.files.size === 0 && asking === undefined;
  const isSlow = activity.some(({ p99Ms = 0 }) => p99Ms >= WATCHED_P99_MS);
  return isSettled && isQuiet && !isSlow && (declined === undefined || isUp(status.stage));
}
