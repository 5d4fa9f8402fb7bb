/**
 * The last calls that changed names in a layer, stored in the same transaction as what they changed. A manager that is
 * killed after that and before its answer finds them, so that the call which the client then repeats is answered as done.
 *
 * A ring: each record takes the place of the oldest one. A layer on others goes on with theirs.
 */
import { DONE_CALLS_PER_LAYER_MAX } from "../limits.ts";
import type { CallIdentity } from "../nfs/volume.ts";
import type { KeyValueStore, Mutation } from "../ports.ts";
import { type DoneCall, decodeDoneCall, doneCallKey, doneCallRange, encodeDoneCall } from "./store-records.ts";
import { layersDownFrom } from "./stored-layers.ts";

export class DoneCalls {
  readonly #layerId: number;
  readonly #store: KeyValueStore;
  /** By identity; read from the store at the first use. */
  #calls: Map<CallIdentity, DoneCall> | undefined;
  readonly #slots: (DoneCall | undefined)[] = [];
  #nextSequence = 0;

  constructor(layerId: number, store: KeyValueStore) {
    this.#layerId = layerId;
    this.#store = store;
  }

  /** The file that the call made or changed; `undefined` when it was not done here lately. */
  find(identity: CallIdentity | undefined): number | undefined {
    return identity === undefined ? undefined : this.#known.get(identity)?.fileId;
  }

  /** What must be stored with the change that the call makes. */
  note(identity: CallIdentity, fileId: number): Mutation {
    const calls = this.#known;
    const call = { identity, fileId, sequence: this.#nextSequence++ };
    const slot = this.#keep(calls, call);
    return { put: doneCallKey(this.#layerId, slot), value: encodeDoneCall(call) };
  }

  /** The store has undone writes. */
  forget(): void {
    this.#calls = undefined;
  }

  get #known(): Map<CallIdentity, DoneCall> {
    this.#calls ??= this.#load();
    return this.#calls;
  }

  #load(): Map<CallIdentity, DoneCall> {
    const calls = new Map<CallIdentity, DoneCall>();
    this.#slots.length = 0;
    for (const call of this.#stored()) {
      this.#keep(calls, call);
      this.#nextSequence = Math.max(this.#nextSequence, call.sequence + 1);
    }
    return calls;
  }

  /** Of this layer, and before them those of the layers below as far as the ring reaches: a snapshot may come between. */
  #stored(): DoneCall[] {
    let stored: DoneCall[] = [];
    for (const layerId of layersDownFrom(this.#store, this.#layerId)) {
      if (stored.length >= DONE_CALLS_PER_LAYER_MAX) break;
      const { from, to } = doneCallRange(layerId);
      stored = [...Array.from(this.#store.range(from, to), ({ value }) => decodeDoneCall(value)), ...stored];
    }
    return stored;
  }

  #keep(calls: Map<CallIdentity, DoneCall>, call: DoneCall): number {
    const slot = call.sequence % DONE_CALLS_PER_LAYER_MAX;
    const replaced = this.#slots[slot];
    if (replaced !== undefined && calls.get(replaced.identity) === replaced) calls.delete(replaced.identity);
    this.#slots[slot] = call;
    calls.set(call.identity, call);
    return slot;
  }
}
