/**
 * A tree as its clients see it. While its layers are exchanged its gate is shut: calls wait, and go on with the new
 * layers. A call that waited while everything was dropped is refused as stale: it was meant for what is gone.
 */
import type { FileName } from "../bytes/file-name.ts";
import type {
  AttributeChanges,
  CallIdentity,
  CreateHow,
  NewAttributes,
  SpecialFile,
  Volume,
  VolumeEntry,
} from "../nfs/volume.ts";
import { VolumeError } from "../nfs/volume.ts";
import type { XdrWriter } from "../nfs/xdr.ts";
import { Latch } from "../order/latch.ts";
import type { Awaitable } from "../ports.ts";
import type { Tree } from "./tree.ts";

export class GatedVolume implements Volume {
  readonly #tree: Tree;
  #gate: Latch | undefined;
  #inFlight = 0;
  #onIdle: (() => void) | undefined;
  #isGone = false;

  constructor(tree: Tree) {
    this.#tree = tree;
  }

  /** Lets no new call in. Resolves when those under way are over. */
  async shut(): Promise<void> {
    this.#gate ??= new Latch();
    if (this.#inFlight > 0) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
  }

  open(): void {
    const gate = this.#gate;
    this.#gate = undefined;
    gate?.open();
  }

  /** The tree will not be open again: whoever waits is refused as stale. */
  end(): void {
    this.#isGone = true;
    this.open();
  }

  #run<T>(operation: (tree: Tree) => Awaitable<T>): Awaitable<T> {
    if (this.#isGone) throw new VolumeError("NFS3ERR_STALE");
    if (this.#gate !== undefined) return this.#runLater(operation);
    const result = operation(this.#tree);
    if (result instanceof Promise) {
      this.#inFlight += 1;
      result.then(this.#leave, this.#leave);
    }
    return result;
  }

  async #runLater<T>(operation: (tree: Tree) => Awaitable<T>): Promise<T> {
    const { epoch } = this.#tree;
    while (this.#gate !== undefined) await this.#gate.opened;
    if (this.#isGone || this.#tree.epoch !== epoch) throw new VolumeError("NFS3ERR_STALE");
    return this.#run(operation);
  }

  readonly #leave = (): void => {
    this.#inFlight -= 1;
    if (this.#inFlight === 0) this.#onIdle?.();
  };

  get fsid(): bigint {
    return this.#tree.fsid;
  }

  get rootId(): number {
    return this.#tree.rootId;
  }

  get readOnly(): boolean {
    return this.#tree.readOnly;
  }

  get caseSensitive(): boolean {
    return this.#tree.caseSensitive;
  }

  get epoch(): number {
    return this.#tree.epoch;
  }

  get lossCount(): number {
    return this.#tree.lossCount;
  }

  getattr(id: number) {
    return this.#run((tree) => tree.getattr(id));
  }

  writeAttributes(id: number, writer: XdrWriter): boolean {
    return !this.#isGone && this.#gate === undefined && this.#tree.writeAttributes(id, writer);
  }

  writeEntries(directoryId: number, listed: readonly VolumeEntry[], writer: XdrWriter): boolean {
    return !this.#isGone && this.#gate === undefined && this.#tree.writeEntries(directoryId, listed, writer);
  }

  setattr(id: number, changes: AttributeChanges, guardCtimeNs?: bigint, call?: CallIdentity) {
    return this.#run((tree) => tree.setattr(id, changes, guardCtimeNs, call));
  }

  lookup(directoryId: number, name: FileName) {
    return this.#run((tree) => tree.lookup(directoryId, name));
  }

  readlink(id: number) {
    return this.#run((tree) => tree.readlink(id));
  }

  read(id: number, offset: number, countBytes: number) {
    return this.#run((tree) => tree.read(id, offset, countBytes));
  }

  readRange(id: number, offset: number, countBytes: number) {
    return this.#run((tree) => tree.readRange(id, offset, countBytes));
  }

  write(id: number, offset: number, bytes: Uint8Array, stable: boolean) {
    return this.#run((tree) => tree.write(id, offset, bytes, stable));
  }

  commit(id: number) {
    return this.#run((tree) => tree.commit(id));
  }

  create(directoryId: number, name: FileName, how: CreateHow, attributes: NewAttributes, call?: CallIdentity) {
    return this.#run((tree) => tree.create(directoryId, name, how, attributes, call));
  }

  mkdir(directoryId: number, name: FileName, attributes: NewAttributes, call?: CallIdentity) {
    return this.#run((tree) => tree.mkdir(directoryId, name, attributes, call));
  }

  symlink(directoryId: number, name: FileName, target: FileName, attributes: NewAttributes, call?: CallIdentity) {
    return this.#run((tree) => tree.symlink(directoryId, name, target, attributes, call));
  }

  mknod(directoryId: number, name: FileName, special: SpecialFile, attributes: NewAttributes, call?: CallIdentity) {
    return this.#run((tree) => tree.mknod(directoryId, name, special, attributes, call));
  }

  link(id: number, directoryId: number, name: FileName, call?: CallIdentity) {
    return this.#run((tree) => tree.link(id, directoryId, name, call));
  }

  remove(directoryId: number, name: FileName, call?: CallIdentity) {
    return this.#run((tree) => tree.remove(directoryId, name, call));
  }

  rmdir(directoryId: number, name: FileName, call?: CallIdentity) {
    return this.#run((tree) => tree.rmdir(directoryId, name, call));
  }

  rename(fromDirectoryId: number, fromName: FileName, toDirectoryId: number, toName: FileName, call?: CallIdentity) {
    return this.#run((tree) => tree.rename(fromDirectoryId, fromName, toDirectoryId, toName, call));
  }

  readdir(directoryId: number, cookie: number, limit: number) {
    return this.#run((tree) => tree.readdir(directoryId, cookie, limit));
  }

  statfs() {
    return this.#run((tree) => tree.statfs());
  }
}
