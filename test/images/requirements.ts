import { spawnSync } from "node:child_process";

/**
 * What is missing to run a test with real tools, as text, or `undefined`. On a laptop such a test is skipped with the
 * reason printed; in CI nothing may be missing, so it throws there.
 */
export function missingRequirement(needs: { root?: boolean; commands: readonly string[] }): string | undefined {
  const reasons = needs.commands
    .filter((command) => spawnSync("sh", ["-c", `command -v "$1"`, "sh", command]).status !== 0)
    .map((command) => `the command ${command} is not installed`);
  if (needs.root === true && process.getuid?.() !== 0) reasons.push("it needs root");
  if (reasons.length === 0) return undefined;
  const text = reasons.join(", ");
  if (process.env.CI) throw new Error(`Cannot run these tests: ${text}`);
  console.warn(`skipped: ${text}`);
  return text;
}
