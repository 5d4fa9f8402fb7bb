/**
 * How layers are kept in the key-value store: keys and records. Numbers are big-endian, ids 48 bits.
 *
 *     L <layer id> e <directory id> <name key>    name in a directory: file id (0: hidden), cookie, name as given
 *     L <layer id> i <file id>           inode override; a single zero byte: removed
 *     L <layer id> n                     ids below this one are taken
 *     L <layer id> d <slot>              a call that was done: sequence, file id, identity
 *     L <layer id> u                     usage: bytes of contents, number of inode records
 *     L <layer id> p                     the layer it lies on; without it, the layer lies on the generated files
 */
import type { FileName } from "../bytes/file-name.ts";
import { fileNameFromBytes, fileNameToBytes } from "../bytes/file-name.ts";
import { Reader } from "../bytes/reader.ts";
import { Writer } from "../bytes/writer.ts";
import type { FileType } from "../disk/file-system-image.ts";
import type { CallIdentity } from "../nfs/volume.ts";
import type { LayerEntry } from "./layer.ts";
import type { LayerUsage } from "./layer-usage.ts";
import { type InodeOverride, REMOVED } from "./overlay-layer.ts";

const FILE_TYPES: readonly FileType[] = ["file", "directory", "symlink", "block", "character", "fifo", "socket"];
const LAYER = "L".charCodeAt(0);
const ENTRY = "e".charCodeAt(0);
const INODE = "i".charCodeAt(0);
const NEXT_ID = "n".charCodeAt(0);
const USAGE = "u".charCodeAt(0);
const PARENT = "p".charCodeAt(0);
const DONE_CALL = "d".charCodeAt(0);

const FLAG_WHOLE = 1;
const FLAG_VERIFIER = 2;
const FLAG_DATA = 4;
const FLAG_INLINE = 8;

export interface KeyRange {
  from: Uint8Array;
  to: Uint8Array;
}

export const LAYERS_RANGE: KeyRange = { from: Buffer.from("L"), to: Buffer.from("M") };

export function layerRange(layerId: number): KeyRange {
  return { from: layerKey(layerId, 0), to: layerKey(layerId, 0xff) };
}

export function inodeRange(layerId: number): KeyRange {
  return { from: layerKey(layerId, INODE), to: layerKey(layerId, INODE + 1) };
}

export function inodeKey(layerId: number, id: number): Uint8Array {
  return putId(new Writer(16).u8(LAYER).u32(layerId).u8(INODE), id).finish();
}

export function idFromInodeKey(key: Uint8Array): number {
  const reader = new Reader(key, "inode key", 6);
  return getId(reader, "id");
}

/** All names of a directory. */
export function entryRange(layerId: number, directoryId: number): KeyRange {
  return { from: entryKey(layerId, directoryId, ""), to: entryKey(layerId, directoryId + 1, "") };
}

export function entryKey(layerId: number, directoryId: number, nameKey: string): Uint8Array {
  const writer = putId(new Writer(64).u8(LAYER).u32(layerId).u8(ENTRY), directoryId);
  return writer.bytes(Buffer.from(nameKey, "latin1")).finish();
}

export function usageKey(layerId: number): Uint8Array {
  return layerKey(layerId, USAGE);
}

export function encodeUsage({ contentBytes, files }: LayerUsage): Uint8Array {
  return putId(putId(new Writer(12), contentBytes), files).finish();
}

export function decodeUsage(bytes: Uint8Array): LayerUsage {
  const reader = new Reader(bytes, "usage record");
  return { contentBytes: getId(reader, "content bytes"), files: getId(reader, "files") };
}

export function nextIdKey(layerId: number): Uint8Array {
  return layerKey(layerId, NEXT_ID);
}

export function parentKey(layerId: number): Uint8Array {
  return layerKey(layerId, PARENT);
}

export interface DoneCall {
  identity: CallIdentity;
  fileId: number;
  /** Rises by one with each call of the layer. */
  sequence: number;
}

export function doneCallRange(layerId: number): KeyRange {
  return { from: layerKey(layerId, DONE_CALL), to: layerKey(layerId, DONE_CALL + 1) };
}

export function doneCallKey(layerId: number, slot: number): Uint8Array {
  return new Writer(8).u8(LAYER).u32(layerId).u8(DONE_CALL).u16(slot).finish();
}

export function encodeDoneCall({ identity, fileId, sequence }: DoneCall): Uint8Array {
  const writer = putId(putId(new Writer(64), sequence), fileId);
  return writer.bytes(Buffer.from(identity, "latin1")).finish();
}

export function decodeDoneCall(bytes: Uint8Array): DoneCall {
  const reader = new Reader(bytes, "done call record");
  const sequence = getId(reader, "sequence");
  const fileId = getId(reader, "file id");
  return { identity: Buffer.from(reader.rest()).toString("latin1"), fileId, sequence };
}

/** The letter of what a key of a layer is for. */
export function partOfLayerKey(key: Uint8Array): string {
  return String.fromCharCode(new Reader(key, "layer key", 5).u8("part"));
}

export function directoryIdFromEntryKey(key: Uint8Array): number {
  return getId(new Reader(key, "entry key", 6), "directory id");
}

export function layerIdOfKey(key: Uint8Array): number {
  return new Reader(key, "layer key", 1).u32("layer id");
}

function layerKey(layerId: number, part: number): Uint8Array {
  return new Writer(8).u8(LAYER).u32(layerId).u8(part).finish();
}

export function putId(writer: Writer, id: number): Writer {
  return writer.u16(Math.floor(id / 2 ** 32)).u32(id % 2 ** 32);
}

export function getId(reader: Reader, field: string): number {
  return reader.u16(field) * 2 ** 32 + reader.u32(field);
}

export function encodeLayerId(layerId: number): Uint8Array {
  return new Writer(4).u32(layerId).finish();
}

export function decodeLayerId(bytes: Uint8Array): number {
  return new Reader(bytes, "layer parent record").u32("layer id");
}

export function encodeId(id: number): Uint8Array {
  return putId(new Writer(8), id).finish();
}

export function decodeId(bytes: Uint8Array): number {
  return getId(new Reader(bytes, "id record"), "id");
}

export function encodeEntry(entry: LayerEntry): Uint8Array {
  const writer = putId(putId(new Writer(48), entry.id), entry.cookie);
  return writer.bytes(fileNameToBytes(entry.name)).finish();
}

export function decodeEntry(bytes: Uint8Array): LayerEntry {
  const reader = new Reader(bytes, "directory entry record");
  const id = getId(reader, "id");
  const cookie = getId(reader, "cookie");
  return { name: fileNameFromBytes(reader.rest()), id, cookie };
}

export function encodeInode(inode: InodeOverride | typeof REMOVED): Uint8Array {
  if (inode === REMOVED) return Uint8Array.of(0);
  const { attributes, data, verifier } = inode;
  const flags =
    (inode.whole ? FLAG_WHOLE : 0) |
    (verifier === undefined ? 0 : FLAG_VERIFIER) |
    (data === undefined ? 0 : FLAG_DATA) |
    (data?.inline === undefined ? 0 : FLAG_INLINE);
  const writer = new Writer(160 + (data?.inline?.length ?? 0));
  writer
    .u8(1 + FILE_TYPES.indexOf(attributes.type))
    .u8(flags)
    .u16(attributes.mode);
  writer.u32(attributes.uid).u32(attributes.gid);
  writer.u32(attributes.linkCount >>> 0);
  putId(putId(writer, attributes.sizeBytes), attributes.usedBytes);
  writer.u32(attributes.device.major).u32(attributes.device.minor);
  for (const time of [attributes.atimeNs, attributes.mtimeNs, attributes.ctimeNs]) writer.u64(BigInt.asUintN(64, time));
  putId(putId(writer, inode.parentId), inode.nextCookie);
  writer.u16(inode.target.length).bytes(fileNameToBytes(inode.target));
  if (verifier !== undefined) writer.bytes(verifier);
  if (data !== undefined) {
    putId(writer, data.inheritedBytes).u32(data.ranges.length);
    for (const offset of data.ranges) putId(writer, offset);
    if (data.inline !== undefined) writer.bytes(data.inline);
  }
  return writer.finish();
}

export function decodeInode(bytes: Uint8Array): InodeOverride | typeof REMOVED {
  const reader = new Reader(bytes, "inode record");
  const type = reader.u8("type");
  if (type === 0) return REMOVED;
  const fileType = FILE_TYPES[type - 1];
  if (fileType === undefined) throw reader.error("type", `${type} is not a file type`);
  const flags = reader.u8("flags");
  const attributes = {
    type: fileType,
    mode: reader.u16("mode"),
    uid: reader.u32("uid"),
    gid: reader.u32("gid"),
    linkCount: reader.u32("links") | 0,
    sizeBytes: getId(reader, "size"),
    usedBytes: getId(reader, "used"),
    device: { major: reader.u32("major"), minor: reader.u32("minor") },
    atimeNs: BigInt.asIntN(64, reader.u64("atime")),
    mtimeNs: BigInt.asIntN(64, reader.u64("mtime")),
    ctimeNs: BigInt.asIntN(64, reader.u64("ctime")),
  };
  return {
    attributes,
    whole: (flags & FLAG_WHOLE) !== 0,
    parentId: getId(reader, "parent"),
    nextCookie: getId(reader, "next cookie"),
    target: fileNameFromBytes(reader.bytes(reader.u16("target length"), "target")) as FileName,
    verifier: flags & FLAG_VERIFIER ? new Uint8Array(reader.bytes(8, "verifier")) : undefined,
    data: flags & FLAG_DATA ? decodeData(reader, (flags & FLAG_INLINE) !== 0) : undefined,
  };
}

function decodeData(reader: Reader, isInline: boolean) {
  const inheritedBytes = getId(reader, "inherited");
  const count = reader.u32("range count");
  const ranges: number[] = [];
  for (let index = 0; index < count; index += 1) ranges.push(getId(reader, "range"));
  return { inheritedBytes, ranges, inline: isInline ? new Uint8Array(reader.rest()) : undefined };
}
