/** Test support: a volume that lives in memory, complete enough for the Linux kernel client to work on. */
import type { FileName } from "../bytes/file-name.ts";
import {
  type AttributeChanges,
  type CreateHow,
  type NewAttributes,
  type SpecialFile,
  type Volume,
  type VolumeAttributes,
  type VolumeEntry,
  VolumeError,
  type VolumeSpace,
} from "./volume.ts";

interface MemoryFile {
  attributes: VolumeAttributes;
  /** Contents of a plain file; larger than `sizeBytes` while it grows. */
  bytes: Uint8Array;
  target: FileName;
  /** Entries of a directory in the order they were made; a cookie is never used twice. */
  entries: Map<FileName, { id: number; cookie: number }>;
  parentId: number;
  verifier: Uint8Array | undefined;
}

const DOT_COOKIE = 1;
const DOT_DOT_COOKIE = 2;
const FREE_BYTES = 2 ** 40;

export class MemoryVolume implements Volume {
  readonly fsid: bigint;
  readonly rootId = 2;
  readOnly = false;
  caseSensitive = true;
  epoch = 1;
  lossCount = 0;
  readonly #files = new Map<number, MemoryFile>();
  readonly #nowNs: () => bigint;
  #lastId = 10;
  #lastCookie = DOT_DOT_COOKIE;

  /** `nowNs`: the time for new attributes. */
  constructor(options: { fsid?: bigint; nowNs?: () => bigint } = {}) {
    this.fsid = options.fsid ?? 1n;
    let ticks = 1_700_000_000_000_000_000n;
    this.#nowNs = options.nowNs ?? (() => ++ticks);
    this.#files.set(this.rootId, this.#newFile(this.rootId, "directory", { mode: 0o755, uid: 0, gid: 0 }));
    this.#file(this.rootId).parentId = this.rootId;
  }

  getattr(id: number): VolumeAttributes {
    return { ...this.#file(id).attributes };
  }

  setattr(id: number, changes: AttributeChanges, guardCtimeNs?: bigint): VolumeAttributes {
    const file = this.#file(id);
    const { attributes } = file;
    if (guardCtimeNs !== undefined && guardCtimeNs !== attributes.ctimeNs) throw new VolumeError("NFS3ERR_NOT_SYNC");
    const now = this.#nowNs();
    if (changes.sizeBytes !== undefined) {
      resize(file, changes.sizeBytes);
      attributes.mtimeNs = now;
    }
    attributes.mode = changes.mode ?? attributes.mode;
    attributes.uid = changes.uid ?? attributes.uid;
    attributes.gid = changes.gid ?? attributes.gid;
    if (changes.atime !== undefined) attributes.atimeNs = changes.atime === "server" ? now : changes.atime;
    if (changes.mtime !== undefined) attributes.mtimeNs = changes.mtime === "server" ? now : changes.mtime;
    attributes.ctimeNs = now;
    return { ...attributes };
  }

  lookup(directoryId: number, name: FileName): number | undefined {
    const directory = this.#directory(directoryId);
    if (name === ".") return directoryId;
    if (name === "..") return directory.parentId;
    return directory.entries.get(name)?.id;
  }

  readlink(id: number): FileName {
    return this.#file(id).target;
  }

  read(id: number, offset: number, countBytes: number): { bytes: Uint8Array; endOfFile: boolean } {
    const { bytes, attributes } = this.#file(id);
    const end = Math.min(offset + countBytes, attributes.sizeBytes);
    return { bytes: bytes.subarray(Math.min(offset, end), end), endOfFile: end >= attributes.sizeBytes };
  }

  write(id: number, offset: number, bytes: Uint8Array): void {
    const file = this.#file(id);
    resize(file, Math.max(file.attributes.sizeBytes, offset + bytes.length));
    file.bytes.set(bytes, offset);
    file.attributes.mtimeNs = file.attributes.ctimeNs = this.#nowNs();
  }

  commit(id: number): void {
    this.#file(id);
  }

  create(directoryId: number, name: FileName, how: CreateHow, attributes: NewAttributes): number {
    const existingId = this.lookup(directoryId, name);
    if (existingId === undefined) {
      const id = this.#add(directoryId, name, "file", attributes);
      if (how.kind === "exclusive") this.#file(id).verifier = how.verifier;
      return id;
    }
    const existing = this.#file(existingId);
    if (how.kind === "guarded" || existing.attributes.type !== "file") throw new VolumeError("NFS3ERR_EXIST");
    if (how.kind === "exclusive" && !(existing.verifier && Buffer.from(existing.verifier).equals(how.verifier))) {
      throw new VolumeError("NFS3ERR_EXIST");
    }
    if (attributes.sizeBytes !== undefined) this.setattr(existingId, { sizeBytes: attributes.sizeBytes });
    return existingId;
  }

  mkdir(directoryId: number, name: FileName, attributes: NewAttributes): number {
    return this.#add(directoryId, name, "directory", attributes);
  }

  symlink(directoryId: number, name: FileName, target: FileName, attributes: NewAttributes): number {
    const id = this.#add(directoryId, name, "symlink", attributes);
    const file = this.#file(id);
    file.target = target;
    file.attributes.sizeBytes = target.length;
    return id;
  }

  mknod(directoryId: number, name: FileName, special: SpecialFile, attributes: NewAttributes): number {
    const id = this.#add(directoryId, name, special.type, attributes);
    if ("device" in special) this.#file(id).attributes.device = special.device;
    return id;
  }

  link(id: number, directoryId: number, name: FileName): void {
    const file = this.#file(id);
    this.#enter(directoryId, name, id);
    file.attributes.linkCount++;
    file.attributes.ctimeNs = this.#nowNs();
  }

  remove(directoryId: number, name: FileName): void {
    const id = this.#existing(directoryId, name);
    if (this.#file(id).attributes.type === "directory") throw new VolumeError("NFS3ERR_ISDIR");
    this.#leave(directoryId, name);
    this.#unlink(id);
  }

  rmdir(directoryId: number, name: FileName): void {
    const id = this.#existing(directoryId, name);
    if (this.#directory(id).entries.size > 0) throw new VolumeError("NFS3ERR_NOTEMPTY");
    this.#leave(directoryId, name);
    this.#files.delete(id);
    this.#file(directoryId).attributes.linkCount--;
  }

  rename(fromDirectoryId: number, fromName: FileName, toDirectoryId: number, toName: FileName): void {
    const id = this.#existing(fromDirectoryId, fromName);
    const replacedId = this.lookup(toDirectoryId, toName);
    if (replacedId === id) return;
    const isDirectory = this.#file(id).attributes.type === "directory";
    for (let above = toDirectoryId; isDirectory; above = this.#file(above).parentId) {
      if (above === id) throw new VolumeError("NFS3ERR_INVAL");
      if (above === this.rootId) break;
    }
    if (replacedId !== undefined) {
      const replacesDirectory = this.#file(replacedId).attributes.type === "directory";
      if (isDirectory && !replacesDirectory) throw new VolumeError("NFS3ERR_NOTDIR");
      if (!isDirectory && replacesDirectory) throw new VolumeError("NFS3ERR_ISDIR");
      if (isDirectory) this.rmdir(toDirectoryId, toName);
      else this.remove(toDirectoryId, toName);
    }
    this.#leave(fromDirectoryId, fromName);
    this.#enter(toDirectoryId, toName, id);
    if (isDirectory && fromDirectoryId !== toDirectoryId) {
      this.#file(id).parentId = toDirectoryId;
      this.#file(fromDirectoryId).attributes.linkCount--;
      this.#file(toDirectoryId).attributes.linkCount++;
    }
    this.#file(id).attributes.ctimeNs = this.#nowNs();
  }

  readdir(directoryId: number, cookie: number, limit: number): { entries: VolumeEntry[]; complete: boolean } {
    const directory = this.#directory(directoryId);
    const entries: VolumeEntry[] = [];
    const add = (name: FileName, id: number, at: number): boolean => {
      if (at <= cookie) return true;
      if (entries.length === limit) return false;
      entries.push({ name, id, cookie: at });
      return true;
    };
    add("." as FileName, directoryId, DOT_COOKIE);
    let complete = add(".." as FileName, directory.parentId, DOT_DOT_COOKIE);
    for (const [name, entry] of directory.entries) {
      complete &&= add(name, entry.id, entry.cookie);
      if (!complete) break;
    }
    return { entries, complete };
  }

  statfs(): VolumeSpace {
    return {
      totalBytes: FREE_BYTES * 2,
      freeBytes: FREE_BYTES,
      availableBytes: FREE_BYTES,
      totalFiles: 2 ** 32,
      freeFiles: 2 ** 32 - this.#files.size,
    };
  }

  #file(id: number): MemoryFile {
    const file = this.#files.get(id);
    if (file === undefined) throw new VolumeError("NFS3ERR_STALE");
    return file;
  }

  #directory(id: number): MemoryFile {
    const file = this.#file(id);
    if (file.attributes.type !== "directory") throw new VolumeError("NFS3ERR_NOTDIR");
    return file;
  }

  #existing(directoryId: number, name: FileName): number {
    const id = this.lookup(directoryId, name);
    if (id === undefined) throw new VolumeError("NFS3ERR_NOENT");
    return id;
  }

  #add(directoryId: number, name: FileName, type: VolumeAttributes["type"], attributes: NewAttributes): number {
    const id = ++this.#lastId;
    this.#enter(directoryId, name, id);
    const file = this.#newFile(id, type, attributes);
    this.#files.set(id, file);
    if (type === "directory") {
      file.parentId = directoryId;
      this.#file(directoryId).attributes.linkCount++;
    }
    return id;
  }

  #newFile(id: number, type: VolumeAttributes["type"], initial: NewAttributes): MemoryFile {
    const now = this.#nowNs();
    const { mode, uid, gid, sizeBytes = 0 } = initial;
    const attributes: VolumeAttributes = {
      ...{ id, type, mode, uid, gid, sizeBytes: 0, usedBytes: 0, device: { major: 0, minor: 0 } },
      linkCount: type === "directory" ? 2 : 1,
      ...{ atimeNs: now, mtimeNs: now, ctimeNs: now },
    };
    const bytes = new Uint8Array(0);
    const file = { attributes, bytes, target: "" as FileName, entries: new Map(), parentId: 0, verifier: undefined };
    resize(file, sizeBytes);
    return file;
  }

  #enter(directoryId: number, name: FileName, id: number): void {
    const directory = this.#directory(directoryId);
    if (directory.entries.has(name)) throw new VolumeError("NFS3ERR_EXIST");
    directory.entries.set(name, { id, cookie: ++this.#lastCookie });
    directory.attributes.mtimeNs = directory.attributes.ctimeNs = this.#nowNs();
  }

  #leave(directoryId: number, name: FileName): void {
    const directory = this.#directory(directoryId);
    directory.entries.delete(name);
    directory.attributes.mtimeNs = directory.attributes.ctimeNs = this.#nowNs();
  }

  #unlink(id: number): void {
    const { attributes } = this.#file(id);
    attributes.linkCount--;
    attributes.ctimeNs = this.#nowNs();
    if (attributes.linkCount === 0) this.#files.delete(id);
  }
}

function resize(file: MemoryFile, sizeBytes: number): void {
  if (sizeBytes > file.bytes.length) {
    if (sizeBytes > 2 ** 30) throw new VolumeError("NFS3ERR_FBIG");
    const grown = new Uint8Array(Math.max(sizeBytes, file.bytes.length * 2));
    grown.set(file.bytes);
    file.bytes = grown;
  }
  if (sizeBytes < file.attributes.sizeBytes) file.bytes.fill(0, sizeBytes, file.attributes.sizeBytes);
  file.attributes.sizeBytes = sizeBytes;
  file.attributes.usedBytes = Math.ceil(sizeBytes / 4096) * 4096;
}
