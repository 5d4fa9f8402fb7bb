/** What the image store remembers of an image: `metadata.json` beside `disk.img`. */
import type { Stats } from "node:fs";
import { z } from "zod";

/** Where an image came from, as far as needed to know it again without reading it. */
const origin = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("file"),
    path: z.string(),
    sizeBytes: z.number(),
    mtimeMs: z.number(),
    inode: z.number(),
  }),
  z.object({ kind: z.literal("url"), url: z.string() }),
]);

export const imageMetadata = z.object({
  /** For people; the newest image of a name is the one meant. */
  name: z.string().min(1),
  /** Of the data in the disk image (system/file-hash.ts): the identity of the image, whatever it came in. */
  contentSha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** Of the file it came in, as the publisher lists it and `sha256sum` prints it. */
  containerSha256: z.string().regex(/^[0-9a-f]{64}$/),
  containerBytes: z.number().int().nonnegative(),
  sizeBytes: z.number().int().positive(),
  /** ISO 8601. */
  importedAt: z.iso.datetime(),
  /** As the user wrote it. */
  source: z.string(),
  origins: z.array(origin),
});

export type ImageOrigin = z.infer<typeof origin>;
export type ImageMetadata = z.infer<typeof imageMetadata>;

export interface StoredImage extends ImageMetadata {
  /** Of the sparse disk image. */
  path: string;
}

export function fileOrigin(path: string, stat: Stats): ImageOrigin {
  return { kind: "file", path, sizeBytes: stat.size, mtimeMs: stat.mtimeMs, inode: stat.ino };
}

export function isSameOrigin(a: ImageOrigin, b: ImageOrigin): boolean {
  return JSON.stringify(origin.parse(a)) === JSON.stringify(origin.parse(b));
}

/** `https://…/2025-10-01-raspios-trixie-arm64-lite.img.xz` is `2025-10-01-raspios-trixie-arm64-lite`. */
export function defaultName(source: string): string {
  const path = /^https?:/i.test(source) ? decoded(new URL(source).pathname) : source;
  const base = path.split("/").at(-1) ?? "";
  return base.replace(/(\.img)?(\.(xz|gz|zst|zstd|zip))?$/i, "") || "image";
}

/** The text itself where its percent signs stand for nothing. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
