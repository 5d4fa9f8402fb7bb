/** What `debugfs` of e2fsprogs finds in an image: an oracle that shares no code with the kernel. */
import { execFileSync } from "node:child_process";
import type { Listing } from "./tree-listing.ts";

/** `ls -p` writes `/inode/mode/uid/gid/name/size/`, the size only for what has one. Names may hold line feeds. */
const LINE = /^\/(\d+)\/(\d{6})\/(-?\d+)\/(-?\d+)\/([^/]*)\/(\d*)\/$/gm;

const TYPE_BITS = {
  fifo: 0o010000,
  character: 0o020000,
  directory: 0o040000,
  block: 0o060000,
  file: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
} as const;

/** Compares names, inode numbers, types, modes, owners and sizes. The first differences, as text. */
export function debugfsDifferences(imagePath: string, ours: Listing): string[] {
  const directories = [...ours].filter(([, facts]) => facts.type === "directory");
  const commands = directories.map(([, { id }]) => `ls -p <${id}>\n`).join("");
  const output = execFileSync("debugfs", ["-f", "-", imagePath], {
    input: commands,
    encoding: "latin1",
    maxBuffer: 256 * 1024 * 1024,
    stdio: ["pipe", "pipe", "ignore"],
  });
  const sections = output.split(/^debugfs: ls -p <\d+>\n/m).slice(1);
  const theirs = new Map<string, string>();
  directories.forEach(([path], index) => {
    for (const [, id, mode, uid, gid, name, size] of sections[index]!.matchAll(LINE)) {
      if (name === "." || name === ".." || id === "0") continue;
      // It prints owners as signed numbers.
      theirs.set(`${path}/${name}`, [id, mode, Number(uid) >>> 0, Number(gid) >>> 0, size].join(" "));
    }
  });
  theirs.delete("/lost+found");

  const found: string[] = [];
  const paths = new Set([...ours.keys(), ...theirs.keys()]);
  paths.delete("");
  paths.delete("/lost+found");
  for (const path of paths) {
    const facts = ours.get(path);
    const one = facts === undefined ? "nothing" : factsText(facts);
    const other = theirs.get(path) ?? "nothing";
    if (one !== other) found.push(`${JSON.stringify(path)}: ours ${one}, debugfs ${other}`);
    if (found.length === 10) break;
  }
  return found;
}

function factsText({ id, type, mode, uid, gid, sizeBytes }: NonNullable<ReturnType<Listing["get"]>>): string {
  const bits = TYPE_BITS[type as keyof typeof TYPE_BITS] + Number(mode);
  const size = type === "directory" ? "" : sizeBytes;
  return [id, bits.toString(8).padStart(6, "0"), uid, gid, size].join(" ");
}
