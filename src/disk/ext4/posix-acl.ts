/**
 * POSIX access control lists. ext4 stores them its own way (fs/ext4/acl.h, version 1: ids only where a tag has
 * one); programs know them as Linux's extended attribute (include/uapi/linux/posix_acl_xattr.h, version 2).
 */
import { Reader } from "../../bytes/reader.ts";
import { Writer } from "../../bytes/writer.ts";

const DISK_VERSION = 1;
const ATTRIBUTE_VERSION = 2;
const NO_ID = 0xffffffff;

const TAGS_WITH_ID = new Set([0x02, 0x08]);
const TAGS_WITHOUT_ID = new Set([0x01, 0x04, 0x10, 0x20]);

/** From the form on disk to the form that `getxattr` gives. Throws `DecodeError`. */
export function aclFromDisk(bytes: Uint8Array, format: string): Uint8Array {
  const reader = new Reader(bytes, format);
  const version = reader.u32LE("a_version");
  if (version !== DISK_VERSION) throw reader.error("a_version", `version ${version} instead of ${DISK_VERSION}`);
  const writer = new Writer(bytes.length * 2).u32LE(ATTRIBUTE_VERSION);
  while (reader.remainingBytes > 0) {
    const tag = reader.u16LE("e_tag");
    const permissions = reader.u16LE("e_perm");
    if (!TAGS_WITH_ID.has(tag) && !TAGS_WITHOUT_ID.has(tag)) throw reader.error("e_tag", `unknown tag ${tag}`);
    writer
      .u16LE(tag)
      .u16LE(permissions)
      .u32LE(TAGS_WITH_ID.has(tag) ? reader.u32LE("e_id") : NO_ID);
  }
  return writer.finish().slice();
}
