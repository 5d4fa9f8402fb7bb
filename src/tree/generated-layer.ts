/**
 * The computed layer of one node: hostname, fstab, keys, units … placed by path over the image. In memory, immutable.
 * A file of the image keeps its id under a placed one; ids of new paths come from `GeneratedIds`.
 */
import type { FileName } from "../bytes/file-name.ts";
import { fileNameFromText } from "../bytes/file-name.ts";
import { type FileType, type InodeAttributes, occupiedBytes } from "../disk/file-system-image.ts";
import { GENERATED_PATHS_MAX, SYMLINKS_FOLLOWED_MAX } from "../limits.ts";
import { FIRST_COOKIE, type GeneratedPlace, type Layer, type LayerEntry } from "./layer.ts";
import { type InodeOverride, OverlayLayer, overrideFrom, REMOVED, WHITEOUT_ID } from "./overlay-layer.ts";
import type { PlacedFile } from "./placed-file.ts";

/** Where ids and times of generated files come from: both must be the same after a restart. */
export interface GeneratedIdentity {
  /** The id of a path's index 0. */
  readonly firstId: number;
  /** Below `GENERATED_PATHS_MAX`; always the same for a path. */
  indexFor(path: string): number;
  /** The same as long as the file's contents and attributes are. */
  timeNsFor(file: PlacedFile): bigint;
}

/** Where a placed file came to stand. */
export interface Placement {
  path: string;
  kind: PlacedFile["kind"];
  directoryId: number;
  name: FileName;
  id: number;
}

/** A directory on the way to a path, with its path free of symlinks. */
interface Place {
  id: number;
  path: string;
}

export function placeFiles(below: Layer, files: readonly PlacedFile[], identity: GeneratedIdentity): GeneratedLayer {
  const layer = new GeneratedLayer(below, identity);
  for (const file of files) layer.place(file);
  return layer;
}

export class GeneratedLayer extends OverlayLayer {
  readonly placements: Placement[] = [];
  readonly #identity: GeneratedIdentity;
  readonly #overrides = new Map<number, InodeOverride | typeof REMOVED>();
  readonly #names = new Map<number, Map<string, LayerEntry>>();
  readonly #places = new Map<number, GeneratedPlace>();

  constructor(below: Layer, identity: GeneratedIdentity) {
    super(below);
    this.#identity = identity;
  }

  override(id: number): InodeOverride | typeof REMOVED | undefined {
    return this.#overrides.get(id);
  }

  protected names(directoryId: number): ReadonlyMap<string, LayerEntry> | undefined {
    return this.#names.get(directoryId);
  }

  generatedPlace(id: number): GeneratedPlace | undefined {
    return this.#places.get(id);
  }

  nextCookie(directoryId: number): number {
    return this.below.nextCookie(directoryId) + GENERATED_PATHS_MAX;
  }

  readSync(id: number, target: Uint8Array, offset: number): number {
    const content = this.#contentOf(id);
    if (content === undefined) return this.below.readSync(id, target, offset);
    return copyFrom(content, target, offset);
  }

  read(id: number, target: Uint8Array, offset: number): number | Promise<number> {
    const content = this.#contentOf(id);
    if (content === undefined) return this.below.read(id, target, offset);
    return copyFrom(content, target, offset);
  }

  #contentOf(id: number): Uint8Array | undefined {
    const override = this.#overrides.get(id);
    return typeof override === "object" ? override.data?.inline : undefined;
  }

  /** Only while the layer is built. */
  place(file: PlacedFile): void {
    const components = file.path.split("/").filter((component) => component !== "" && component !== ".");
    const last = components.pop();
    if (last === undefined || last === "..") {
      throw new Error(`Cannot place ${JSON.stringify(file.path)}: a name below the root is needed`);
    }
    const name = fileNameFromText(last);
    const directory = this.#makeDirectories(components.map(fileNameFromText), file.path);
    const existing = this.lookup(directory.id, name);
    const id =
      file.kind === "removed" ? this.#remove(directory.id, existing) : this.#put(directory, name, existing, file);
    this.placements.push({ path: file.path, kind: file.kind, directoryId: directory.id, name, id });
  }

  /** Walks from the root, through symlinks, and makes what is missing. */
  #makeDirectories(components: FileName[], wantedPath: string): Place {
    const way: Place[] = [{ id: this.rootId, path: "" }];
    const left = [...components];
    let followed = 0;
    for (let name = left.shift(); name !== undefined; name = left.shift()) {
      const here = way.at(-1)!;
      if (name === ("" as FileName) || name === ".") continue;
      if (name === "..") {
        if (way.length > 1) way.pop();
        continue;
      }
      const entry = this.lookup(here.id, name);
      const type = entry === undefined ? undefined : this.attributes(entry.id)?.type;
      if (entry !== undefined && type === "symlink") {
        if (++followed > SYMLINKS_FOLLOWED_MAX) {
          throw new Error(`Cannot place ${JSON.stringify(wantedPath)}: its directory is a loop of symbolic links`);
        }
        const target = this.symlinkTarget(entry.id);
        if (target.startsWith("/")) way.length = 1;
        left.unshift(...(target.split("/") as FileName[]));
      } else if (entry !== undefined && type === "directory") {
        way.push({ id: entry.id, path: `${here.path}/${entry.name}` });
      } else {
        const path = `${here.path}/${name}`;
        const made = { kind: "directory", path, mode: 0o755, uid: 0, gid: 0 } as const;
        way.push({ id: this.#put(here, name, entry, made), path });
      }
    }
    return way.at(-1)!;
  }

  #put(
    directory: Place,
    name: FileName,
    existing: LayerEntry | undefined,
    file: Exclude<PlacedFile, { kind: "removed" }>,
  ) {
    const found = existing === undefined ? undefined : this.attributes(existing.id);
    if (existing !== undefined && found?.type === "directory" && file.kind === "directory") {
      this.#change(existing.id, { mode: file.mode, uid: file.uid, gid: file.gid });
      return existing.id;
    }
    const keepsId =
      found !== undefined && found.linkCount === 1 && found.type !== "directory" && file.kind !== "directory";
    if (existing !== undefined && keepsId) {
      this.#settle({ ...existing, directoryId: directory.id }, file);
      return existing.id;
    }
    if (existing !== undefined) this.#unlink(directory.id, existing.id);
    const index = this.#identity.indexFor(`${directory.path}/${name}`);
    const cookie = existing?.cookie ?? this.below.nextCookie(directory.id) + index;
    const entry = { name, id: this.#identity.firstId + index, cookie };
    this.#setName(directory.id, entry);
    this.#settle({ ...entry, directoryId: directory.id }, file);
    if (file.kind === "directory") this.#addLinks(directory.id, 1);
    return entry.id;
  }

  #settle(place: GeneratedPlace, file: Exclude<PlacedFile, { kind: "removed" }>): void {
    const timeNs = this.#identity.timeNsFor(file);
    const isDirectory = file.kind === "directory";
    const sizeBytes = file.kind === "file" ? file.content.length : file.kind === "symlink" ? file.target.length : 4096;
    const attributes: InodeAttributes = {
      type: file.kind satisfies FileType,
      ...(file.kind === "symlink"
        ? { mode: 0o777, uid: 0, gid: 0 }
        : { mode: file.mode, uid: file.uid, gid: file.gid }),
      linkCount: isDirectory ? 2 : 1,
      sizeBytes,
      usedBytes: occupiedBytes(sizeBytes),
      device: { major: 0, minor: 0 },
      atimeNs: timeNs,
      mtimeNs: timeNs,
      ctimeNs: timeNs,
    };
    this.#places.set(place.id, place);
    this.#overrides.set(place.id, {
      attributes,
      whole: true,
      parentId: isDirectory ? place.directoryId : 0,
      nextCookie: isDirectory ? FIRST_COOKIE + GENERATED_PATHS_MAX : 0,
      target: file.kind === "symlink" ? file.target : ("" as FileName),
      data: file.kind === "file" ? { inheritedBytes: 0, ranges: [], inline: file.content } : undefined,
      verifier: undefined,
    });
  }

  #remove(directoryId: number, existing: LayerEntry | undefined): number {
    if (existing === undefined) return WHITEOUT_ID;
    this.#setName(directoryId, { ...existing, id: WHITEOUT_ID });
    this.#unlink(directoryId, existing.id);
    return WHITEOUT_ID;
  }

  /** One name less for a file; a directory leaves its parent. */
  #unlink(directoryId: number, id: number): void {
    const attributes = this.attributes(id);
    if (attributes === undefined) return;
    if (attributes.type === "directory") this.#addLinks(directoryId, -1);
    if (attributes.type !== "directory" && attributes.linkCount > 1) {
      this.#addLinks(id, -1);
    } else {
      this.#overrides.set(id, REMOVED);
      this.#places.delete(id);
      // The path may become a directory again, with the same id.
      this.#names.delete(id);
      this.forgetListing(id);
    }
  }

  #addLinks(id: number, count: number): void {
    const override = this.#own(id);
    const linkCount = override.attributes.linkCount + count;
    this.#overrides.set(id, { ...override, attributes: { ...override.attributes, linkCount } });
  }

  #change(id: number, changes: Partial<InodeAttributes>): void {
    const override = this.#own(id);
    this.#overrides.set(id, { ...override, attributes: { ...override.attributes, ...changes } });
  }

  #own(id: number): InodeOverride {
    const known = this.#overrides.get(id);
    return typeof known === "object" ? known : overrideFrom(this.below, id, this.below.attributes(id)!);
  }

  #setName(directoryId: number, entry: LayerEntry): void {
    const names = this.#names.get(directoryId) ?? new Map<string, LayerEntry>();
    names.set(this.key(entry.name), entry);
    this.#names.set(directoryId, names);
    this.forgetListing(directoryId);
  }
}

/** Returns how many bytes of `content` there were for `target` from `offset`. */
export function copyFrom(content: Uint8Array, target: Uint8Array, offset: number): number {
  const found = content.subarray(Math.min(offset, content.length), offset + target.length);
  target.set(found);
  return found.length;
}
