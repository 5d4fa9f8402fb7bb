/**
 * Attributes on the wire: `fattr3`, `sattr3`, `wcc_data` and their optional forms, RFC 1813 2.5 and 2.6.
 */
import { type AttributeChanges, type VolumeAttributes, VolumeError, type VolumeFileType } from "./volume.ts";
import type { XdrReader, XdrWriter } from "./xdr.ts";

/** `ftype3`. */
export const FILE_TYPE: Record<VolumeFileType, number> = {
  file: 1,
  directory: 2,
  block: 3,
  character: 4,
  symlink: 5,
  socket: 6,
  fifo: 7,
};

const TIME_HOW = { DONT_CHANGE: 0, SET_TO_SERVER_TIME: 1, SET_TO_CLIENT_TIME: 2 } as const;
const NS_PER_S = 1_000_000_000;
const SECONDS_MAX = 0xffff_ffff;
const MODE_BITS = 0o7777;
const U32_MAX = 0xffff_ffff;

/** A file whose attributes a reply carries: as they were before the operation, and after it. */
export interface Subject {
  readonly id: number;
  before: VolumeAttributes;
  /** The same object as `before` until the operation may have changed the file; `undefined` if it is gone. */
  after: VolumeAttributes | undefined;
}

const splitNs = new DataView(new ArrayBuffer(8));

/**
 * `nfstime3`: unsigned seconds and nanoseconds, so 1970 to 2106; times outside are sent as the nearest one inside.
 * The division by 10^9 is done in steps of 16 bits on plain numbers, without `%`: far cheaper than on BigInt.
 */
export function writeTime(writer: XdrWriter, timeNs: bigint): void {
  splitNs.setBigInt64(0, timeNs);
  const high = splitNs.getInt32(0);
  if (high < 0) {
    writer.u32(0).u32(0);
    return;
  }
  const low = splitNs.getUint32(4);
  const highSeconds = Math.floor(high / NS_PER_S);
  const upper = (high - highSeconds * NS_PER_S) * 0x1_0000 + (low >>> 16);
  const upperSeconds = Math.floor(upper / NS_PER_S);
  const lower = (upper - upperSeconds * NS_PER_S) * 0x1_0000 + (low & 0xffff);
  const lowerSeconds = Math.floor(lower / NS_PER_S);
  const seconds = highSeconds * 0x1_0000_0000 + upperSeconds * 0x1_0000 + lowerSeconds;
  if (seconds > SECONDS_MAX) writer.u32(SECONDS_MAX).u32(NS_PER_S - 1);
  else writer.u32(seconds).u32(lower - lowerSeconds * NS_PER_S);
}

export function readTime(reader: XdrReader, field: string): bigint {
  const seconds = reader.u32(field);
  const nanoseconds = reader.u32(field);
  if (nanoseconds >= NS_PER_S) throw reader.error(field, `${nanoseconds} nanoseconds are more than a second`);
  return BigInt(seconds) * BigInt(NS_PER_S) + BigInt(nanoseconds);
}

/** What `fattr3` takes. */
export const ATTRIBUTES_BYTES = 84;
/** Where it has the fsid, which is not the file's own. */
export const FSID_AT = 44;

export function writeAttributes(writer: XdrWriter, fsid: bigint, attributes: VolumeAttributes): void {
  writer
    .u32(FILE_TYPE[attributes.type])
    .u32(attributes.mode & MODE_BITS)
    .u32(Math.min(attributes.linkCount, U32_MAX))
    .u32(attributes.uid)
    .u32(attributes.gid)
    .hyper(attributes.sizeBytes)
    .hyper(attributes.usedBytes)
    .u32(attributes.device.major)
    .u32(attributes.device.minor)
    .u64(fsid)
    .hyper(attributes.id);
  writeTime(writer, attributes.atimeNs);
  writeTime(writer, attributes.mtimeNs);
  writeTime(writer, attributes.ctimeNs);
}

/** `post_op_attr`. */
export function writePostAttributes(writer: XdrWriter, fsid: bigint, attributes: VolumeAttributes | undefined): void {
  writer.bool(attributes !== undefined);
  if (attributes !== undefined) writeAttributes(writer, fsid, attributes);
}

/** `wcc_data`: lets the client see that nobody else changed the file meanwhile, and keep its cache. */
export function writeWcc(writer: XdrWriter, fsid: bigint, subject: Subject | undefined): void {
  writer.bool(subject !== undefined);
  if (subject !== undefined) {
    writer.hyper(subject.before.sizeBytes);
    writeTime(writer, subject.before.mtimeNs);
    writeTime(writer, subject.before.ctimeNs);
  }
  writePostAttributes(writer, fsid, subject?.after);
}

/** `sattr3`. */
export function readAttributeChanges(reader: XdrReader): AttributeChanges {
  const changes: AttributeChanges = {};
  if (reader.bool("set mode")) changes.mode = reader.u32("mode") & MODE_BITS;
  if (reader.bool("set uid")) changes.uid = reader.u32("uid");
  if (reader.bool("set gid")) changes.gid = reader.u32("gid");
  if (reader.bool("set size")) changes.sizeBytes = reader.hyper("size");
  const atime = readTimeChange(reader, "atime");
  if (atime !== undefined) changes.atime = atime;
  const mtime = readTimeChange(reader, "mtime");
  if (mtime !== undefined) changes.mtime = mtime;
  return changes;
}

function readTimeChange(reader: XdrReader, field: string): bigint | "server" | undefined {
  const how = reader.u32(field);
  switch (how) {
    case TIME_HOW.DONT_CHANGE:
      return undefined;
    case TIME_HOW.SET_TO_SERVER_TIME:
      return "server";
    case TIME_HOW.SET_TO_CLIENT_TIME:
      return readTime(reader, field);
    default:
      throw reader.error(field, `${how} is no time_how`);
  }
}

/** Sizes and offsets that a number cannot hold exactly are larger than any file here. */
export function checkFileSize(sizeBytes: number): void {
  if (!Number.isSafeInteger(sizeBytes)) throw new VolumeError("NFS3ERR_FBIG");
}
