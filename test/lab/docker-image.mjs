// Installs Debian's docker.io into an OS image of Debian 12 for arm64, from packages, on a machine of another architecture: apt
// finds and downloads what the image lacks, the packages are unpacked, and what their scripts would do is done here, for they
// cannot run. Needs root, to mount the image.
//
//   node test/lab/docker-image.mjs IMAGE ROOT_OFFSET FOLDER
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { downloadMissingPackages } from "../../tools/demo-image/debian-archive.mjs";

const RELEASE = "bookworm";
/** Debian's kernel has AppArmor on, and without its parser Docker starts no container. busybox needs no library in one. kubeadm needs openssl. */
const PACKAGES = ["docker.io", "iptables", "apparmor", "busybox-static", "openssl"];
const UNITS = {
  "apparmor.service": "sysinit.target",
  "docker.service": "multi-user.target",
  "docker.socket": "sockets.target",
  "containerd.service": "multi-user.target",
};
/** As `addgroup --system` gives them: the first that is free below 1000. */
const SYSTEM_GROUP_MAX = 999;

const run = (program, ...words) =>
  execFileSync(program, words, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

function unpack(root, archive) {
  // usrmerge: /lib of a package goes where the link of that name leads.
  const unpacking = 'dpkg-deb --fsys-tarfile "$0" | tar -x --keep-directory-symlink --numeric-owner -p -C "$1"';
  run("bash", "-o", "pipefail", "-c", unpacking, archive, root);
  const names = run("bash", "-o", "pipefail", "-c", 'dpkg-deb --fsys-tarfile "$0" | tar -t', archive);
  const fields = run("dpkg-deb", "--field", archive);
  const name = /^Package: (\S+)$/m.exec(fields)[1];
  const record = join(root, "var/lib/dpkg/info", /^Multi-Arch: same$/m.test(fields) ? `${name}:arm64` : name);
  const paths = names
    .trim()
    .split("\n")
    .map((path) => path.replace(/^\./, "").replace(/(.)\/$/, "$1"));
  writeFileSync(`${record}.list`, paths.map((path) => `${path === "/" ? "/." : path}\n`).join(""));
  writeFileSync(`${record}.md5sums`, run("dpkg-deb", "--info", archive, "md5sums"));
  const installed = fields.trimEnd().replace(/^Package: .*$/m, "$&\nStatus: install ok installed");
  appendFileSync(join(root, "var/lib/dpkg/status"), `${installed}\n\n`);
}

/** What the packages' postinst scripts do on a new installation. */
function setUp(root) {
  const groups = readFileSync(join(root, "etc/group"), "utf8");
  const taken = new Set(groups.split("\n").map((line) => Number(line.split(":")[2])));
  let id = SYSTEM_GROUP_MAX;
  while (taken.has(id)) id -= 1;
  appendFileSync(join(root, "etc/group"), `docker:x:${id}:\n`);
  appendFileSync(join(root, "etc/gshadow"), "docker:!::\n");
  for (const [unit, target] of Object.entries(UNITS)) {
    const wants = join(root, "etc/systemd/system", `${target}.wants`);
    mkdirSync(wants, { recursive: true });
    run("ln", "-s", `/lib/systemd/system/${unit}`, join(wants, unit));
  }
  for (const [kind, priority] of [
    ["legacy", 10],
    ["nft", 20],
  ]) {
    for (const tables of ["iptables", "ip6tables"]) {
      const link = (suffix) => [
        `/usr/sbin/${tables}${suffix}`,
        `${tables}${suffix}`,
        `/usr/sbin/${tables}-${kind}${suffix}`,
      ];
      const words = ["--install", ...link(""), String(priority)];
      for (const suffix of ["-restore", "-save"]) words.push("--slave", ...link(suffix));
      run("update-alternatives", "--quiet", "--log", "/dev/null", "--root", root, ...words);
    }
  }
}

const [image, rootOffset, folder] = process.argv.slice(2);
const mountPoint = mkdtempSync(join(tmpdir(), "bramble-docker-image-"));
const device = run("losetup", "--find", "--show", "-o", rootOffset, image).trim();
try {
  run("mount", "-t", "ext4", device, mountPoint);
  try {
    const statusPath = join(mountPoint, "var/lib/dpkg/status");
    const archives = downloadMissingPackages(folder, PACKAGES, { release: RELEASE, statusPath });
    for (const archive of archives) unpack(mountPoint, archive);
    setUp(mountPoint);
  } finally {
    run("umount", mountPoint);
  }
} finally {
  run("losetup", "--detach", device);
  rmdirSync(mountPoint);
}
