/**
 * The changes of names in a tree: files are made, linked, renamed and removed. Each is one transaction; with a `call`, one
 * that finds what the call did before.
 */
import type { FileName } from "../bytes/file-name.ts";
import {
  type AttributeChanges,
  type CallIdentity,
  type CreateHow,
  type NewAttributes,
  type SpecialFile,
  type VolumeAttributes,
  VolumeError,
} from "../nfs/volume.ts";
import type { Awaitable } from "../ports.ts";
import type { NodeChange } from "./node-change.ts";
import type { NodeLayer } from "./node-layer.ts";
import * as names from "./tree-names.ts";
import { refusing } from "./volume-failure.ts";

export abstract class TreeNaming {
  /** The layer the node writes to. */
  abstract get nodeLayer(): NodeLayer;
  /** Rises with every change. */
  protected abstract nowNs(): bigint;
  abstract getattr(id: number): VolumeAttributes;
  abstract setattr(id: number, changes: AttributeChanges): Awaitable<VolumeAttributes>;

  create(
    directoryId: number,
    name: FileName,
    how: CreateHow,
    attributes: NewAttributes,
    call?: CallIdentity,
  ): Awaitable<number> {
    return refusing(() => {
      names.checkDirectory(this.nodeLayer, directoryId);
      names.checkName(name, "NFS3ERR_EXIST");
      const existing = this.nodeLayer.lookup(directoryId, name);
      const isDone = this.nodeLayer.doneCalls.find(call) !== undefined;
      if (existing !== undefined && !isDone) return this.#createAgain(existing.id, how, attributes);
      const verifier = how.kind === "exclusive" ? { verifier: new Uint8Array(how.verifier) } : {};
      const id = this.#make(directoryId, name, { type: "file", ...verifier }, attributes, call);
      if (!attributes.sizeBytes) return id;
      return id.then(async (id) => {
        await this.setattr(id, { sizeBytes: attributes.sizeBytes! });
        return id;
      });
    });
  }

  async #createAgain(id: number, how: CreateHow, attributes: NewAttributes): Promise<number> {
    if (how.kind === "guarded") throw new VolumeError("NFS3ERR_EXIST");
    if (how.kind === "exclusive") {
      const record = this.nodeLayer.record(id);
      const verifier = typeof record === "object" ? record.verifier : undefined;
      if (verifier === undefined || Buffer.compare(verifier, how.verifier) !== 0)
        throw new VolumeError("NFS3ERR_EXIST");
      // The first CREATE may still be on its way to the store.
      await this.nodeLayer.shared.store.write([]);
      return id;
    }
    if (this.getattr(id).type !== "file") throw new VolumeError("NFS3ERR_EXIST");
    if (attributes.sizeBytes !== undefined) await this.setattr(id, { sizeBytes: attributes.sizeBytes });
    return id;
  }

  async #make(
    directoryId: number,
    name: FileName,
    file: names.NewFile,
    attributes: NewAttributes,
    call?: CallIdentity,
  ): Promise<number> {
    const done = this.nodeLayer.doneCalls.find(call);
    if (done !== undefined) return done;
    const { change, id } = names.makeFile(this.nodeLayer, directoryId, name, file, attributes, this.nowNs());
    await change.by(call, id).commit();
    return id;
  }

  mkdir(directoryId: number, name: FileName, attributes: NewAttributes, call?: CallIdentity): Awaitable<number> {
    return refusing(() => this.#make(directoryId, name, { type: "directory" }, attributes, call));
  }

  symlink(
    directoryId: number,
    name: FileName,
    target: FileName,
    attributes: NewAttributes,
    call?: CallIdentity,
  ): Awaitable<number> {
    return refusing(() => this.#make(directoryId, name, { type: "symlink", target }, attributes, call));
  }

  mknod(
    directoryId: number,
    name: FileName,
    special: SpecialFile,
    attributes: NewAttributes,
    call?: CallIdentity,
  ): Awaitable<number> {
    return refusing(() => this.#make(directoryId, name, special, attributes, call));
  }

  /** A change of names that makes no file. */
  #once(call: CallIdentity | undefined, id: number, change: () => NodeChange | undefined): Awaitable<void> {
    return refusing(() =>
      this.nodeLayer.doneCalls.find(call) === undefined ? change()?.by(call, id).commit() : undefined,
    );
  }

  link(id: number, directoryId: number, name: FileName, call?: CallIdentity): Awaitable<void> {
    return this.#once(call, id, () => names.link(this.nodeLayer, id, directoryId, name, this.nowNs()));
  }

  remove(directoryId: number, name: FileName, call?: CallIdentity): Awaitable<void> {
    return this.#once(call, directoryId, () => names.remove(this.nodeLayer, directoryId, name, this.nowNs()));
  }

  rmdir(directoryId: number, name: FileName, call?: CallIdentity): Awaitable<void> {
    return this.#once(call, directoryId, () => names.removeDirectory(this.nodeLayer, directoryId, name, this.nowNs()));
  }

  rename(
    fromDirectoryId: number,
    fromName: FileName,
    toDirectoryId: number,
    toName: FileName,
    call?: CallIdentity,
  ): Awaitable<void> {
    const from = { directoryId: fromDirectoryId, name: fromName };
    const to = { directoryId: toDirectoryId, name: toName };
    return this.#once(call, fromDirectoryId, () => names.rename(this.nodeLayer, from, to, this.nowNs()));
  }
}
