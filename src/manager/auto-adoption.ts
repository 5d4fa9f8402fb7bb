/**
 * `adopt: auto`: a Raspberry Pi that asks to boot and is no node becomes one. It is named, written into the manifest,
 * planned and served as with `bramble nodes add`, and answered when it asks next: all firmware asks again, after 4 or 5 s.
 */
import type { Report } from "../boot/report.ts";
import type { Mac } from "../bytes/addresses.ts";
import { nextName, nodeOf, type SeenPi } from "../cluster/adoption.ts";
import type { Manifest } from "../cluster/manifest.ts";
import type { NodeEntry } from "../cluster/manifest-edit.ts";
import type { Clock } from "../ports.ts";

/** What could not be done is tried again, and told again, after so long. */
export const ADOPTION_RETRY_MS = 5 * 60_000;

export interface AutoAdoptionOptions {
  clock: Pick<Clock, "monotonicMs">;
  manifest(): Manifest;
  /** Adds the node that `choose` makes of the manifest when it is its turn to be changed; resolves with it when it is served. */
  addNode(choose: (manifest: Manifest) => NodeEntry | undefined): Promise<NodeEntry | undefined>;
  /** Whether it is a node by now. */
  isNode(pi: SeenPi): boolean;
  /** Whether a node of this name has files, though it may be in the manifest no more. */
  hasFiles(name: string): boolean;
  report: Report;
}

export class AutoAdoption {
  readonly #options: AutoAdoptionOptions;
  readonly #running = new Set<Mac>();
  /** Of all together: however many strangers there are, one of them tells what is wrong. */
  #pausedUntilMs = 0;

  constructor(options: AutoAdoptionOptions) {
    this.#options = options;
  }

  /** Hears of each time that a stranger asks. */
  seen(pi: SeenPi): void {
    const { manifest, clock } = this.#options;
    if (manifest().adopt?.mode !== "auto" || this.#running.has(pi.mac)) return;
    if (clock.monotonicMs() < this.#pausedUntilMs) return;
    this.#running.add(pi.mac);
    void this.#adopt(pi).finally(() => this.#running.delete(pi.mac));
  }

  async #adopt(pi: SeenPi): Promise<void> {
    const { addNode, report, clock } = this.#options;
    try {
      const entry = await addNode((manifest) => this.#choose(pi, manifest));
      if (entry) report({ kind: "adopted", ...pi }, entry.name);
    } catch (error) {
      this.#pausedUntilMs = clock.monotonicMs() + ADOPTION_RETRY_MS;
      report({ kind: "warning", message: `Cannot adopt ${pi.mac}: ${(error as Error).message}` });
    }
  }

  #choose(pi: SeenPi, { adopt, nodes }: Manifest): NodeEntry | undefined {
    const { isNode, hasFiles } = this.#options;
    if (adopt?.mode !== "auto" || isNode(pi)) return undefined;
    if (nodes.length >= adopt.max) {
      throw new Error(`the manifest has ${nodes.length} nodes, as many as adopt.max allows`);
    }
    const names = nodes.map((node) => node.name);
    return nodeOf(pi, nextName(adopt.name, names, hasFiles));
  }
}
