/** One NFS call on its way through a procedure, and what all procedures are made of. */
import type { Ipv4 } from "../bytes/addresses.ts";
import type { FileName } from "../bytes/file-name.ts";
import { FILE_NAME_BYTES_MAX } from "../limits.ts";
import { type Subject, writePostAttributes, writeWcc } from "./attributes.ts";
import { identityOf } from "./duplicate-calls.ts";
import type { Exports } from "./exports.ts";
import type { HandleCodec } from "./handle.ts";
import type { FileChange } from "./observation.ts";
import { demandDelete, isSticky } from "./permission.ts";
import type { Credentials, RpcCall } from "./rpc.ts";
import { type Task, wait } from "./task.ts";
import type { TreeCounters } from "./tree-counters.ts";
import { type CallIdentity, type Volume, type VolumeAttributes, VolumeError } from "./volume.ts";
import type { Encode, XdrReader, XdrWriter } from "./xdr.ts";

/**
 * One of the 22 procedures. `decode` reads all arguments (throwing `DecodeError` becomes GARBAGE_ARGS) before `run`
 * does anything; `run` returns the body that follows NFS3_OK or throws a `VolumeError`. The body of an error reply
 * is made of `failure`: the optional attributes of the call's subjects, in the order `run` looked them up.
 */
export interface Procedure<Args> {
  readonly name: string;
  /** Not to be run again for a repeated call, and refused on a read-only volume. */
  readonly changes: boolean;
  readonly failure: readonly ("attributes" | "wcc")[];
  decode(args: XdrReader): Args;
  run(call: NfsCall, args: Args): Task<Encode>;
}

/** What a service gives to each of its calls. */
export interface CallEnvironment {
  readonly exports: Exports;
  readonly handles: HandleCodec;
  /** 8 bytes, other ones with every start of the server: clients then send again what was not committed. */
  readonly writeVerifier: Uint8Array;
  counters(treeId: number): TreeCounters;
  onForbiddenHandle(client: Ipv4, treeId: number): void;
  onFileChanged(change: FileChange): void;
}

export class NfsCall {
  readonly environment: CallEnvironment;
  readonly client: Ipv4;
  readonly who: Credentials;
  readonly #changes: boolean;
  /** Set by the first handle that is resolved; `volume` is not there before. */
  treeId = 0;
  counters: TreeCounters | undefined;
  /** For how many calls this one is counted where not all are: `CallSampling`. */
  readonly weight: number;
  #volume: Volume | undefined;
  /** Files whose attributes the reply carries, in the order of the reply. */
  readonly subjects: Subject[] = [];
  /** How large the answer may get, for accounting while the call waits. */
  replyBytesMax = 0;
  /** Set for calls that a client may repeat and that must not be run twice. */
  repeatable: RpcCall | undefined;

  constructor(environment: CallEnvironment, client: Ipv4, who: Credentials, changes: boolean, weight: number) {
    this.environment = environment;
    this.client = client;
    this.who = who;
    this.#changes = changes;
    this.weight = weight;
  }

  /** For changes of names, which a volume makes once for each call. */
  get identity(): CallIdentity | undefined {
    return this.repeatable && identityOf(this.repeatable, this.client);
  }

  get volume(): Volume {
    if (this.#volume === undefined) throw new Error("Cannot use the volume: no handle was resolved yet");
    return this.#volume;
  }

  /** Resolves a handle to a file of this client's. All handles of a call must be of one tree. */
  *file(handle: Uint8Array): Task<Subject> {
    const id = this.#resolve(handle);
    const attributes = yield* wait(this.volume.getattr(id));
    const subject = { id, before: attributes, after: attributes };
    this.subjects.push(subject);
    if (this.#changes && this.volume.readOnly) throw new VolumeError("NFS3ERR_ROFS");
    return subject;
  }

  *directory(handle: Uint8Array): Task<Subject> {
    const subject = yield* this.file(handle);
    if (subject.before.type !== "directory") throw new VolumeError("NFS3ERR_NOTDIR");
    return subject;
  }

  #resolve(bytes: Uint8Array): number {
    const handle = this.environment.handles.read(bytes);
    if (handle === undefined) throw new VolumeError("NFS3ERR_BADHANDLE");
    const volume = this.environment.exports.volume(handle.treeId, this.client);
    if (volume === "forbidden") {
      this.environment.onForbiddenHandle(this.client, handle.treeId);
      throw new VolumeError("NFS3ERR_ACCES");
    }
    if (volume === undefined) throw new VolumeError("NFS3ERR_STALE");
    this.counters ??= this.environment.counters(handle.treeId);
    if (volume.epoch !== handle.epoch) throw new VolumeError("NFS3ERR_STALE");
    if (this.#volume === undefined) {
      this.#volume = volume;
      this.treeId = handle.treeId;
    } else if (this.treeId !== handle.treeId) {
      throw new VolumeError("NFS3ERR_XDEV");
    }
    return handle.fileId;
  }

  /** Looks at a subject again after it may have changed. One that is gone by now has no attributes to tell. */
  *refresh(subject: Subject): Task<void> {
    subject.after = yield* this.attributesIfThere(subject.id);
  }

  *attributesIfThere(id: number): Task<VolumeAttributes | undefined> {
    try {
      return yield* wait(this.volume.getattr(id));
    } catch (error) {
      if (error instanceof VolumeError) return undefined;
      throw error;
    }
  }

  /** For REMOVE, RMDIR and RENAME: the named file, if there is one, may go from this directory. */
  *demandDeletable(directory: Subject, name: FileName): Task<void> {
    if (!isSticky(directory.before)) return;
    const id = yield* wait(this.volume.lookup(directory.id, name));
    if (id !== undefined) demandDelete(this.who, directory.before, yield* wait(this.volume.getattr(id)));
  }

  /**
   * `writeverf3` as it is now. A WRITE takes it before it begins: if its data are lost before it is answered, the client
   * must see another one with the next COMMIT.
   */
  writeVerifier(): Uint8Array {
    const verifier = new Uint8Array(this.environment.writeVerifier);
    const low = new DataView(verifier.buffer, 4);
    low.setUint32(0, (low.getUint32(0) + (this.volume.lossCount ?? 0)) >>> 0);
    return verifier;
  }

  changed(fileId: number, place?: FileChange["place"]): void {
    this.environment.onFileChanged({ treeId: this.treeId, fileId, ...(place && { place }) });
  }

  writeHandle(reply: XdrWriter, id: number): void {
    this.environment.handles.write(reply, this.treeId, id, this.volume.epoch);
  }

  /** `post_op_fh3` and `post_op_attr` of a new file, then `wcc_data` of its directory: what all makers answer. */
  writeNew(reply: XdrWriter, id: number, attributes: VolumeAttributes | undefined, directory: Subject): void {
    reply.bool(true);
    this.writeHandle(reply, id);
    this.writeAttributes(reply, attributes);
    this.writeWcc(reply, directory);
  }

  writeAttributes(reply: XdrWriter, attributes: VolumeAttributes | undefined): void {
    writePostAttributes(reply, this.#volume?.fsid ?? 0n, attributes);
  }

  writeWcc(reply: XdrWriter, subject: Subject | undefined): void {
    writeWcc(reply, this.#volume?.fsid ?? 0n, subject);
  }
}

/** Refuses what cannot be the name of a new or removed entry. */
export function checkName(name: FileName): void {
  if (name.length > FILE_NAME_BYTES_MAX) throw new VolumeError("NFS3ERR_NAMETOOLONG");
  if (name === "" || name === "." || name === ".." || /[/\0]/.test(name)) throw new VolumeError("NFS3ERR_INVAL");
}
