/** What changes names in a tree: making, linking, removing and renaming files. Each is one atomic change. */
import type { FileName } from "../bytes/file-name.ts";
import type { InodeAttributes } from "../disk/file-system-image.ts";
import { FILE_NAME_BYTES_MAX, LINKS_MAX } from "../limits.ts";
import { type NewAttributes, type NfsStatus, VolumeError } from "../nfs/volume.ts";
import type { LayerEntry } from "./layer.ts";
import type { NodeChange } from "./node-change.ts";
import type { NodeLayer } from "./node-layer.ts";

/** What a new file is, beside its attributes. */
export interface NewFile {
  type: InodeAttributes["type"];
  target?: FileName;
  device?: { major: number; minor: number };
  verifier?: Uint8Array;
}

export function attributesOf(layer: NodeLayer, id: number): InodeAttributes {
  const attributes = layer.attributes(id);
  if (attributes === undefined) throw new VolumeError("NFS3ERR_STALE");
  return attributes;
}

export function checkDirectory(layer: NodeLayer, id: number): void {
  if (attributesOf(layer, id).type !== "directory") throw new VolumeError("NFS3ERR_NOTDIR");
}

/** `.` and `..` are refused with `dots`. */
export function checkName(name: FileName, dots: NfsStatus): void {
  if (name.length > FILE_NAME_BYTES_MAX) throw new VolumeError("NFS3ERR_NAMETOOLONG");
  if (name === "" || /[/\0]/.test(name)) throw new VolumeError("NFS3ERR_INVAL");
  if (name === "." || name === "..") throw new VolumeError(dots);
}

/** The name in a directory, which must be there. */
function found(layer: NodeLayer, directoryId: number, name: FileName): LayerEntry & { attributes: InodeAttributes } {
  const entry = layer.lookup(directoryId, name);
  if (entry === undefined) throw new VolumeError("NFS3ERR_NOENT");
  return { ...entry, attributes: attributesOf(layer, entry.id) };
}

/** A directory's contents changed. */
function touch(change: NodeChange, directoryId: number, nowNs: bigint): void {
  const { attributes } = change.inode(directoryId);
  attributes.mtimeNs = nowNs;
  attributes.ctimeNs = nowNs;
}

function addLinks(change: NodeChange, id: number, count: number, nowNs: bigint): void {
  const { attributes } = change.inode(id);
  attributes.linkCount += count;
  attributes.ctimeNs = nowNs;
}

/** Makes a file with a new name and returns the change and its id. */
export function makeFile(
  layer: NodeLayer,
  directoryId: number,
  name: FileName,
  file: NewFile,
  wanted: NewAttributes,
  nowNs: bigint,
): { change: NodeChange; id: number } {
  checkDirectory(layer, directoryId);
  checkName(name, "NFS3ERR_EXIST");
  if (layer.lookup(directoryId, name) !== undefined) throw new VolumeError("NFS3ERR_EXIST");
  const isDirectory = file.type === "directory";
  const sizeBytes = isDirectory ? 4096 : (file.target?.length ?? 0);
  const timeNs = (time: NewAttributes["atime"]) => (typeof time === "bigint" ? time : nowNs);
  const attributes: InodeAttributes = {
    type: file.type,
    mode: wanted.mode & 0o7777,
    uid: wanted.uid,
    gid: wanted.gid,
    linkCount: isDirectory ? 2 : 1,
    sizeBytes,
    usedBytes: isDirectory ? 4096 : 0,
    device: file.device ?? { major: 0, minor: 0 },
    atimeNs: timeNs(wanted.atime),
    mtimeNs: timeNs(wanted.mtime),
    ctimeNs: nowNs,
  };
  const change = layer.begin();
  const id = change.add(attributes, {
    ...(isDirectory && { parentId: directoryId }),
    ...(file.target !== undefined && { target: file.target }),
    ...(file.verifier !== undefined && { verifier: file.verifier }),
  });
  change.setName(directoryId, name, id);
  touch(change, directoryId, nowNs);
  if (isDirectory) addLinks(change, directoryId, 1, nowNs);
  return { change, id };
}

export function link(layer: NodeLayer, id: number, directoryId: number, name: FileName, nowNs: bigint): NodeChange {
  const { type, linkCount } = attributesOf(layer, id);
  checkDirectory(layer, directoryId);
  checkName(name, "NFS3ERR_EXIST");
  if (type === "directory") throw new VolumeError("NFS3ERR_PERM");
  if (linkCount >= LINKS_MAX) throw new VolumeError("NFS3ERR_MLINK");
  if (layer.lookup(directoryId, name) !== undefined) throw new VolumeError("NFS3ERR_EXIST");
  const change = layer.begin();
  change.setName(directoryId, name, id);
  addLinks(change, id, 1, nowNs);
  touch(change, directoryId, nowNs);
  return change;
}

export function remove(layer: NodeLayer, directoryId: number, name: FileName, nowNs: bigint): NodeChange {
  checkDirectory(layer, directoryId);
  checkName(name, "NFS3ERR_INVAL");
  const entry = found(layer, directoryId, name);
  if (entry.attributes.type === "directory") throw new VolumeError("NFS3ERR_ISDIR");
  const change = layer.begin();
  unlink(change, entry.id, nowNs);
  change.removeName(directoryId, name);
  touch(change, directoryId, nowNs);
  return change;
}

function unlink(change: NodeChange, id: number, nowNs: bigint): void {
  if (change.linkCount(id) <= 1) change.removeInode(id);
  else addLinks(change, id, -1, nowNs);
}

export function removeDirectory(layer: NodeLayer, directoryId: number, name: FileName, nowNs: bigint): NodeChange {
  checkDirectory(layer, directoryId);
  checkName(name, "NFS3ERR_INVAL");
  const entry = found(layer, directoryId, name);
  if (entry.attributes.type !== "directory") throw new VolumeError("NFS3ERR_NOTDIR");
  checkEmpty(layer, entry.id);
  const change = layer.begin();
  change.removeInode(entry.id);
  change.removeName(directoryId, name);
  addLinks(change, directoryId, -1, nowNs);
  touch(change, directoryId, nowNs);
  return change;
}

function checkEmpty(layer: NodeLayer, directoryId: number): void {
  if (layer.entries(directoryId).length > 0) throw new VolumeError("NFS3ERR_NOTEMPTY");
}

/** `undefined` when there is nothing to do: both names are the same file. */
export function rename(
  layer: NodeLayer,
  from: { directoryId: number; name: FileName },
  to: { directoryId: number; name: FileName },
  nowNs: bigint,
): NodeChange | undefined {
  for (const { directoryId, name } of [from, to]) {
    checkDirectory(layer, directoryId);
    checkName(name, "NFS3ERR_INVAL");
  }
  const source = found(layer, from.directoryId, from.name);
  const existing = layer.lookup(to.directoryId, to.name);
  const isDirectory = source.attributes.type === "directory";
  const isSameName = from.directoryId === to.directoryId && layer.key(from.name) === layer.key(to.name);
  if (existing?.id === source.id && !(isSameName && source.name !== to.name)) return undefined;
  if (isDirectory) checkNotBelow(layer, to.directoryId, source.id);
  const change = layer.begin();
  if (existing !== undefined && !isSameName) {
    replace(layer, change, { ...existing, directoryId: to.directoryId }, isDirectory, nowNs);
  }
  change.setName(to.directoryId, to.name, source.id);
  if (!isSameName) change.removeName(from.directoryId, from.name);
  if (isDirectory && from.directoryId !== to.directoryId) {
    change.inode(source.id).parentId = to.directoryId;
    addLinks(change, from.directoryId, -1, nowNs);
    addLinks(change, to.directoryId, 1, nowNs);
  }
  touch(change, from.directoryId, nowNs);
  touch(change, to.directoryId, nowNs);
  change.inode(source.id).attributes.ctimeNs = nowNs;
  return change;
}

/** Takes away what stands at the new name of a file or directory. */
function replace(
  layer: NodeLayer,
  change: NodeChange,
  existing: LayerEntry & { directoryId: number },
  byDirectory: boolean,
  nowNs: bigint,
): void {
  const isDirectory = attributesOf(layer, existing.id).type === "directory";
  if (isDirectory && !byDirectory) throw new VolumeError("NFS3ERR_ISDIR");
  if (!isDirectory && byDirectory) throw new VolumeError("NFS3ERR_NOTDIR");
  if (isDirectory) {
    checkEmpty(layer, existing.id);
    change.removeInode(existing.id);
    addLinks(change, existing.directoryId, -1, nowNs);
  } else {
    unlink(change, existing.id, nowNs);
  }
}

/** A directory cannot be moved into itself. */
function checkNotBelow(layer: NodeLayer, directoryId: number, ancestorId: number): void {
  const passed = new Set<number>();
  for (let id = directoryId; id !== layer.rootId; id = layer.parentOf(id)) {
    if (id === ancestorId) throw new VolumeError("NFS3ERR_INVAL");
    // In a damaged image the way up may be a circle.
    if (passed.has(id)) throw new VolumeError("NFS3ERR_IO");
    passed.add(id);
  }
  if (ancestorId === layer.rootId) throw new VolumeError("NFS3ERR_INVAL");
}
