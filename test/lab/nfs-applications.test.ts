/**
 * Programs of every day over the kernel's NFS client: a virtual machine runs a real Debian whose root is a tree of ours
 * over an ext4 image, on LMDB and files, and everything in it is read, paged in and written by NFS. Afterwards the store
 * is opened again, and must hold what the machine last saw.
 *
 * With SOAK set, everything runs that many times as long.
 */
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openExt4 } from "../../src/disk/ext4/index.ts";
import { systemClock } from "../../src/system/clock.ts";
import { openDataFiles } from "../../src/system/data-files.ts";
import { openFileSource } from "../../src/system/file-source.ts";
import { openLmdbStore } from "../../src/system/lmdb-store.ts";
import { systemRandom } from "../../src/system/random.ts";
import type { Tree } from "../../src/tree/tree.ts";
import { openTreeStore } from "../../src/tree/tree-store.ts";
import { applicationsImage, compiledProgram, IMAGE_TOOLS } from "./nfs-applications-image.ts";
import { MISSION_TOOLS, runMission } from "./nfs-virtual-machine.ts";
import { requireRoot, requireTools } from "./required-tools.ts";
import { serveVolume } from "./served-volume.ts";

const SOAK = Number(process.env.SOAK ?? 1);
const SEED = Number(process.env.SEED ?? Date.now() % 2 ** 31);
const TIMEOUT_MS = 600_000 * SOAK;
const READ_BYTES = 2 ** 20;

/**
 * What stress-ng has for file systems and mappings of files, in groups that run at once; without what needs fallocate,
 * leases or extended attributes, which NFS v3 does not know, and what insists on hundreds of megabytes. `link` and
 * `symlink` look for 8192 names at their end, so they are for longer runs.
 */
const STRESSORS = [
  `access chdir chmod chown rename --chdir-dirs 64${SOAK > 1 ? " link symlink" : ""}`,
  "dentry dir dirdeep getdent fstat utime --dentries 64 --dir-dirs 64 --dirdeep-inodes 64",
  "hdd iomix seek revio readahead --hdd-bytes 4M --iomix-bytes 4M --seek-size 4M --revio-bytes 4M --readahead-bytes 4M",
  "mmap msync sync-file sendfile splice --mmap-bytes 1M --mmap-file --msync-bytes 1M --sync-file-bytes 4M --sendfile-size 1M",
  "dup flock lockf io open",
].map((group) => group.replaceAll(/(?<= |^)([a-z]\S*)(?= |$)/g, "--$1 1"));

/**
 * Each runs in the Debian with `bash -e`, in the empty folder /work/<name>, and must succeed. In a list with && only the
 * last command can end the script, so there are few of them.
 */
const CHECKS: { name: string; script: string }[] = [
  {
    name: "random-io",
    script: `
      for number in 1 2 3; do /random-io file$number $((${SEED} + number)) ${8 * SOAK} & jobs="$jobs $!"; done
      for job in $jobs; do wait $job; done`,
  },
  {
    name: "stress-ng",
    script: `
      stress() { stress-ng --temp-path . --timeout ${2 * SOAK} --verify "$@" > log 2>&1 || { cat log; false; }
        echo "stress-ng $*: $SECONDS s since the start"; }
      ${STRESSORS.map((group) => `stress ${group}`).join("\n")}
      rm log
      test -z "$(ls)"`,
  },
  {
    name: "fio",
    script: `
      fio --directory=. --size=${2 * SOAK}M --verify_fatal=1 --verify_state_save=0 --output=log --group_reporting \
        --name=cached --ioengine=psync --rw=randwrite --bs=1k-32k --bs_unaligned --fsync=64 --verify=crc32c \
        --name=mapped --ioengine=mmap --rw=randwrite --bs=4k --verify=md5 \
        --name=direct --ioengine=libaio --iodepth=16 --direct=1 --rw=randrw --bs=8k --verify=crc32c-intel \
        --name=appended --ioengine=psync --rw=write --bs=13k --end_fsync=1 --verify=sha256 > said || { cat log; false; }
      grep -q 'err= 0' log
      (! grep 'err= [1-9]' log)
      rm *.0.0`,
  },
  {
    name: "dbench",
    script: `
      dbench --directory=. --timelimit=${8 * SOAK} 3 > log 2>&1 || { cat log; false; }
      grep Throughput log
      (! grep -i error log)
      rm -r clients`,
  },
  {
    name: "tar",
    script: `
      pictured() {
        (cd $1; find $what -printf '%p %y %m %U:%G %n %T@ %l\\n'; find $what -type f -print0 | xargs -0 sha256sum) | sort
      }
      what="etc usr/bin/perl* usr/lib/terminfo usr/share/git-core ${SOAK > 1 ? "usr/lib/*/perl-base usr/share/man" : ""}"
      (cd /; tar -c $what) | tar -xp
      pictured / > there
      pictured . > here
      test $(wc -l < here) -gt 400
      cmp there here || { diff there here | head -20; false; }
      find usr -type f -links +1 | grep -q perl
      rm -r usr`,
  },
  {
    name: "git",
    script: `
      git config --global user.name node
      git config --global user.email node@example.org
      git init -q -b main one
      cd one
      cp -r /usr/lib/git-core/mergetools /usr/share/git-core/templates /etc/pam.d /etc/security .
      find . -type d -empty ! -path './.git/*' -delete
      git add -A
      git commit -qm first
      for number in $(seq ${4 * SOAK}); do
        echo $number >> templates/number
        git mv mergetools/$(ls mergetools | head -1) file$number
        git add -A
        git commit -qm $number
      done
      git checkout -qb side HEAD~3
      echo side > side
      git add side
      git commit -qm side
      git checkout -q main
      git merge -q --no-edit side
      git clone -q --no-hardlinks . ../two
      git clone -q file://$PWD ../three
      git gc -q --prune=now
      for copy in one two three; do
        cd ../$copy
        git fsck --full --strict > ../log 2>&1 || { cat ../log; false; }
        test "$(git rev-parse HEAD)" = "$(git -C ../one rev-parse HEAD)"
        test -z "$(git status --porcelain)"
      done
      test $(git rev-list --count HEAD) = ${4 * SOAK + 3}
      diff -r --exclude .git ../one ../three`,
  },
  {
    name: "dpkg",
    script: `
      printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
      chmod 755 /usr/sbin/policy-rc.d
      export DEBIAN_FRONTEND=noninteractive
      picture() {
        (cd /; find etc usr/bin usr/sbin var/lib/dpkg/info var/spool ! -type d -printf '%p %y %m %U:%G %s %l\\n') |
          grep -v -E '^etc/(ld.so.cache|group|gshadow|passwd|shadow)-? ' | sort
      }
      quietly() { "$@" >> log 2>&1 || { cat log; false; }; }
      dpkg -l > before
      picture > files-before
      names=$(for package in /packages/*.deb; do dpkg-deb -f $package Package; done)
      quietly dpkg -i /packages/cron-daemon-common*.deb
      quietly dpkg -i /packages/*.deb
      dpkg --audit > audit
      test ! -s audit
      dpkg --verify $names > changed
      test ! -s changed
      nano --version > nano
      getent group crontab
      test "$(stat -c %a:%G $(which crontab))" = 2755:crontab
      quietly dpkg -r nano cron
      test -e /etc/crontab
      test ! -e /usr/bin/nano
      quietly dpkg -i /packages/nano_*.deb
      quietly dpkg -P nano cron
      quietly dpkg -P $names
      dpkg --audit > audit
      test ! -s audit
      dpkg -l > after
      cmp before after || { diff before after; false; }
      picture > files-after
      cmp files-before files-after || { diff files-before files-after; false; }`,
  },
  {
    name: "sqlite",
    script: `
      sqlite3 db 'PRAGMA journal_mode=WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, round, text);' > mode
      test "$(cat mode)" = wal
      mkfifo commands
      kept=0
      for round in $(seq ${5 * SOAK}); do
        { printf '.timeout 20000\\nPRAGMA synchronous=FULL;\\nPRAGMA wal_autocheckpoint=25;\\n'
          yes "INSERT INTO t (round, text) VALUES ($round, hex(randomblob(400))); SELECT 'id ' || max(id) FROM t;"
        } > commands 2> /dev/null &
        sqlite3 -batch db < commands > said 2> errors & writer=$!
        for reading in 1 2 3; do
          sleep 0.$((RANDOM % 6))
          sqlite3 -readonly -cmd '.timeout 20000' db 'SELECT count(*) FROM t' > read
          test $(cat read) -ge $kept
        done
        kill -KILL $writer
        wait $writer 2> /dev/null || true
        cat errors
        test ! -s errors
        sed -n 's/^id //p' said > answers
        answered=$(tail -1 answers)
        answered=\${answered:-$kept}
        seq $((kept + 1)) $answered | cmp - answers || { cat said; echo "after $kept"; false; }
        test "$(sqlite3 db 'PRAGMA integrity_check')" = ok
        kept=$(sqlite3 db 'SELECT count(*) FROM t')
        echo "round $round: $answered answered, $kept kept"
        test $kept -ge $answered
      done
      test $kept -gt 20
      test $(sqlite3 db 'SELECT max(id) FROM t') = $kept`,
  },
  {
    name: "listing",
    script: `
      sync
      echo 3 > /proc/sys/vm/drop_caches
      find /work /var/lib/dpkg -type f ! -path '/work/listing/*' -print0 | xargs -0 sha256sum > /work/listing/sha256sums`,
  },
];

const missing = requireTools([...MISSION_TOOLS, ...IMAGE_TOOLS]) || requireRoot();

describe.skipIf(missing)("programs on the kernel's NFS client", () => {
  let folder: string;
  let output: string[] = [];
  let tree: Tree;
  const observations: string[] = [];
  const closing: (() => unknown)[] = [];

  async function openTree(): Promise<{ tree: Tree; close: () => Promise<void> }> {
    const image = openExt4(openFileSource(applicationsImage()));
    const keyValueStore = openLmdbStore(join(folder, "store"));
    const dataFiles = openDataFiles(join(folder, "files"));
    const trees = await openTreeStore({ keyValueStore, dataFiles, clock: systemClock, random: systemRandom });
    const tree = await trees.tree({ node: "node1", kind: "root", image, imageId: "debian", generated: [] });
    const close = async () => {
      await trees.close();
      await keyValueStore.close();
      image.close();
    };
    return { tree, close };
  }

  beforeAll(async () => {
    console.log(`seed ${SEED} (run again with SEED=${SEED})`);
    // On a disk, so that fsync means something.
    const cache = resolve(import.meta.dirname, "../../.cache");
    mkdirSync(cache, { recursive: true });
    folder = mkdtempSync(join(cache, "nfs-applications-"));
    mkdirSync(join(folder, "machine"));
    const first = await openTree();
    const { listener } = await serveVolume(first.tree, {
      port: 0,
      start: 1,
      observe: (observation) => observations.push(JSON.stringify(observation)),
    });
    const console_ = await runMission(join(folder, "machine"), {
      port: listener.localPort,
      programs: { "random-io": compiledProgram("random-io.c") },
      prepare: PREPARE,
      checks: CHECKS.map(({ name, script }) => ({ name, command: inDebian(name, script) })),
      memoryMiB: 1024,
      processors: 2,
      timeoutMs: TIMEOUT_MS - 30_000,
    });
    output = console_.split("\n");
    await listener.close();
    await first.close();
    const again = await openTree();
    closing.push(again.close);
    tree = again.tree;
  }, TIMEOUT_MS);

  afterAll(async () => {
    for (const close of closing) await close();
    if (folder) rmSync(folder, { recursive: true });
  });

  it.each(CHECKS)("$name works", ({ name }) => {
    expect(output, consoleOf(output, name)).toContain(`passed: ${name}`);
  });

  it("holds afterwards, opened again, what the machine saw last", async () => {
    expect(output).toContain("all checks were run");
    const lines = (await contentsOf(tree, "/work/listing/sha256sums")).toString("latin1").trimEnd().split("\n");
    expect(lines.length).toBeGreaterThan(100);
    const found: string[] = [];
    for (const line of lines) {
      const path = line.slice(66);
      found.push(
        `${createHash("sha256")
          .update(await contentsOf(tree, path))
          .digest("hex")}  ${path}`,
      );
    }
    expect(found).toEqual(lines);
  }, 300_000);

  it("gave the server nothing to complain about", () => {
    expect(observations.filter((text) => !/"kind":"(mount|unmount)"/.test(text))).toEqual([]);
    expect(output.filter((line) => /nfs: server .* not responding|Stale file handle|I\/O error/.test(line))).toEqual(
      [],
    );
  });
});

const PREPARE = `
mount -t proc proc proc; mount -t sysfs sysfs sys; mount --bind /dev dev
mkdir work; cp /bin/random-io .
`;

function inDebian(name: string, script: string): string {
  const whole = `set -e -o pipefail; export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C; mkdir /work/${name}; cd /work/${name}\n${script}`;
  return `chroot /mnt /bin/bash -c '${whole.replaceAll("'", `'\\''`)}'`;
}

/** What the machine printed while the check ran. */
function consoleOf(output: readonly string[], name: string): string {
  const end = output.findIndex((line) => line === `passed: ${name}` || line === `FAILED: ${name}`);
  if (end < 0) return output.slice(-100).join("\n");
  const start = output.slice(0, end).findLastIndex((line) => /^took \d+ s: |mounted$/.test(line));
  return output.slice(start + 1, end + 1).join("\n");
}

async function contentsOf(tree: Tree, path: string): Promise<Buffer> {
  const file = tree.fileByPath(path);
  if (file === undefined) throw new Error(`there is no file ${path}`);
  const parts: Uint8Array[] = [];
  for (let offset = 0; offset < file.sizeBytes; offset += READ_BYTES) {
    parts.push((await tree.read(file.id, offset, READ_BYTES)).bytes);
  }
  return Buffer.concat(parts);
}
