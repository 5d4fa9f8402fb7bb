/** A server is killed at random moments; `make soak` does it 1,000 times. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const ROUNDS = 25;

it("loses nothing that it promised when it is killed", { timeout: 240_000 }, () => {
  const seed = process.env.SEED ?? String(Math.floor(Math.random() * 2 ** 31));
  const words = [join(ROOT, "tools/run-soak.mjs"), "crash", String(ROUNDS), seed];
  const { stdout, stderr } = spawnSync(process.execPath, words, { encoding: "utf8" });
  expect(stdout + stderr).toMatch(new RegExp(`crash: ${ROUNDS} kills in \\d+ s, \\d+ operations answered, none lost`));
});
