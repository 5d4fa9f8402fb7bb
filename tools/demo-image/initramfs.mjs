// An initramfs from a list of files: the cpio "newc" format (Linux Documentation/driver-api/early-userspace/
// buffer-format), and the kernel modules an NFS root needs, in the order they must be loaded.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";

const FILE_TYPE = { file: 0o100000, directory: 0o040000, symlink: 0o120000, character: 0o020000 };

/** Entries: { path, kind, mode?, content?, major?, minor? }. All belong to root, with time 0: the same input, the same bytes. */
export function cpioArchive(entries) {
  const parts = [];
  const padded = (bytes) => [bytes, Buffer.alloc(-bytes.length & 3)];
  const add = (entry, index) => {
    const name = Buffer.from(`${entry.path}\0`);
    const content = Buffer.from(entry.content ?? "");
    const mode = FILE_TYPE[entry.kind] | (entry.mode ?? 0o755);
    const fields = [index, mode, 0, 0, 1, 0, content.length, 0, 0, entry.major ?? 0, entry.minor ?? 0, name.length, 0];
    const header = `070701${fields.map((value) => value.toString(16).padStart(8, "0")).join("")}`;
    parts.push(...padded(Buffer.concat([Buffer.from(header), name])), ...padded(content));
  };
  for (const [index, entry] of entries.entries()) add(entry, index + 1);
  add({ path: "TRAILER!!!", kind: "file", mode: 0 }, 0);
  return gzipSync(Buffer.concat(parts), { level: 6 });
}

const moduleName = (path) =>
  basename(path)
    .replace(/\.ko(\.\w+)?$/, "")
    .replaceAll("-", "_");

function modulesBelow(folder) {
  const files = readdirSync(folder, { recursive: true }).filter((path) => /\.ko(\.\w+)?$/.test(path));
  return new Map(files.map((path) => [moduleName(path), join(folder, path)]));
}

/** Some releases compress modules; the kernel of others cannot load compressed ones, so here they are unpacked. */
function readModule(path) {
  const program = { ".xz": "xz", ".zst": "zstd" }[/\.ko(\.\w+)?$/.exec(path)?.[1]];
  if (!program) return readFileSync(path);
  return execFileSync(program, ["-dc", path], { maxBuffer: 64 * 1024 * 1024 });
}

/** Names after `depends=` in the module's information section. (depmod's index is made at installation, not shipped.) */
function dependenciesOf(content) {
  const at = content.indexOf("\0depends=");
  if (at < 0) return [];
  const start = at + "\0depends=".length;
  const names = content.toString("latin1", start, content.indexOf(0, start));
  return names
    .split(",")
    .filter(Boolean)
    .map((name) => name.replaceAll("-", "_"));
}

/**
 * The modules `required` and `wanted` and all they depend on, dependencies first: [{ name, content }]. Those built into
 * the kernel need no file. What is missing is an error for `required`; a wanted module is then left out.
 */
export function collectModules(folder, required, wanted) {
  const available = modulesBelow(folder);
  const builtIn = new Set(readFileSync(join(folder, "modules.builtin"), "utf8").split("\n").map(moduleName));
  const withDependencies = (name) => {
    if (builtIn.has(name)) return [];
    if (!available.has(name)) throw new Error(`Cannot build the initramfs: the kernel package has no module ${name}`);
    const content = readModule(available.get(name));
    return [...dependenciesOf(content).flatMap(withDependencies), { name, content }];
  };
  const optional = (name) => {
    try {
      return withDependencies(name);
    } catch {
      return [];
    }
  };
  const modules = [...required.flatMap(withDependencies), ...wanted.flatMap(optional)];
  return [...new Map(modules.map((module) => [module.name, module])).values()];
}
