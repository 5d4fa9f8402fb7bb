/**
 * What generated files must keep over restarts: ids, by path and for all nodes of an image, and times, by content and
 * for one tree. NFS clients cache by both.
 */
import { createHash } from "node:crypto";
import { fileNameToBytes } from "../bytes/file-name.ts";
import { Reader } from "../bytes/reader.ts";
import { Writer } from "../bytes/writer.ts";
import { GENERATED_PATHS_MAX } from "../limits.ts";
import type { KeyValueStore, Mutation } from "../ports.ts";
import type { PlacedFile } from "./placed-file.ts";

/** Paths in the order of their ids. Only ever grows. */
export class GeneratedPaths {
  readonly #key: Uint8Array;
  readonly #paths: string[] = [];
  readonly #indexes = new Map<string, number>();
  #storedCount = 0;

  constructor(store: KeyValueStore, key: Uint8Array) {
    this.#key = key;
    const bytes = store.get(key);
    if (bytes === undefined) return;
    const reader = new Reader(bytes, "generated paths record");
    while (reader.remainingBytes > 0) {
      const path = Buffer.from(reader.bytes(reader.u16("length"), "path")).toString("utf8");
      this.#add(path);
    }
    this.#storedCount = this.#paths.length;
  }

  get paths(): readonly string[] {
    return this.#paths;
  }

  #add(path: string): number {
    const index = this.#paths.push(path) - 1;
    this.#indexes.set(path, index);
    return index;
  }

  indexFor(path: string): number {
    const known = this.#indexes.get(path);
    if (known !== undefined) return known;
    if (this.#paths.length >= GENERATED_PATHS_MAX) {
      throw new Error(
        `Cannot place ${JSON.stringify(path)}: the image has had ${GENERATED_PATHS_MAX} other generated paths already; import it anew to start over`,
      );
    }
    return this.#add(path);
  }

  /** What must be stored before an id is shown to anybody. */
  mutations(): Mutation[] {
    if (this.#storedCount === this.#paths.length) return [];
    const writer = new Writer(4096);
    for (const path of this.#paths) {
      const bytes = Buffer.from(path, "utf8");
      writer.u16(bytes.length).bytes(bytes);
    }
    this.#storedCount = this.#paths.length;
    return [{ put: this.#key, value: writer.finish() }];
  }
}

const FINGERPRINT_BYTES = 16;

/** A file keeps its time as long as it stays the same, and gets the present time when it does not. */
export class GeneratedTimes {
  readonly #key: Uint8Array;
  readonly #before = new Map<string, bigint>();
  readonly #now = new Map<string, bigint>();
  readonly #nowNs: bigint;

  constructor(store: KeyValueStore, key: Uint8Array, nowNs: bigint) {
    this.#key = key;
    this.#nowNs = nowNs;
    const bytes = store.get(key);
    if (bytes === undefined) return;
    const reader = new Reader(bytes, "generated times record");
    while (reader.remainingBytes > 0) {
      const fingerprint = Buffer.from(reader.bytes(FINGERPRINT_BYTES, "fingerprint")).toString("hex");
      this.#before.set(fingerprint, BigInt.asIntN(64, reader.u64("time")));
    }
  }

  timeNsFor(file: PlacedFile): bigint {
    const fingerprint = fingerprintOf(file);
    const timeNs = this.#before.get(fingerprint) ?? this.#nowNs;
    this.#now.set(fingerprint, timeNs);
    return timeNs;
  }

  /** Times that were asked for, by fingerprint. */
  get asked(): ReadonlyMap<string, bigint> {
    return this.#now;
  }

  mutations(): Mutation[] {
    const isSame = this.#now.size === this.#before.size && [...this.#now.keys()].every((key) => this.#before.has(key));
    if (isSame) return [];
    const writer = new Writer(2048);
    for (const [fingerprint, timeNs] of this.#now) {
      writer.bytes(Buffer.from(fingerprint, "hex")).u64(BigInt.asUintN(64, timeNs));
    }
    return [{ put: this.#key, value: writer.finish() }];
  }
}

/** Tells files apart by path, attributes and contents. */
export function fingerprintOf(file: PlacedFile): string {
  const hash = createHash("sha256");
  const owner = file.kind === "file" || file.kind === "directory" ? [file.mode, file.uid, file.gid] : [];
  hash.update(JSON.stringify([file.path, file.kind, ...owner]));
  if (file.kind === "file") hash.update(file.content);
  if (file.kind === "symlink") hash.update(fileNameToBytes(file.target));
  return hash.digest("hex").slice(0, FINGERPRINT_BYTES * 2);
}
