/**
 * One line for every path of a file system image and of the same file system mounted by the kernel, so that the two
 * can be compared. Paths and names are one character per byte.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from "node:fs";
import { fileNameToBytes } from "../../src/bytes/file-name.ts";
import type { FileSystemImage, FileType } from "../../src/disk/file-system-image.ts";

const CHUNK_BYTES = 1024 * 1024;
/** Larger files are compared in samples: they are sparse, and reading gigabytes of zeros proves nothing more. */
const WHOLE_BYTES_MAX = 64 * 1024 * 1024;
const SAMPLES = 48;

type Facts = Record<string, string | number | bigint | Record<string, string>>;
export type Listing = Map<string, Facts>;

type ReadAt = (target: Uint8Array, offset: number) => number;

function hashContents(sizeBytes: number, readAt: ReadAt): string {
  const hash = createHash("sha256");
  const chunk = new Uint8Array(CHUNK_BYTES);
  const isSampled = sizeBytes > WHOLE_BYTES_MAX;
  const step = isSampled ? Math.floor((sizeBytes - CHUNK_BYTES) / SAMPLES) : CHUNK_BYTES;
  for (let offset = 0; offset < sizeBytes; offset += step) hash.update(chunk.subarray(0, readAt(chunk, offset)));
  return hash.digest("hex");
}

export function listImage(image: FileSystemImage): Listing {
  const listing: Listing = new Map();
  const visit = (id: number, path: string): void => {
    const attributes = image.attributes(id);
    if (attributes === undefined) throw new Error(`${path} leads to inode ${id}, which is not in use`);
    const { type, sizeBytes, device, ...rest } = attributes;
    const xattrs = Object.fromEntries(
      [...image.extendedAttributes(id)].sort().map(([name, value]) => [name, Buffer.from(value).toString("hex")]),
    );
    const facts: Facts = { id, type, sizeBytes, device: `${device.major}:${device.minor}`, ...rest, xattrs };
    if (type === "file") facts.sha256 = hashContents(sizeBytes, (target, at) => image.readFileSync(id, target, at));
    if (type === "symlink") facts.target = image.symlinkTarget(id);
    listing.set(path, facts);
    if (type !== "directory") return;
    for (const { name, id: childId } of image.entries(id)) {
      if (image.lookup(id, name) !== childId) throw new Error(`${path}/${name} is listed, but not found`);
      visit(childId, `${path}/${name}`);
      if (image.attributes(childId)?.type === "directory" && image.parent(childId) !== id) {
        throw new Error(`${path}/${name} has another parent`);
      }
    }
  };
  visit(image.rootId, "");
  return listing;
}

/** What the kernel shows below `mountPoint`. */
export function listMount(mountPoint: string): Listing {
  const listing: Listing = new Map();
  const xattrs = mountedAttributes(mountPoint);
  const visit = (path: string): void => {
    const full = Buffer.from(fileNameToBytes((mountPoint + path) as never));
    const stat = lstatSync(full, { bigint: true });
    const type = fileTypeOf(stat);
    const sizeBytes = Number(stat.size);
    const isDevice = type === "block" || type === "character";
    const facts: Facts = {
      id: Number(stat.ino),
      type,
      sizeBytes,
      device: isDevice ? deviceText(stat.rdev) : "0:0",
      mode: Number(stat.mode & 0o7777n),
      uid: Number(stat.uid),
      gid: Number(stat.gid),
      linkCount: Number(stat.nlink),
      usedBytes: Number(stat.blocks) * 512,
      atimeNs: stat.atimeNs,
      mtimeNs: stat.mtimeNs,
      ctimeNs: stat.ctimeNs,
      xattrs: xattrs.get(path) ?? {},
    };
    if (type === "file") {
      const descriptor = openSync(full, "r");
      facts.sha256 = hashContents(sizeBytes, (target, at) => readSync(descriptor, target, 0, target.length, at));
      closeSync(descriptor);
    }
    if (type === "symlink") facts.target = readlinkSync(full, { encoding: "latin1" });
    listing.set(path, facts);
    if (type !== "directory") return;
    for (const name of readdirSync(full, { encoding: "latin1" })) visit(`${path}/${name}`);
  };
  visit("");
  return listing;
}

/** The first differences, as text; empty when both are equal. */
export function differences(ours: Listing, theirs: Listing): string[] {
  const found: string[] = [];
  for (const path of new Set([...ours.keys(), ...theirs.keys()])) {
    const [one, other] = [ours.get(path), theirs.get(path)].map(factsText);
    if (one !== other) found.push(`${JSON.stringify(path)}\n  ours   ${one}\n  theirs ${other}`);
    if (found.length === 10) break;
  }
  return found;
}

/** One hash for a whole tree. */
export function listingHash(listing: Listing): string {
  const hash = createHash("sha256");
  for (const path of [...listing.keys()].sort()) hash.update(`${path}\0${factsText(listing.get(path))}\n`);
  return hash.digest("hex");
}

function factsText(facts: Facts | undefined): string {
  return JSON.stringify(facts, (_, value) => (typeof value === "bigint" ? `${value}` : value)) ?? "nothing";
}

function fileTypeOf(stat: ReturnType<typeof lstatSync> & object): FileType {
  if (stat.isFile()) return "file";
  if (stat.isDirectory()) return "directory";
  if (stat.isSymbolicLink()) return "symlink";
  if (stat.isBlockDevice()) return "block";
  if (stat.isCharacterDevice()) return "character";
  return stat.isFIFO() ? "fifo" : "socket";
}

/** glibc's makedev: 12 + 20 bits of major, 8 + 24 of minor. */
function deviceText(device: bigint): string {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & ~0xffn);
  return `${major}:${minor}`;
}

/** By path below the mount point: name → value in hex. */
function mountedAttributes(mountPoint: string): Map<string, Record<string, string>> {
  const output = execFileSync(
    "getfattr",
    ["-R", "-P", "-h", "-d", "-m", "-", "-e", "hex", "--absolute-names", mountPoint],
    {
      maxBuffer: 256 * 1024 * 1024,
      encoding: "latin1",
    },
  );
  const found = new Map<string, Record<string, string>>();
  for (const section of output.split("\n\n")) {
    const [heading, ...lines] = section.split("\n").filter((line) => line !== "");
    if (heading === undefined) continue;
    const path = unescaped(heading.slice("# file: ".length)).slice(mountPoint.length);
    const pairs = lines.map((line): [string, string] => {
      const [name, value = ""] = line.split("=");
      return [unescaped(name!), value.replace(/^0x/, "")];
    });
    found.set(path, Object.fromEntries(pairs.sort()));
  }
  return found;
}

/** getfattr writes control characters, backslashes and `=` as octal escapes. */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits) => String.fromCharCode(Number.parseInt(digits, 8)));
}
