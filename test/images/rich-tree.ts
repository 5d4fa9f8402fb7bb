/** Makes directory trees that hold one of everything a root file system can hold. Needs root and the acl, attr and libcap tools. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  closeSync,
  ftruncateSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

const KIB = 1024;
const GIB = 1024 ** 3;

/** Bytes that repeat nowhere near, so that a wrong block cannot pass for the right one. */
export function patterned(countBytes: number, seed: number): Buffer {
  const bytes = Buffer.alloc(countBytes);
  let state = (seed * 2654435761) | 1;
  for (let at = 0; at < countBytes; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

export interface TreeSettings {
  /** Linux stores no symlink of a block and more. */
  symlinkBytesMax: number;
  /** Value sizes that fit: a block holds all attributes of a file. */
  attributeBytesMax: number;
  /** A file of a few blocks that is longer than 4 GiB. */
  hasHugeFile: boolean;
  /** How many pieces the fragmented file lies in: past 340 a leaf of 4 KiB is full, past 1360 the root. */
  pieces: number;
}

/** Fills the empty directory `root`. */
export function writeRichTree(root: string, settings: TreeSettings): void {
  writeFiles(join(root, "files"), settings);
  writeLinks(join(root, "links"), settings);
  writeSpecialFiles(join(root, "special"));
  writeNames(join(root, "names"));
  writeAttributes(join(root, "attributes"), settings);
  writeTimes(join(root, "times"));
}

function writeFiles(directory: string, { hasHugeFile, pieces }: TreeSettings): void {
  mkdirSync(directory);
  for (const size of [0, 1, 59, 60, 61, 100, 150, 400, 1023, 1024, 4095, 4096, 4097, 300 * KIB]) {
    writeFileSync(join(directory, `size-${size}`), patterned(size, size));
  }
  const holes = openSync(join(directory, "fragmented"), "w");
  for (let piece = 0; piece < pieces; piece++) writeSync(holes, patterned(4 * KIB, piece), 0, 4 * KIB, piece * 8 * KIB);
  closeSync(holes);
  if (hasHugeFile) writeHugeFile(join(directory, "huge"));
  truncateSync(join(directory, `size-${300 * KIB}`), 300 * KIB + 5000);
}

function writeHugeFile(path: string): void {
  const huge = openSync(path, "w");
  for (const offset of [0, GIB, 4 * GIB - 2 * KIB, 5 * GIB])
    writeSync(huge, patterned(4 * KIB, offset), 0, 4 * KIB, offset);
  ftruncateSync(huge, 5 * GIB + 12345);
  closeSync(huge);
}

function writeLinks(directory: string, { symlinkBytesMax }: TreeSettings): void {
  mkdirSync(directory);
  for (const size of [1, 58, 59, 60, 61, 120, 1000, 2000, 4000, 4095]) {
    if (size > symlinkBytesMax) continue;
    symlinkSync("x/".repeat(size).slice(0, size), join(directory, `symlink-${size}`));
  }
  symlinkSync(Buffer.from([0xff, 0xfe, 0x2f, 0xc3, 0xa9]), join(directory, "symlink-bytes"));
  writeFileSync(join(directory, "one"), "three names");
  linkSync(join(directory, "one"), join(directory, "two"));
  mkdirSync(join(directory, "below"));
  linkSync(join(directory, "one"), join(directory, "below", "three"));
}

function writeSpecialFiles(directory: string): void {
  mkdirSync(directory);
  const devices = [
    ["null", "c", "1", "3"],
    ["sda1", "b", "8", "1"],
    ["old-limit", "c", "255", "255"],
    ["wide-minor", "b", "259", "70000"],
    ["wide-major", "c", "4000", "1048575"],
  ];
  for (const [name, type, major, minor] of devices)
    execFileSync("mknod", [join(directory, name!), type!, major!, minor!]);
  execFileSync("mkfifo", [join(directory, "fifo")]);
  const listen = "IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 1) or die $!";
  execFileSync("perl", ["-MIO::Socket::UNIX", "-e", listen, join(directory, "socket")]);
  for (const [index, mode] of [0o4755, 0o2755, 0o1777, 0o7777, 0o000].entries()) {
    const path = join(directory, `mode-${index}`);
    writeFileSync(path, "");
    chownSync(path, 70_000 + index, 4_000_000_000 + index);
    chmodSync(path, mode);
  }
}

function writeNames(directory: string): void {
  mkdirSync(directory);
  const names = ["a", "with space", "new\nline", "back\\slash", "=", "ä", "名前", "x".repeat(255), "-", "..."];
  for (const name of names) writeFileSync(join(directory, name), name);
  writeFileSync(Buffer.concat([Buffer.from(`${directory}/`), Buffer.from([0x80, 0xff, 0x01])]), "not UTF-8");
  let path = directory;
  for (let depth = 0; depth < 30; depth++) {
    path = join(path, `depth-${depth}`);
    mkdirSync(path);
  }
}

function writeAttributes(directory: string, { attributeBytesMax }: TreeSettings): void {
  mkdirSync(directory);
  const file = (name: string): string => {
    const path = join(directory, name);
    writeFileSync(path, name);
    return path;
  };
  const set = (path: string, name: string, bytes: Buffer): void => {
    execFileSync("setfattr", ["-h", "-n", name, "-v", `0x${bytes.toString("hex")}`, path]);
  };
  set(file("small"), "user.small", Buffer.from("value"));
  set(file("empty"), "user.empty", Buffer.alloc(0));
  set(file("binary"), "user.binary", Buffer.from([0, 1, 2, 0xff, 0]));
  set(file("large"), "user.large", patterned(attributeBytesMax, 7));
  const many = file("many");
  for (let index = 0; index < 12; index++) set(many, `user.number-${index}`, patterned(5 * index, index));
  set(many, "trusted.overlay.opaque", Buffer.from("y"));
  execFileSync("setcap", ["cap_net_raw,cap_net_bind_service+ep", file("ping")]);
  execFileSync("setfacl", ["-m", "u:1000:rw,u:70000:r,g:100:rx,m::rwx", file("acl")]);
  mkdirSync(join(directory, "acl-default"));
  execFileSync("setfacl", ["-d", "-m", "u:1000:rwx,g::r", join(directory, "acl-default")]);
  symlinkSync("target", join(directory, "symlink"));
  set(join(directory, "symlink"), "trusted.on-symlink", patterned(300, 3));
}

function writeTimes(directory: string): void {
  mkdirSync(directory);
  const seconds = [0, -1, -2_000_000_000, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 7_258_118_400];
  for (const [index, second] of seconds.entries()) {
    const path = join(directory, `time-${index}`);
    symlinkSync("t", path);
    lutimesSync(path, second, second);
    const text = `@${second}.123456789`;
    execFileSync("touch", ["-h", "-d", text, path]);
  }
}

/** What only the kernel makes: hashed directories, gaps, blocks reserved but not written, a fragmented file by age. */
export function workLikeANode(root: string, settings: { directoryEntries: number; largeAttributeBytes: number }): void {
  const big = join(root, "big");
  mkdirSync(big);
  for (let index = 0; index < settings.directoryEntries; index++) {
    writeFileSync(join(big, `file-${index}-${"n".repeat(index % 60)}`), index % 100 === 0 ? `${index}` : "");
  }
  for (let index = 0; index < settings.directoryEntries; index += 3) {
    rmSync(join(big, `file-${index}-${"n".repeat(index % 60)}`));
  }
  mkdirSync(join(root, "grown"));
  for (const index of Array(12).keys())
    writeFileSync(join(root, "grown", `inline-${index}`), patterned(index * 14, index));
  mkdirSync(join(root, "large-attribute"));
  if (settings.largeAttributeBytes > 0) {
    const path = join(root, "large-attribute", "file");
    writeFileSync(path, "");
    const value = `0x${patterned(settings.largeAttributeBytes, 11).toString("hex")}`;
    execFileSync("setfattr", ["-n", "user.huge", "-v", value, path]);
    execFileSync("setfattr", ["-n", "user.huge", "-v", value, join(root, "large-attribute")]);
  }
}

/** Reserves blocks that are never written, and writes some in the middle. Only where there are extents. */
export function reserveBlocks(path: string): void {
  execFileSync("fallocate", ["-l", "2MiB", path]);
  const reserved = openSync(path, "r+");
  writeSync(reserved, patterned(10_000, 5), 0, 10_000, 700_001);
  closeSync(reserved);
  execFileSync("fallocate", ["-p", "-o", "720KiB", "-l", "8KiB", path]);
}
