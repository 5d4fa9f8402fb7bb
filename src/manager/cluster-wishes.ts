/** What somebody asked of members beside the manifest: to be drained, or to be out. In `cluster.json` of the state folder. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { MemberWish } from "../provision/orchestrator.ts";
import { replaceFileDurably } from "../system/atomic-file.ts";

const wishesFile = z.object({
  drained: z.array(z.string()).default([]),
  out: z.array(z.string()).default([]),
  /** Everybody is out, also who comes later. */
  isDissolved: z.boolean().default(false),
});
type Wishes = z.output<typeof wishesFile>;

export class ClusterWishes {
  readonly #path: string;
  #wishes: Wishes;

  /** `warn` hears of a file that cannot be read: nothing is drained or out then. */
  constructor(stateFolder: string, warn: (message: string) => void) {
    this.#path = join(stateFolder, "cluster.json");
    this.#wishes = wishesFile.parse({});
    try {
      this.#wishes = wishesFile.parse(JSON.parse(readFileSync(this.#path, "utf8")));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
      warn(
        `Cannot read ${this.#path}: ${(error as Error).message}; nodes that were drained or out of the cluster are members again`,
      );
    }
  }

  get isDissolved(): boolean {
    return this.#wishes.isDissolved;
  }

  of(node: string): MemberWish {
    const { drained, out, isDissolved } = this.#wishes;
    return isDissolved || out.includes(node) ? "out" : drained.includes(node) ? "drained" : "in";
  }

  /** Durable when it resolves. */
  async set(node: string, wish: MemberWish): Promise<void> {
    const without = (names: readonly string[]) => names.filter((name) => name !== node);
    const { drained, out, isDissolved } = this.#wishes;
    await this.#keep({
      drained: [...without(drained), ...(wish === "drained" ? [node] : [])],
      out: [...without(out), ...(wish === "out" ? [node] : [])],
      isDissolved,
    });
  }

  async setDissolved(isDissolved: boolean): Promise<void> {
    await this.#keep({ ...this.#wishes, isDissolved });
  }

  async #keep(wishes: Wishes): Promise<void> {
    await replaceFileDurably(this.#path, `${JSON.stringify(wishes, null, 1)}\n`, { mode: 0o644 });
    this.#wishes = wishes;
  }
}
