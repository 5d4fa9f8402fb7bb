/**
 * What a node changed: its tree as it is now beside what it would be if the node had written nothing. Both are walked by
 * path, so it costs a walk through the image, but holds no more than the changes that moved something.
 */
import { type FileName, fileNameToText } from "../bytes/file-name.ts";
import type { FileType, InodeAttributes } from "../disk/file-system-image.ts";
import type { FrozenFile, FrozenLayers } from "./frozen-layers.ts";
import type { Layer } from "./layer.ts";
import { REMOVED } from "./overlay-layer.ts";

/** `type`: another kind of file stands there. `attributes`: mode or owner. `times`: nothing else. */
export type ChangedPart = "content" | "attributes" | "times" | "type";

export type TreeChange = {
  path: string;
  type: FileType;
  sizeBytes: number;
} & (
  | { kind: "added" | "removed" }
  /** `content` of a large file: something was written to it, though it may be what was there. */
  | { kind: "changed"; what: ChangedPart[] }
  /** The same file under another name; `what` besides its name has changed. */
  | { kind: "renamed"; from: string; what: ChangedPart[] }
);

/** Contents up to this size are compared byte by byte. */
const COMPARED_BYTES_MAX = 64 * 1024;

interface Names {
  path: string;
  /** The directory now and before; unset where there is none. */
  now: number | undefined;
  before: number | undefined;
}

/** Names that a file of before has got and lost. */
interface Moved {
  to?: string;
  from?: string;
}

type File = InodeAttributes & { id: number };

export class TreeDiff {
  readonly #now: Layer;
  readonly #before: Layer;
  readonly #written: FrozenLayers;
  readonly #moved = new Map<number, Moved>();

  /** `written` are all layers of the node; `now` shows them over `before`. */
  constructor(now: Layer, before: Layer, written: FrozenLayers) {
    this.#now = now;
    this.#before = before;
    this.#written = written;
  }

  /** Directory by directory, each with its own changes first; renamed files last. Throws `DecodeError` on damage. */
  *changes(): Generator<TreeChange | undefined> {
    if (this.#written.isEmpty) return;
    const root = this.#now.rootId;
    const waiting: Names[] = [{ path: "", now: root, before: root }];
    for (let names = waiting.pop(); names !== undefined; names = waiting.pop()) {
      // Gives the caller a moment, also where nothing has changed.
      yield undefined;
      yield* this.#compareNames(names, waiting);
    }
    for (const [id, moved] of this.#moved) yield this.#movedChange(id, moved);
  }

  *#compareNames({ path, now, before }: Names, waiting: Names[]): Generator<TreeChange> {
    const [namesNow, namesBefore] = [this.#names(this.#now, now), this.#names(this.#before, before)];
    const directories: Names[] = [];
    for (const name of new Set([...namesNow.keys(), ...namesBefore.keys()])) {
      const ids = { now: namesNow.get(name), before: namesBefore.get(name) };
      yield* this.#compare(`${path}/${fileNameToText(name)}`, ids, directories);
    }
    waiting.push(...directories.reverse());
  }

  #names(layer: Layer, directoryId: number | undefined): Map<FileName, number> {
    const entries = directoryId === undefined ? [] : layer.entries(directoryId);
    return new Map(entries.map((entry) => [entry.name, entry.id]));
  }

  /** What one path leads to; the directories there are to be gone into. */
  *#compare(path: string, ids: Omit<Names, "path">, directories: Names[]): Generator<TreeChange> {
    const now = this.#file(this.#now, ids.now);
    const before = this.#file(this.#before, ids.before);
    if (now !== undefined && now.id === before?.id) {
      const what = this.#whatChanged(now, before);
      if (what.length > 0) yield { kind: "changed", ...described(path, now), what };
      if (now.type === "directory") directories.push({ path, now: now.id, before: now.id });
      return;
    }
    const isNew = now !== undefined && this.#before.attributes(now.id) === undefined;
    const isGone = before !== undefined && this.#now.attributes(before.id) === undefined;
    if (isNew && isGone) {
      const what: ChangedPart[] = [now.type === before.type ? "content" : "type"];
      yield { kind: "changed", ...described(path, now), what };
    } else if (isNew) yield { kind: "added", ...described(path, now) };
    else if (isGone) yield { kind: "removed", ...described(path, before) };
    if (now !== undefined && !isNew) yield* this.#note(now, "to", path);
    if (before !== undefined && !isGone) yield* this.#note(before, "from", path);
    if (now?.type === "directory" && !isNew) directories.push({ path, now: now.id, before: now.id });
    const directoryNow = isNew && now.type === "directory" ? now.id : undefined;
    const directoryBefore = isGone && before.type === "directory" ? before.id : undefined;
    if (directoryNow !== undefined || directoryBefore !== undefined) {
      directories.push({ path, now: directoryNow, before: directoryBefore });
    }
  }

  #file(layer: Layer, id: number | undefined): File | undefined {
    const attributes = id === undefined ? undefined : layer.attributes(id);
    return id === undefined || attributes === undefined ? undefined : { id, ...attributes };
  }

  /** A file that was there before has come to a name, or lost one; of several hard links one is taken for the other. */
  *#note(file: File, way: "to" | "from", path: string): Generator<TreeChange> {
    const known = this.#moved.get(file.id) ?? {};
    if (known[way] === undefined) this.#moved.set(file.id, { ...known, [way]: path });
    else yield { kind: way === "to" ? "added" : "removed", ...described(path, file) };
  }

  #movedChange(id: number, { to, from }: Moved): TreeChange {
    const now = this.#file(this.#now, id);
    const before = this.#file(this.#before, id);
    if (now === undefined || before === undefined) throw new Error(`Cannot compare file ${id}: it is not there`);
    if (to === undefined) return { kind: "removed", ...described(from!, before) };
    if (from === undefined) return { kind: "added", ...described(to, now) };
    return { kind: "renamed", ...described(to, now), from, what: this.#whatChanged(now, before) };
  }

  #whatChanged(now: File, before: File): ChangedPart[] {
    if (!this.#written.has(now.id)) return [];
    const { id } = now;
    const what: ChangedPart[] = [];
    if (now.type === "file" && this.#isContentChanged(id, now, before)) what.push("content");
    if (now.mode !== before.mode || now.uid !== before.uid || now.gid !== before.gid) what.push("attributes");
    // A directory's times change with its names, a file's with its content.
    if (what.length === 0 && now.type !== "directory" && now.mtimeNs !== before.mtimeNs) what.push("times");
    return what;
  }

  #isContentChanged(id: number, now: InodeAttributes, before: InodeAttributes): boolean {
    if (now.sizeBytes !== before.sizeBytes) return true;
    const file = this.#written.file(id);
    if (file === undefined || file === REMOVED || !hasOwnContent(file)) return false;
    if (now.sizeBytes > COMPARED_BYTES_MAX) return true;
    const [contentNow, contentBefore] = [new Uint8Array(now.sizeBytes), new Uint8Array(now.sizeBytes)];
    this.#now.readSync(id, contentNow, 0);
    this.#before.readSync(id, contentBefore, 0);
    return Buffer.compare(contentNow, contentBefore) !== 0;
  }
}

function described(path: string, { type, sizeBytes }: File) {
  return { path, type, sizeBytes: type === "file" ? sizeBytes : 0 };
}

function hasOwnContent({ data, inherits }: FrozenFile): boolean {
  if (data === undefined) return false;
  const isOwn = data.inline !== undefined || data.ranges.length > 0 || data.inheritedBytes === 0;
  return isOwn || (inherits !== undefined && hasOwnContent(inherits));
}
