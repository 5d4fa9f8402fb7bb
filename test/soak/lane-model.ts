/**
 * The files of one lane as its client knows them, and how they compare with what the server shows. A model does not
 * change: an operation makes the model of after from the one of before, and after a crash either may be what is found.
 */
import { type FileModel, mismatch } from "./file-model.ts";
import type { Attributes, NfsClient } from "./nfs-client.ts";

export interface ModelFile {
  readonly kind: "file" | "directory" | "symlink";
  /** Of the file handle: the one it was made with stays good for its life. Absent when nobody was told yet. */
  readonly handle: Uint8Array | undefined;
  readonly content: FileModel;
  readonly target: string;
  /** Absent: as it was made. */
  readonly mode: number | undefined;
  /** Seconds, while nothing else has touched it. */
  readonly mtime: number | undefined;
}

export const NEW_FILE: ModelFile = {
  kind: "file",
  handle: undefined,
  content: { committed: new Uint8Array(0), pending: [] },
  target: "",
  mode: undefined,
  mtime: undefined,
};

/** Paths below the lane's directories: `directory/name` → number of a file, and files by number. */
export interface LaneModel {
  readonly names: ReadonlyMap<string, number>;
  readonly files: ReadonlyMap<number, ModelFile>;
}

export function withFile(model: LaneModel, number: number, changes: Partial<ModelFile>): LaneModel {
  const files = new Map(model.files);
  files.set(number, { ...(files.get(number) ?? NEW_FILE), ...changes });
  return { names: model.names, files };
}

export function withName(model: LaneModel, path: string, number: number): LaneModel {
  return collected({ names: new Map(model.names).set(path, number), files: model.files });
}

export function withoutName(model: LaneModel, path: string): LaneModel {
  const names = new Map(model.names);
  names.delete(path);
  return collected({ names, files: model.files });
}

/** Files without a name are gone. */
function collected({ names, files }: LaneModel): LaneModel {
  const used = new Set(names.values());
  return { names, files: new Map([...files].filter(([number]) => used.has(number))) };
}

export function linkCount(model: LaneModel, number: number): number {
  return [...model.names.values()].filter((one) => one === number).length;
}

export interface FoundFile {
  handle: Uint8Array;
  attributes: Attributes;
  content: Uint8Array | undefined;
  target: string | undefined;
}

/** What the server shows of the lane, by path. */
export type Found = ReadonlyMap<string, FoundFile>;

const TYPES = { file: 1, directory: 2, symlink: 5 } as const;

/** Why what was found cannot be this model; `undefined` if it can. */
export function laneMismatch(model: LaneModel, found: Found): string | undefined {
  for (const path of found.keys()) if (!model.names.has(path)) return `${path} is there, and should not be`;
  const idsByNumber = new Map<number, number>();
  for (const [path, number] of model.names) {
    const one = found.get(path);
    if (one === undefined) return `${path} is missing`;
    const wrong = fileMismatch(model, number, one);
    if (wrong !== undefined) return `${path}: ${wrong}`;
    const id = idsByNumber.get(number) ?? one.attributes.id;
    if (id !== one.attributes.id) return `${path}: it is file ${one.attributes.id}, its other name ${id}`;
    idsByNumber.set(number, id);
  }
  return undefined;
}

function fileMismatch(model: LaneModel, number: number, found: FoundFile): string | undefined {
  const file = model.files.get(number)!;
  const { type, mode, linkCount: links, times, sizeBytes } = found.attributes;
  if (type !== TYPES[file.kind]) return `it is of type ${type}, not a ${file.kind}`;
  if (file.handle !== undefined && Buffer.compare(file.handle, found.handle) !== 0) return "its file handle is another";
  if (file.mode !== undefined && mode !== file.mode)
    return `its mode is ${mode.toString(8)}, not ${file.mode.toString(8)}`;
  if (file.mtime !== undefined && times[1]![0] !== file.mtime) return `its mtime is ${times[1]![0]}, not ${file.mtime}`;
  const expectedLinks = file.kind === "directory" ? 2 + directoriesIn(model, number) : linkCount(model, number);
  if (links !== expectedLinks) return `it has ${links} links, not ${expectedLinks}`;
  if (file.kind === "symlink") return found.target === file.target ? undefined : `it leads to ${found.target}`;
  if (file.kind === "directory") return undefined;
  if (found.content!.length !== sizeBytes) return `${found.content!.length} bytes were read of ${sizeBytes}`;
  return mismatch(file.content, found.content!);
}

function directoriesIn(model: LaneModel, number: number): number {
  const path = [...model.names].find(([, one]) => one === number)?.[0];
  return [...model.names].filter(([name, one]) => {
    return name.slice(0, name.lastIndexOf("/")) === path && model.files.get(one)!.kind === "directory";
  }).length;
}

/** Reads what the server shows below these directories; `isOwn` tells the lane's paths. */
export async function find(
  client: NfsClient,
  directories: ReadonlyMap<string, Uint8Array>,
  isOwn: (path: string) => boolean,
): Promise<Found> {
  const found = new Map<string, FoundFile>();
  const walk = async (path: string, directory: Uint8Array) => {
    for (const { name, handle, attributes } of await client.list(directory)) {
      const place = `${path}/${name}`;
      if (!isOwn(place)) continue;
      const content = attributes.type === TYPES.file ? await client.read(handle) : undefined;
      const target = attributes.type === TYPES.symlink ? await client.readlink(handle) : undefined;
      found.set(place, { handle, attributes, content, target });
      if (attributes.type === TYPES.directory) await walk(place, handle);
    }
  };
  for (const [path, handle] of directories) await walk(path, handle);
  return found;
}

/**
 * Contents are written to files wherever their names were: what was pending last may be found in each past too, also of a
 * file that was removed since.
 */
export function withLastContents(pasts: readonly LaneModel[], now: LaneModel): LaneModel[] {
  const last = new Map([...pasts, now].flatMap(({ files }) => [...files]));
  return pasts.map(({ names, files }) => ({
    names,
    files: new Map(
      [...files].map(([number, file]): [number, ModelFile] => {
        const content = last.get(number)?.content;
        const isSame = content !== undefined && content.committed === file.content.committed;
        return [number, isSame ? { ...file, content, mtime: undefined } : file];
      }),
    ),
  }));
}

/** With everything below it. */
export function renamed(model: LaneModel, from: string, to: string): LaneModel {
  const number = model.names.get(from)!;
  let after = withName(withoutName({ ...model, names: new Map(model.names).set(to, number) }, from), to, number);
  for (const [path, one] of model.names) {
    if (!path.startsWith(`${from}/`)) continue;
    after = withName(after, `${to}${path.slice(from.length)}`, one);
    after = withoutName(after, path);
  }
  return after;
}
