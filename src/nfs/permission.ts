/**
 * Who may do what, decided as Linux's own NFS server does (fs/nfsd/vfs.c, fs/attr.c), since Linux clients rely on its
 * details. Ids come from AUTH_SYS; uid 0 is not squashed, because it is the root of the node's own system.
 *
 * Set-id bits are cleared here too, not in the volume: on WRITE and truncation by others than root, and on every
 * change of owner or group.
 */
import type { Credentials } from "./rpc.ts";
import { type AttributeChanges, type NewAttributes, type VolumeAttributes, VolumeError } from "./volume.ts";

export const READ = 4;
export const WRITE = 2;
export const EXECUTE = 1;

const SET_UID = 0o4000;
const SET_GID = 0o2000;
const STICKY = 0o1000;
const GROUP_EXECUTE = 0o010;
const ANY_EXECUTE = 0o111;

/** Bits of ACCESS3args. */
export const ACCESS = { READ: 0x01, LOOKUP: 0x02, MODIFY: 0x04, EXTEND: 0x08, DELETE: 0x10, EXECUTE: 0x20 } as const;

function isInGroup(who: Credentials, gid: number): boolean {
  return who.gid === gid || who.groups.includes(gid);
}

/** Whether the mode bits grant all of `wanted` (READ, WRITE, EXECUTE or-ed). */
function permits(who: Credentials, file: VolumeAttributes, wanted: number): boolean {
  if (who.uid === 0) {
    return (wanted & EXECUTE) === 0 || file.type === "directory" || (file.mode & ANY_EXECUTE) !== 0;
  }
  if (who.uid === file.uid) return ((file.mode >> 6) & wanted) === wanted;
  if (isInGroup(who, file.gid)) return ((file.mode >> 3) & wanted) === wanted;
  return (file.mode & wanted) === wanted;
}

export function demand(who: Credentials, file: VolumeAttributes, wanted: number): void {
  if (!permits(who, file, wanted)) throw new VolumeError("NFS3ERR_ACCES");
}

/** For READ. Who may execute may read (the client pages programs in), and an owner reads what it has open. */
export function demandRead(who: Credentials, file: VolumeAttributes): void {
  if (who.uid === file.uid || permits(who, file, READ) || permits(who, file, EXECUTE)) return;
  throw new VolumeError("NFS3ERR_ACCES");
}

/** For WRITE and truncation. An owner writes what it has open, even after `chmod a-w`: NFS has no open files. */
export function demandWrite(who: Credentials, file: VolumeAttributes): void {
  if (who.uid === file.uid || permits(who, file, WRITE)) return;
  throw new VolumeError("NFS3ERR_ACCES");
}

/** For taking a name out of a directory: in a sticky one (`/tmp`) only the file's or directory's owner may. */
export function demandDelete(who: Credentials, directory: VolumeAttributes, victim: VolumeAttributes): void {
  const restricted = (directory.mode & STICKY) !== 0 && who.uid !== 0;
  if (restricted && who.uid !== victim.uid && who.uid !== directory.uid) throw new VolumeError("NFS3ERR_PERM");
}

export function isSticky(directory: VolumeAttributes): boolean {
  return (directory.mode & STICKY) !== 0;
}

/** Which of the `asked` ACCESS bits are granted. Bits without meaning for the file type are not. */
export function grantedAccess(who: Credentials, file: VolumeAttributes, asked: number): number {
  let granted = 0;
  if (permits(who, file, READ)) granted |= ACCESS.READ;
  if (file.type === "directory") {
    if (permits(who, file, EXECUTE)) granted |= ACCESS.LOOKUP;
    if (permits(who, file, WRITE | EXECUTE)) granted |= ACCESS.MODIFY | ACCESS.EXTEND | ACCESS.DELETE;
  } else {
    if (permits(who, file, WRITE)) granted |= ACCESS.MODIFY | ACCESS.EXTEND;
    if (file.type === "file" && permits(who, file, EXECUTE)) granted |= ACCESS.EXECUTE;
  }
  return granted & asked;
}

/** Checks a SETATTR and returns it with what must change along. */
export function authorizeChanges(
  who: Credentials,
  file: VolumeAttributes,
  requested: AttributeChanges,
): AttributeChanges {
  const changes = { ...requested };
  const isRoot = who.uid === 0;
  const isOwner = who.uid === file.uid;
  const mayChangeOwner = isRoot || (isOwner && (changes.uid ?? file.uid) === file.uid);
  const mayChangeGroup =
    isRoot || (isOwner && ((changes.gid ?? file.gid) === file.gid || isInGroup(who, changes.gid ?? file.gid)));
  if (changes.uid !== undefined && !mayChangeOwner) throw new VolumeError("NFS3ERR_PERM");
  if (changes.gid !== undefined && !mayChangeGroup) throw new VolumeError("NFS3ERR_PERM");
  if (changes.mode !== undefined && !isRoot && !isOwner) throw new VolumeError("NFS3ERR_PERM");
  demandTimes(who, file, changes);
  if (changes.sizeBytes !== undefined) {
    if (file.type !== "file") throw new VolumeError(file.type === "directory" ? "NFS3ERR_ISDIR" : "NFS3ERR_INVAL");
    demandWrite(who, file);
  }

  if (changes.mode !== undefined && !isRoot && !isInGroup(who, changes.gid ?? file.gid)) changes.mode &= ~SET_GID;
  const ownershipChanges = changes.uid !== undefined || changes.gid !== undefined;
  const contentChanges = changes.sizeBytes !== undefined && !isRoot;
  if (file.type !== "directory" && (ownershipChanges || contentChanges)) {
    const mode = changes.mode ?? file.mode;
    const cleared = withoutSetIds(who, file, mode);
    if (cleared !== mode) changes.mode = cleared;
  }
  return changes;
}

function demandTimes(who: Credentials, file: VolumeAttributes, changes: AttributeChanges): void {
  if (who.uid === 0 || who.uid === file.uid) return;
  if (typeof changes.atime === "bigint" || typeof changes.mtime === "bigint") throw new VolumeError("NFS3ERR_PERM");
  // Whoever may write a file may say that it was used now, but not set one time and keep the other: utimensat(2).
  const setsOne = (changes.atime === undefined) !== (changes.mtime === undefined);
  if (setsOne && changes.sizeBytes === undefined) throw new VolumeError("NFS3ERR_PERM");
  if (changes.atime === "server" || changes.mtime === "server") demand(who, file, WRITE);
}

/** The mode a file must get because `who` wrote to it, or `undefined` when it stays. */
export function modeAfterWrite(who: Credentials, file: VolumeAttributes): number | undefined {
  const cleared = withoutSetIds(who, file, file.mode);
  return who.uid === 0 || cleared === file.mode ? undefined : cleared;
}

/** Without group execution, the set-gid bit once meant mandatory locking: Linux leaves it to those of the group. */
function withoutSetIds(who: Credentials, file: VolumeAttributes, mode: number): number {
  const keepsSetGid = (mode & GROUP_EXECUTE) === 0 && (who.uid === 0 || isInGroup(who, file.gid));
  return mode & ~SET_UID & (keepsSetGid ? ~0 : ~SET_GID);
}

/** What a new file in `directory` starts with: set-gid directories hand their group down. */
export function attributesForNew(
  who: Credentials,
  directory: VolumeAttributes,
  requested: AttributeChanges,
  type: "file" | "directory" | "other",
): NewAttributes {
  const inheritsGroup = (directory.mode & SET_GID) !== 0;
  const isRoot = who.uid === 0;
  const uid = isRoot && requested.uid !== undefined ? requested.uid : who.uid;
  const ownGroup = isRoot && requested.gid !== undefined ? requested.gid : who.gid;
  const gid = inheritsGroup ? directory.gid : ownGroup;
  let mode = requested.mode ?? 0;
  if (type === "directory" && inheritsGroup) mode |= SET_GID;
  else if (type === "file" && (mode & GROUP_EXECUTE) !== 0 && !isRoot && !isInGroup(who, gid)) mode &= ~SET_GID;
  return { ...requested, mode, uid, gid };
}
