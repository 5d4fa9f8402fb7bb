/** Files that the manifest adds, for all nodes and for this one; the node's own win. */
import type { GeneratedFile } from "../generated-file.ts";
import type { ManifestFile } from "../manifest.ts";
import { idOf } from "./accounts.ts";
import type { GenerationInput } from "./placing.ts";
import { accountsWithUser } from "./user.ts";

const REASON = "manifest files";

export function manifestFiles(input: GenerationInput): GeneratedFile[] {
  const { database } = accountsWithUser(input);
  return [...input.manifest.files, ...input.node.files].map(
    (file): GeneratedFile => ({
      tree: "root",
      kind: "file",
      path: file.path,
      content: contentOf(file, input),
      mode: file.mode,
      uid: owner(database.passwd, file.owner, file.path, "user"),
      gid: owner(database.group, file.group, file.path, "group"),
      reason: REASON,
    }),
  );
}

function contentOf(file: ManifestFile, { readSource }: GenerationInput): Uint8Array {
  if (file.content !== undefined) return Buffer.from(file.content);
  const content = readSource(file.source!);
  if (content === undefined) throw new Error(`Cannot place ${file.path}: its source ${file.source} is not there`);
  return content;
}

function owner(lines: readonly string[], nameOrId: string, path: string, what: string): number {
  const id = idOf(lines, nameOrId);
  if (id === undefined) throw new Error(`Cannot place ${path}: the image has no ${what} ${nameOrId}`);
  return id;
}
