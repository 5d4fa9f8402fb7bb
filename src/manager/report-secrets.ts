/** The secrets that a state folder holds, to be looked for in a bug report. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { secretsIn } from "./report-redaction.ts";

export interface StateSecrets {
  secrets: string[];
  /** Files that whoever makes the report may not read. What the manager tells has none of them. */
  unreadable: string[];
}

/** Every file below `secrets/`: each text in those that are JSON, the whole of the others. */
export function secretsOfState(stateFolder: string): StateSecrets {
  const secrets: string[] = [];
  const unreadable: string[] = [];
  for (const path of filesBelow(join(stateFolder, "secrets"), unreadable)) {
    try {
      const text = readFileSync(path, "utf8");
      secrets.push(...(path.endsWith(".json") ? secretsIn(JSON.parse(text), true) : [text]));
    } catch {
      unreadable.push(path);
    }
  }
  return { secrets, unreadable };
}

function filesBelow(folder: string, unreadable: string[]): string[] {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") unreadable.push(folder);
    return [];
  }
}
