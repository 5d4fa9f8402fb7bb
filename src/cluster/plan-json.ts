/** A plan as JSON for people and scripts: contents as text, secrets left out. */
import { fileNameToText } from "../bytes/file-name.ts";
import type { GeneratedFile } from "./generated-file.ts";
import type { BootPlan } from "./plan.ts";

export interface PlannedFileJson {
  tree: GeneratedFile["tree"];
  kind: GeneratedFile["kind"];
  path: string;
  reason: string;
  /** Four octal digits. */
  mode?: string;
  uid?: number;
  gid?: number;
  target?: string;
  secret?: boolean;
  /** The content, as text where it is UTF-8; absent for secrets. */
  text?: string;
  base64?: string;
}

export type BootPlanJson = Omit<BootPlan, "files"> & { files: PlannedFileJson[] };

export function planToJson(plan: BootPlan): BootPlanJson {
  return { ...plan, files: plan.files.map(fileToJson) };
}

function fileToJson(file: GeneratedFile): PlannedFileJson {
  switch (file.kind) {
    case "removed":
      return file;
    case "symlink":
      return { ...file, target: fileNameToText(file.target) };
    case "directory":
      return { ...file, mode: octal(file.mode) };
    case "file": {
      const { content, ...rest } = file;
      return { ...rest, mode: octal(file.mode), ...(file.secret ? {} : contentToJson(content)) };
    }
  }
}

function contentToJson(content: Uint8Array): { text: string } | { base64: string } {
  const bytes = Buffer.from(content);
  const text = bytes.toString("utf8");
  return Buffer.from(text, "utf8").equals(bytes) ? { text } : { base64: bytes.toString("base64") };
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}
