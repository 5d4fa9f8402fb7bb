import { spawnSync } from "node:child_process";

/**
 * Whether a test must be skipped because a program is missing: on a laptop it says so and is skipped; in CI, where
 * nobody reads what was skipped, it fails.
 */
export function requireTools(programs: readonly string[]): boolean {
  const missing = programs.filter((program) => spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0);
  if (missing.length === 0) return false;
  const reason = `Cannot run this test: ${missing.join(", ")} not installed`;
  if (process.env.CI) throw new Error(reason);
  console.warn(`${reason}; skipped`);
  return true;
}
