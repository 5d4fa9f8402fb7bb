/**
 * How trees, snapshots and what generated files keep are kept in the key-value store: keys and records. Layers are in
 * `store-records.ts`. Numbers are big-endian, ids 48 bits.
 *
 *     S                                  store: format, next tree id, next layer id, random id of the store
 *     T <node> NUL <kind>                tree: tree id, epoch, active layer, first id of the node's files, image
 *     N <node> NUL <name>                snapshot: time, and of each tree its layer and image
 *     P <image> NUL <kind>               paths that generated layers ever added to the image, in order of their ids
 *     G <tree id>                        times of the tree's generated files, by fingerprint
 */
import { Reader } from "../bytes/reader.ts";
import { Writer } from "../bytes/writer.ts";
import { getId, type KeyRange, putId } from "./store-records.ts";
import { TREE_KINDS, type TreeKind } from "./tree-description.ts";

/** A tree as the store knows it. */
export interface TreeRecord {
  treeId: number;
  epoch: number;
  layerId: number;
  /** The first id of the node's own files: fixes the image as well as its name does. */
  firstId: number;
  imageId: string;
}

export interface StoreRecord {
  nextTreeId: number;
  nextLayerId: number;
  /** Makes the fsids of two stores different. */
  storeId: number;
}

/** 2 added snapshots. What 1 wrote means the same in 2. */
const FORMAT = 2;
const FORMATS_READ = [1, 2];

export const STORE_KEY = Uint8Array.of("S".charCodeAt(0));
export const TREE_RANGE: KeyRange = { from: Buffer.from("T"), to: Buffer.from("U") };

export const SNAPSHOTS_RANGE: KeyRange = { from: Buffer.from("N"), to: Buffer.from("O") };

export function treeKey(node: string, kind: string): Uint8Array {
  return Buffer.from(`T${node}\0${kind}`, "utf8");
}

export function generatedPathsKey(imageId: string, kind: string): Uint8Array {
  return Buffer.from(`P${imageId}\0${kind}`, "utf8");
}

export function generatedTimesKey(treeId: number): Uint8Array {
  return new Writer(8).bytes(Buffer.from("G")).u32(treeId).finish();
}

export function encodeStore(record: StoreRecord): Uint8Array {
  const writer = new Writer(16).u32(FORMAT).u32(record.nextTreeId).u32(record.nextLayerId).u32(record.storeId);
  return writer.finish();
}

export function decodeStore(bytes: Uint8Array): StoreRecord {
  const reader = new Reader(bytes, "tree store record");
  const format = reader.u32("format");
  if (!FORMATS_READ.includes(format)) {
    throw reader.error("format", `${format} is none of those that this version reads: ${FORMATS_READ.join(", ")}`);
  }
  return {
    nextTreeId: reader.u32("next tree"),
    nextLayerId: reader.u32("next layer"),
    storeId: reader.u32("store id"),
  };
}

export function encodeTree(record: TreeRecord): Uint8Array {
  const writer = new Writer(64).u32(record.treeId).u32(record.epoch).u32(record.layerId);
  return putId(writer, record.firstId).bytes(Buffer.from(record.imageId, "utf8")).finish();
}

export function decodeTree(bytes: Uint8Array): TreeRecord {
  const reader = new Reader(bytes, "tree record");
  return {
    treeId: reader.u32("tree id"),
    epoch: reader.u32("epoch"),
    layerId: reader.u32("layer id"),
    firstId: getId(reader, "first id"),
    imageId: Buffer.from(reader.rest()).toString("utf8"),
  };
}

/** The state of a node's trees at one time. */
export interface SnapshotRecord {
  takenMs: number;
  trees: readonly SnapshotTree[];
}

export interface SnapshotTree {
  kind: TreeKind;
  /** A frozen layer. */
  layerId: number;
  firstId: number;
  imageId: string;
}

/** Snapshot names have no NUL. */
export function snapshotKey(node: string, name: string): Uint8Array {
  return Buffer.from(`N${node}\0${name}`, "utf8");
}

export function snapshotNameOfKey(key: Uint8Array): string {
  const text = Buffer.from(key).toString("utf8");
  return text.slice(text.indexOf("\0") + 1);
}

/** The parts of the key of a tree or a snapshot. */
export function nodeOfKey(key: Uint8Array): { node: string; rest: string } {
  const [node = "", rest = ""] = Buffer.from(key).toString("utf8").slice(1).split("\0");
  return { node, rest };
}

export function snapshotRange(node: string): KeyRange {
  return { from: snapshotKey(node, ""), to: Buffer.from(`N${node}\x01`, "utf8") };
}

export function encodeSnapshot({ takenMs, trees }: SnapshotRecord): Uint8Array {
  const writer = new Writer(256).u64(BigInt(takenMs)).u8(trees.length);
  for (const { kind, layerId, firstId, imageId } of trees) {
    putText(putId(putText(writer, kind).u32(layerId), firstId), imageId);
  }
  return writer.finish();
}

export function decodeSnapshot(bytes: Uint8Array): SnapshotRecord {
  const reader = new Reader(bytes, "snapshot record");
  const takenMs = Number(reader.u64("time"));
  const trees: SnapshotTree[] = [];
  for (let left = reader.u8("tree count"); left > 0; left -= 1) {
    trees.push({
      kind: getKind(reader),
      layerId: reader.u32("layer id"),
      firstId: getId(reader, "first id"),
      imageId: getText(reader, "image"),
    });
  }
  reader.end();
  return { takenMs, trees };
}

function getKind(reader: Reader): TreeKind {
  const text = getText(reader, "kind");
  const kind = TREE_KINDS.find((each) => each === text);
  if (kind === undefined) throw reader.error("kind", `${text} is none of ${TREE_KINDS.join(", ")}`);
  return kind;
}

function putText(writer: Writer, text: string): Writer {
  const bytes = Buffer.from(text, "utf8");
  return writer.u16(bytes.length).bytes(bytes);
}

function getText(reader: Reader, field: string): string {
  return Buffer.from(reader.bytes(reader.u16(`${field} length`), field)).toString("utf8");
}
