/** A folder for what several test files use, made and removed by the run: workers are ended before they could clean up. */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const VARIABLE = "BRAMBLE_TESTS_SHARED";

export default function makeSharedFolder(): () => void {
  const folder = mkdtempSync(join(tmpdir(), "bramble-tests-"));
  chmodSync(folder, 0o755);
  process.env[VARIABLE] = folder;
  return () => rmSync(folder, { recursive: true, force: true });
}

export function sharedFolder(): string {
  const folder = process.env[VARIABLE];
  if (folder === undefined) throw new Error(`${VARIABLE} is not set: tests are run by vitest.config.ts`);
  return folder;
}
