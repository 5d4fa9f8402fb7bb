/** A file system image made out of memory, for tests: what ext4 and FAT images are, without their bytes. */
import { type FileName, fileNameFromText } from "../bytes/file-name.ts";
import {
  type DirectoryEntry,
  type FileSystemImage,
  type FileType,
  type InodeAttributes,
  occupiedBytes,
} from "../disk/file-system-image.ts";
import { nameKey } from "./layer.ts";

/** Text or bytes: a file. `{ link }`: another name of the file at that path. A map: a directory. */
export type ImageNode =
  | string
  | Uint8Array
  | { symlink: string }
  | { link: string }
  | { special: Exclude<FileType, "file" | "directory" | "symlink"> }
  | { directory: Record<string, ImageNode> };

interface MemoryInode {
  attributes: InodeAttributes;
  content: Uint8Array;
  target: FileName;
  entries: DirectoryEntry[];
  parent: number;
}

export const IMAGE_TIME_NS = 1_700_000_000_000_000_000n;

const ROOT_ID = 2;
const FIRST_ID = 11;

export class MemoryImage implements FileSystemImage {
  readonly kind: string;
  readonly label = "memory";
  readonly uuid = "00000000-0000-0000-0000-000000000000";
  readonly rootId = ROOT_ID;
  readonly sizeBytes = 2 ** 30;
  readonly freeBytes = 2 ** 29;
  readonly caseSensitive: boolean;
  readonly #inodes = new Map<number, MemoryInode>();
  #nextId = FIRST_ID;

  constructor(root: Record<string, ImageNode>, options: { caseSensitive?: boolean } = {}) {
    this.caseSensitive = options.caseSensitive ?? true;
    this.kind = this.caseSensitive ? "ext4" : "fat32";
    this.#add(ROOT_ID, "directory", ROOT_ID);
    this.#fill(ROOT_ID, root);
  }

  #add(id: number, type: FileType, parent: number, content: Uint8Array = new Uint8Array(0), target = ""): MemoryInode {
    const sizeBytes = type === "directory" ? 4096 : type === "symlink" ? target.length : content.length;
    const inode: MemoryInode = {
      attributes: {
        type,
        mode: type === "directory" ? 0o755 : 0o644,
        uid: 0,
        gid: 0,
        linkCount: type === "directory" ? 2 : 1,
        sizeBytes,
        usedBytes: occupiedBytes(sizeBytes),
        device: type === "character" || type === "block" ? { major: 1, minor: 3 } : { major: 0, minor: 0 },
        atimeNs: IMAGE_TIME_NS,
        mtimeNs: IMAGE_TIME_NS,
        ctimeNs: IMAGE_TIME_NS,
      },
      content,
      target: fileNameFromText(target),
      entries: [],
      parent,
    };
    this.#inodes.set(id, inode);
    return inode;
  }

  #fill(directoryId: number, nodes: Record<string, ImageNode>): void {
    for (const [name, node] of Object.entries(nodes)) {
      const linked = typeof node === "object" && "link" in node ? this.idOf(node.link) : undefined;
      const id = linked ?? this.#nextId++;
      this.#inodes.get(directoryId)!.entries.push({ name: fileNameFromText(name), id });
      if (linked === undefined) this.#make(id, directoryId, node);
      else this.#inodes.get(linked)!.attributes.linkCount += 1;
    }
  }

  #make(id: number, directoryId: number, node: ImageNode): void {
    if (typeof node === "string") this.#add(id, "file", directoryId, Buffer.from(node));
    else if (node instanceof Uint8Array) this.#add(id, "file", directoryId, node);
    else if ("symlink" in node) this.#add(id, "symlink", directoryId, undefined, node.symlink);
    else if ("special" in node) this.#add(id, node.special, directoryId);
    else if ("directory" in node) {
      this.#add(id, "directory", directoryId);
      this.#inodes.get(directoryId)!.attributes.linkCount += 1;
      this.#fill(id, node.directory);
    }
  }

  /** The id at a path without symlinks, which must be there. */
  idOf(path: string): number {
    let id: number | undefined = ROOT_ID;
    for (const component of path.split("/").filter(Boolean)) {
      id = id === undefined ? undefined : this.lookup(id, fileNameFromText(component));
    }
    if (id === undefined) throw new Error(`Cannot find ${path} in the memory image: no such file`);
    return id;
  }

  get lastId(): number {
    return this.#nextId - 1;
  }

  attributes(id: number): InodeAttributes | undefined {
    return this.#inodes.get(id)?.attributes;
  }

  entries(directoryId: number): DirectoryEntry[] {
    return this.#inodes.get(directoryId)?.entries ?? [];
  }

  lookup(directoryId: number, name: FileName): number | undefined {
    const key = nameKey(name, this.caseSensitive);
    return this.entries(directoryId).find((entry) => nameKey(entry.name, this.caseSensitive) === key)?.id;
  }

  parent(directoryId: number): number {
    return this.#inodes.get(directoryId)!.parent;
  }

  symlinkTarget(id: number): FileName {
    return this.#inodes.get(id)!.target;
  }

  extendedAttributes(): Map<string, Uint8Array> {
    return new Map();
  }

  readFileSync(id: number, target: Uint8Array, offset: number): number {
    const content = this.#inodes.get(id)?.content ?? new Uint8Array(0);
    const found = content.subarray(Math.min(offset, content.length), offset + target.length);
    target.set(found);
    return found.length;
  }

  readFileNow(id: number, target: Uint8Array, offset: number): number {
    return this.readFileSync(id, target, offset);
  }

  async readFile(id: number, target: Uint8Array, offset: number): Promise<number> {
    return this.readFileSync(id, target, offset);
  }

  usedIds(): Iterable<number> {
    return [...this.#inodes.keys()].sort((one, other) => one - other);
  }

  close(): void {}
}
