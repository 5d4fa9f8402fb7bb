import { spawnSync } from "node:child_process";

/**
 * Whether a test must be skipped because a program is missing: on a laptop it says so and is skipped; in CI, where
 * nobody reads what was skipped, it fails.
 */
export function requireTools(programs: readonly string[]): boolean {
  const missing = programs.filter((program) => spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0);
  return missing.length > 0 && skip(`${missing.join(", ")} not installed`);
}

/** The same for tests that need root. */
export function requireRoot(): boolean {
  return process.getuid?.() !== 0 && skip("it needs root");
}

function skip(reason: string): true {
  const message = `Cannot run this test: ${reason}`;
  if (process.env.CI) throw new Error(message);
  console.warn(`${message}; skipped`);
  return true;
}

/** True in `make test`, for what takes minutes and is left to `make soak`. */
export const leftToSoak = process.env.SOAK === undefined;

/** True in `make test`, for what only `make e2e-swarm` runs. */
export const leftToEndToEnd = process.env.END_TO_END === undefined;
