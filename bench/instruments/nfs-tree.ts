/**
 * The tree that NFS servers are measured with: the root of the demo image and files of Debian packages, 15,000 entries. Made
 * once: as a folder, for a peer to serve, and as a card image, for us to boot nodes from.
 */
import { execFileSync } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { join, resolve } from "node:path";

const PACKAGES = ["git", "vim-runtime", "tzdata", "locales"];
const CACHE = ".cache/bench-nfs";
const SECTOR_BYTES = 512;
/** Where the demo image's root lies, in its partition table and on the card. */
const ROOT_ENTRY_AT = 446 + 16;
const ROOT_START = 132 * 1024 * 1024;
const ROOT_BYTES = 768 * 1024 * 1024;

export interface BenchTree {
  folder: string;
  image: string;
}

/** Paths of both, absolute. The working folder is the checkout. */
export function benchTree(): BenchTree {
  const folder = resolve(CACHE, "tree");
  const image = resolve(CACHE, "card.img");
  if (existsSync(image)) return { folder, image };
  rmSync(CACHE, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const demo = execFileSync(process.execPath, ["tools/demo-image.mjs"], { encoding: "utf8" }).trim();
  execFileSync("dd", [`if=${demo}`, `of=${CACHE}/root.ext4`, "bs=1M", `skip=${ROOT_START >> 20}`, "status=none"]);
  execFileSync("debugfs", ["-R", `rdump / ${folder}`, `${CACHE}/root.ext4`], { stdio: "ignore" });
  for (const name of [headersPackage(), ...PACKAGES]) unpackPackage(name, folder);
  // Files of tens of megabytes, which a system has a few of.
  copyFileSync(process.execPath, join(folder, "usr/bin/node"));
  writeCard(demo, folder, `${CACHE}/card.part`);
  renameSync(`${CACHE}/card.part`, image);
  return { folder, image };
}

/** The kernel headers that all flavours share: 10,000 small files. */
function headersPackage(): string {
  const depends = (name: string) => execFileSync("apt-cache", ["depends", name], { encoding: "utf8" });
  const flavour = /Depends: (linux-headers-\S+)/.exec(depends("linux-headers-amd64"))?.[1] ?? "";
  const common = /Depends: (linux-headers-\S+-common)/.exec(depends(flavour))?.[1];
  if (common === undefined)
    throw new Error("Cannot find the kernel's headers: linux-headers-amd64 is not in apt's lists");
  return common;
}

function unpackPackage(name: string, folder: string): void {
  execFileSync("apt-get", ["download", name], { cwd: CACHE, stdio: "ignore" });
  const archive = readdirSync(CACHE).find((file) => file.startsWith(`${name}_`)) ?? "";
  execFileSync("dpkg-deb", ["-x", join(CACHE, archive), folder]);
  rmSync(join(CACHE, archive));
}

/** The demo image with another, larger root. */
function writeCard(demo: string, folder: string, path: string): void {
  copyFileSync(demo, path);
  truncateSync(path, ROOT_START);
  truncateSync(path, ROOT_START + ROOT_BYTES);
  const offset = `offset=${ROOT_START}`;
  const words = ["-q", "-F", "-t", "ext4", "-L", "rootfs", "-d", folder, "-E", offset, path, `${ROOT_BYTES / 1024}k`];
  execFileSync("mke2fs", words, { stdio: ["ignore", "ignore", "inherit"] });
  const sectors = Buffer.alloc(4);
  sectors.writeUInt32LE(ROOT_BYTES / SECTOR_BYTES);
  const card = openSync(path, "r+");
  writeSync(card, sectors, 0, 4, ROOT_ENTRY_AT + 12);
  closeSync(card);
}
