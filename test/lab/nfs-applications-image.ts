/**
 * What the application suites need: an ext4 image of a real Debian for x86, with the programs installed and some
 * packages put by for dpkg, and small programs of ours that need no library. Made once, kept in .cache/.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { basename, join, resolve } from "node:path";

const CACHE = resolve(import.meta.dirname, "../../.cache/nfs-applications");
const PROGRAMS = join(import.meta.dirname, "programs");
const IMAGE_SIZE = "2G";
const INSTALLED = ["git", "sqlite3", "fio", "dbench", "stress-ng"];
/** Users, alternatives, triggers, configuration files: the packages' scripts have work to do. */
const PUT_BY = ["cron", "nano", "libdbus-1-3"];

export const IMAGE_TOOLS = ["mmdebstrap", "mke2fs", "gcc", "tar"];

/** The path of the image; the packages put by are in its folder /packages. */
export function applicationsImage(): string {
  const release = /^VERSION_CODENAME=(\w+)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "stable";
  const download = `chroot "$1" apt-get -qq -y --download-only --no-install-recommends install ${PUT_BY.join(" ")}`;
  const hooks = [
    'rm "$1"/var/cache/apt/archives/*.deb; mkdir "$1/packages"',
    download,
    'mv "$1"/var/cache/apt/archives/*.deb "$1/packages/"',
  ];
  const words = ["--quiet", "--variant=minbase", `--include=${INSTALLED.join(",")}`];
  words.push("--aptopt=Apt::Install-Recommends false", ...hooks.map((hook) => `--customize-hook=${hook}`), release);
  return cached("debian.img", [...words, IMAGE_SIZE].join("\n"), (path, folder) => {
    const [tar, root] = [join(folder, "debian.tar"), join(folder, "debian")];
    execFileSync("mmdebstrap", [...words, tar], { stdio: ["ignore", "ignore", "inherit"] });
    mkdirSync(root);
    execFileSync("tar", ["--extract", "--file", tar, "--directory", root, "--numeric-owner", "--preserve-permissions"]);
    execFileSync("mke2fs", ["-q", "-F", "-t", "ext4", "-d", root, path, IMAGE_SIZE]);
  });
}

/** The path of a program of ./programs, compiled to run without libraries. */
export function compiledProgram(source: string): string {
  const text = readFileSync(join(PROGRAMS, source), "utf8");
  return cached(basename(source, ".c"), text, (path) => {
    execFileSync("gcc", ["-O2", "-static", "-o", path, join(PROGRAMS, source)]);
  });
}

/** The file made by this recipe, made now if it is not there. Two test runs at once do not disturb each other. */
function cached(name: string, recipe: string, make: (path: string, folder: string) => void): string {
  const path = join(CACHE, `${createHash("sha256").update(recipe).digest("hex").slice(0, 8)}-${name}`);
  if (existsSync(path)) return path;
  mkdirSync(CACHE, { recursive: true });
  const folder = mkdtempSync(join(CACHE, "making-"));
  try {
    make(join(folder, name), folder);
    renameSync(join(folder, name), path);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return path;
}
