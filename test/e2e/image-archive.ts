/** An archive with one container image for arm64, as `docker save` writes it. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** In lower-case hexadecimal. */
export const sha256 = (bytes: Buffer | string) => createHash("sha256").update(bytes).digest("hex");

/** A file of the manager's with its checksum, as manifests have it. */
export const pinned = (source: string) => ({ source, sha256: sha256(readFileSync(source)) });

export interface ArchivedImage {
  /** With its tag. */
  name: string;
  entrypoint: readonly string[];
  /** By their names in the root folder: programs. */
  files: Readonly<Record<string, Buffer>>;
}

export function writeImageArchive(path: string, { name, entrypoint, files }: ArchivedImage): void {
  const folder = mkdtempSync(join(tmpdir(), "bramble-archive-"));
  const root = join(folder, "root");
  mkdirSync(root);
  for (const [file, bytes] of Object.entries(files)) writeFileSync(join(root, file), bytes, { mode: 0o755 });
  execFileSync("tar", ["-C", root, "--owner=0", "--group=0", "-cf", join(folder, "layer.tar"), "."]);
  const layer = sha256(readFileSync(join(folder, "layer.tar")));
  const config = JSON.stringify({
    architecture: "arm64",
    os: "linux",
    rootfs: { type: "layers", diff_ids: [`sha256:${layer}`] },
    config: { Entrypoint: entrypoint },
  });
  const entry = { Config: `${sha256(config)}.json`, RepoTags: [name], Layers: ["layer.tar"] };
  writeFileSync(join(folder, entry.Config), config);
  writeFileSync(join(folder, "manifest.json"), JSON.stringify([entry]));
  execFileSync("tar", ["-C", folder, "-cf", path, "manifest.json", entry.Config, "layer.tar"]);
  rmSync(folder, { recursive: true });
}
