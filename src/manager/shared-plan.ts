/**
 * Most of what a plan holds is the same for every node of an image: units, mount tables, boards. A manager of a thousand
 * nodes has it once.
 */
import type { GeneratedFile } from "../cluster/generated-file.ts";
import type { BootPlan } from "../cluster/plan.ts";

/** The same plan, with the parts of `other` where these say the same. */
export function sharing(plan: BootPlan, other: BootPlan | undefined): BootPlan {
  const known = new Map(other?.files.map((file) => [placeOf(file), file]));
  const files = plan.files.map((file) => {
    const same = known.get(placeOf(file));
    return same && isSameFile(file, same) ? same : compact(file);
  });
  const hasSameBoards = other && JSON.stringify(other.boards) === JSON.stringify(plan.boards);
  return { ...plan, files, boards: hasSameBoards ? other.boards : plan.boards };
}

function placeOf({ tree, path }: GeneratedFile): string {
  return `${tree}:${path}`;
}

function isSameFile(one: GeneratedFile, other: GeneratedFile): boolean {
  return JSON.stringify(withoutContent(one)) === JSON.stringify(withoutContent(other)) && hasSameContent(one, other);
}

function withoutContent(file: GeneratedFile): object {
  return { ...file, content: undefined };
}

function hasSameContent(one: GeneratedFile, other: GeneratedFile): boolean {
  if (one.kind !== "file" || other.kind !== "file") return true;
  return Buffer.compare(one.content, other.content) === 0;
}

/** Small buffers are slices of large ones, which each of them keeps alive. */
function compact(file: GeneratedFile): GeneratedFile {
  return file.kind === "file" ? { ...file, content: new Uint8Array(file.content) } : file;
}
