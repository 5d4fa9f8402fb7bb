/** What the generators work from, and short ways to say what they place. */
import type { Ipv4 } from "../../bytes/addresses.ts";
import { fileNameFromText } from "../../bytes/file-name.ts";
import { IMAGE_TEXT_BYTES_MAX } from "../../limits.ts";
import type { GeneratedFile, ImageFiles } from "../generated-file.ts";
import type { ImageFacts } from "../image-facts.ts";
import type { Manifest, ManifestNode, RootMode } from "../manifest.ts";
import type { NodeSecrets } from "../ssh-keys.ts";

export interface GenerationInput {
  manifest: Manifest;
  node: ManifestNode;
  rootMode: RootMode;
  facts: ImageFacts;
  root: ImageFiles;
  serverAddress: Ipv4;
  ports: { nfs: number; mount: number };
  secrets: NodeSecrets;
  /** A file on the manager that the manifest names; `undefined` when it is gone. */
  readSource: (path: string) => Uint8Array | undefined;
}

export type Generator = (input: GenerationInput) => GeneratedFile[];

export function textFile(
  path: string,
  text: string,
  reason: string,
  { mode = 0o644, uid = 0, gid = 0, secret = false } = {},
): GeneratedFile {
  return {
    tree: "root",
    kind: "file",
    path,
    content: Buffer.from(text),
    mode,
    uid,
    gid,
    reason,
    ...(secret && { secret }),
  };
}

export function directory(path: string, reason: string, { mode = 0o755, uid = 0, gid = 0 } = {}): GeneratedFile {
  return { tree: "root", kind: "directory", path, mode, uid, gid, reason };
}

export function symlink(path: string, target: string, reason: string): GeneratedFile {
  return { tree: "root", kind: "symlink", path, target: fileNameFromText(target), reason };
}

export function removed(path: string, reason: string): GeneratedFile {
  return { tree: "root", kind: "removed", path, reason };
}

/** The text of a file of the image; `undefined` when it is not there. */
export function imageText(root: ImageFiles, path: string): string | undefined {
  const bytes = root.readFile(path, IMAGE_TEXT_BYTES_MAX);
  return bytes && Buffer.from(bytes).toString("utf8");
}

/** Lines without the empty ones at the end. */
export function imageLines(root: ImageFiles, path: string): string[] {
  const text = imageText(root, path)?.trimEnd() ?? "";
  return text === "" ? [] : text.split("\n");
}

const UNIT_FOLDERS = ["/usr/lib/systemd/system", "/lib/systemd/system", "/etc/systemd/system"];

/** Where the image keeps a unit of systemd. */
export function unitPath(root: ImageFiles, unit: string): string | undefined {
  return UNIT_FOLDERS.map((folder) => `${folder}/${unit}`).find((path) => root.exists(path));
}

/** Whether the image has a unit, or a script in /etc/init.d that systemd makes one from. */
export function hasUnit(root: ImageFiles, unit: string): boolean {
  return unitPath(root, unit) !== undefined || root.exists(`/etc/init.d/${unit.replace(/\.service$/, "")}`);
}

/** Makes systemd refuse to start a unit, whoever asks for it. */
export function maskUnit(unit: string, reason: string): GeneratedFile {
  return symlink(`/etc/systemd/system/${unit}`, "/dev/null", reason);
}

/** As `systemctl enable` for a unit that this target wants. */
export function enableUnit(
  unit: string,
  unitPath: string,
  reason: string,
  target: `${string}.target` = "multi-user.target",
): GeneratedFile {
  return symlink(`/etc/systemd/system/${target}.wants/${unit}`, unitPath, reason);
}
