/** The diagnoses of a running manager: made from its events, told as events, and shown. */
import type { Report } from "../boot/report.ts";
import { type Explanation, explainNode } from "../cluster/diagnosis/explanation.ts";
import type { Diagnosis } from "../cluster/diagnosis/index.ts";
import { DiagnosisWatch } from "../cluster/diagnosis/watch.ts";
import type { ManifestNode } from "../cluster/manifest.ts";
import type { Clock, Timer } from "../ports.ts";
import type { Journal } from "./journal.ts";
import { RequestError } from "./request-error.ts";

/** Causes are looked for so often: all are named within ten seconds of what shows them. */
const CHECK_MS = 2000;

export interface ClusterDiagnosesOptions {
  journal: Pick<Journal, "events" | "listen">;
  clock: Pick<Clock, "unixMs" | "after">;
  report: Report;
  /** Those of the manifest. */
  nodes(): readonly ManifestNode[];
}

export class ClusterDiagnoses {
  readonly #options: ClusterDiagnosesOptions;
  readonly #watch = new DiagnosisWatch();
  #timer: Timer | undefined;

  constructor(options: ClusterDiagnosesOptions) {
    this.#options = options;
  }

  /** Takes what the journal has, and goes on from there. Returns how to stop. */
  start(): () => void {
    const { journal } = this.#options;
    for (const event of journal.events) this.#watch.take(event);
    const stopListening = journal.listen((event) => {
      this.#watch.take(event);
      this.#wait();
    });
    this.#wait();
    return () => {
      stopListening();
      this.#timer?.cancel();
    };
  }

  #wait(): void {
    this.#timer ??= this.#options.clock.after(CHECK_MS, () => {
      this.#timer = undefined;
      this.#check();
      if (!this.#watch.isAtRest) this.#wait();
    });
  }

  #check(): void {
    const { clock, nodes, report } = this.#options;
    const names = nodes().map(({ name }) => name);
    for (const { occurrence, node } of this.#watch.check(clock.unixMs(), names)) report(occurrence, node);
  }

  ofNode(name: string): Diagnosis | undefined {
    return this.#watch.ofNode(name);
  }

  ofNetwork(): Diagnosis | undefined {
    return this.#watch.ofLan();
  }

  /** Throws `RequestError` when there is no such node. */
  explain(name: string): Explanation {
    const { nodes, clock } = this.#options;
    const node = nodes().find((each) => each.name === name);
    if (!node) throw new RequestError(404, `Cannot explain ${name}: the manifest has no node of that name`);
    return explainNode(node, this.#watch.facts.nodes.get(name), this.ofNode(name), clock.unixMs());
  }
}
