/**
 * The Linux kernel's own NFS client against our server: a virtual machine mounts a volume of this process, works on it,
 * and says how that went. Once the volume lives in memory, with every third answer late; once it is a node's tree over
 * an image, with its store on disk, and a quota. Each time the server is restarted while the client writes 20 MB.
 */
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type FileName, fileNameFromText } from "../../src/bytes/file-name.ts";
import { MemoryVolume } from "../../src/nfs/memory-volume.ts";
import type { Volume } from "../../src/nfs/volume.ts";
import { systemClock } from "../../src/system/clock.ts";
import { openDataFiles } from "../../src/system/data-files.ts";
import { openJournaledStore } from "../../src/system/journal-file.ts";
import { systemRandom } from "../../src/system/random.ts";
import { MemoryImage } from "../../src/tree/memory-image.ts";
import { openTreeStore } from "../../src/tree/tree-store.ts";
import { MISSION_TIMEOUT_MS, MISSION_TOOLS, runMission } from "./nfs-virtual-machine.ts";
import { buildProgram } from "./posix/posix-suite.ts";
import { requireTools } from "./required-tools.ts";
import { SERVED_TREE_ID, type ServedVolume, serveVolume } from "./served-volume.ts";

const LISTED_FILES = 3000;
const BIG_FILE_BYTES = 20 * 1024 * 1024;
const QUOTA_KIB = 64 * 1024;

/** Each line is a check: a name, then shell that must succeed. Runs in the mounted volume as root. */
const CHECKS = parseChecks(`
mkdir             mkdir -p a/b/c && test -d a/b/c
write             echo hello > a/file && test "$(cat a/file)" = hello
append            echo world >> a/file && test $(wc -c < a/file) = 12
overwrite         printf HE | dd of=a/file conv=notrunc 2>/dev/null && test "$(head -1 a/file)" = HEllo
truncate          echo x > a/short && truncate -s 100000 a/short && truncate -s 3 a/short && test $(wc -c < a/short) = 3
rename            mv a/file a/b/moved && test ! -e a/file && test -e a/b/moved
rename-over       echo new > a/new && mv a/new a/b/moved && test "$(cat a/b/moved)" = new
rename-directory  mv a/b a/d && test -d a/d/c && test "$(cat a/d/../d/moved)" = new
hard-link         ln a/d/moved a/linked && test $(stat -c %h a/linked) = 2 && rm a/d/moved && test "$(cat a/linked)" = new
symlink           ln -s ../a/linked a/soft && test "$(readlink a/soft)" = ../a/linked && test "$(cat a/soft)" = new
device            mknod a/null c 1 3 && echo x > a/null && test "$(stat -c %t:%T a/null)" = 1:3
fifo              mkfifo a/pipe && test -p a/pipe
chmod             chmod 4751 a/linked && test $(stat -c %a a/linked) = 4751
chown             chown 1000:1001 a/linked && test "$(stat -c %u:%g a/linked)" = 1000:1001 && test $(stat -c %a a/linked) = 751
touch             touch -d '2001-02-03 04:05:06' a/linked && test $(stat -c %Y a/linked) = 981173106
user              test "$(as_user id -u)" = 1000
no-permission     chmod 600 a/short && ! as_user cat a/short && chmod 644 a/short && as_user cat a/short | grep -q x
sticky            mkdir -m 1777 tmp && touch tmp/roots && ! as_user rm -f tmp/roots && test -e tmp/roots && as_user 'touch tmp/own && rm tmp/own'
set-gid-directory mkdir g && chown 0:50 g && chmod 2775 g && touch g/f && mkdir g/s && test "$(stat -c %g:%a g/s)" = 50:2755 && test $(stat -c %g g/f) = 50
open-then-remove  exec 3<>a/ghost && echo boo >&3 && rm a/ghost && echo boo >&3 && exec 3>&-
write-unwritable  as_user '(umask 0777; echo mine > tmp/locked); chmod 400 tmp/locked; cat tmp/locked' | grep -q mine
set-id-cleared    echo x > tmp/s && chmod 6777 tmp/s && as_user 'echo y >> tmp/s' && test $(stat -c %a tmp/s) = 777
many-files        mkdir many && cd many && seq ${LISTED_FILES} | xargs touch && cd ..
list-cold         echo 3 > /proc/sys/vm/drop_caches; test $(ls many | sort -u | wc -l) = ${LISTED_FILES}
list-attributes   test $(ls -lR many | grep -c '^-rw-r--r--') = ${LISTED_FILES}
long-name         touch $(printf '%0255d' 7) && ls | grep -q '^0*7$' && ! touch $(printf '%0256d' 7) 2>/dev/null
not-empty         ! rmdir many 2>/dev/null
remove-tree       rm -r many && test ! -e many
big-write         dd if=/big of=big bs=1M 2>/dev/null && sync
big-read          echo 3 > /proc/sys/vm/drop_caches; test "$(md5sum < big)" = "$(md5sum < /big)"
sparse            dd if=/dev/zero of=sparse bs=1 count=1 seek=5000000 2>/dev/null && test $(wc -c < sparse) = 5000001
space             df . | grep -q /mnt
bytes-in-names    touch "$(printf 'caf\\303\\251 \\377')" && ls | grep -q caf
`);

/** Of the node's tree, after the others. */
const QUOTA_CHECKS = parseChecks(`
quota-shown       set -- $(df -Pk . | tail -1) && test $2 = ${QUOTA_KIB} && test $4 -lt $((${QUOTA_KIB} - ${BIG_FILE_BYTES / 1024}))
quota-obeyed      ! dd if=/dev/zero of=much bs=1M count=${QUOTA_KIB / 1024} conv=fsync 2>/dev/null && test -e much
quota-given-back  rm much && dd if=/big of=less bs=1M conv=fsync 2>/dev/null && cmp less /big && rm less
`);

/** Files f0, f1 and so on of the image's large directory, and after them some that go while it is read. */
const CROWD_FILES = 100_000;
const CROWD_GOING = 1000;
/** Every 100th name that is read, one goes that was not yet read, goes itself, brings a new one, gets another name. */
const CROWD_CASES = `# a directory of ${CROWD_FILES} files that were there
---
walkothers d 100
walkremove d 100
walkadd d 100
walkrename d 100
walk d
`;
const CROWD_RESULTS = [CROWD_FILES, CROWD_FILES, 99_000, 99_000, 98_010]
  .map((once, index) => `1.${index + 2}\t${once} once, 0 again, 2 dots\n`)
  .join("");

/** Of the node's tree, whose image has the directory. */
const CROWD_CHECKS = parseChecks(`
large-directory   posix-cases act /mnt/crowd /bin/crowd.cases > /crowd.found; cmp /crowd.found /bin/crowd.results || { cat /crowd.found; false; }
`);

const missing = requireTools([...MISSION_TOOLS, "gcc"]);

/** Makes the volume under test in an empty folder, and says how to close it. */
type OpenVolume = (folder: string) => Promise<{ volume: Volume; close: () => Promise<void> }>;

const VOLUMES: [name: string, checks: typeof CHECKS, open: OpenVolume][] = [
  [
    "a volume in memory",
    CHECKS,
    async () => {
      const volume = new MemoryVolume({ nowNs: () => systemClock.unixNs() });
      return { volume: everyThirdLater(volume), close: async () => {} };
    },
  ],
  [
    "a node's tree",
    [...CHECKS, ...QUOTA_CHECKS, ...CROWD_CHECKS],
    async (folder) => {
      const keyValueStore = await openJournaledStore(join(folder, "store"), "1");
      const dataFiles = openDataFiles(join(folder, "files"));
      const trees = await openTreeStore({ keyValueStore, dataFiles, clock: systemClock, random: systemRandom });
      const crowd = { case1: { directory: { d: { directory: crowdOfFiles() } } } };
      const image = new MemoryImage({ etc: { directory: { hostname: "raspberrypi\n" } }, crowd: { directory: crowd } });
      const rules = { durability: "sync", quotaBytes: QUOTA_KIB * 1024 } as const;
      const volume = await trees.tree({ node: "node1", kind: "root", image, imageId: "image", generated: [], rules });
      return { volume, close: () => keyValueStore.close() };
    },
  ],
];

describe.skipIf(missing).each(VOLUMES)("the Linux kernel's NFS client on %s", (_, checks, open) => {
  const observations: string[] = [];
  let folder: string;
  let volume: Volume;
  let close: () => Promise<void>;
  let served: ServedVolume | undefined;
  let starts = 0;
  let output: string[] = [];

  async function start(port: number): Promise<void> {
    starts += 1;
    served = await serveVolume(volume, {
      port,
      start: starts,
      observe: (observation) => observations.push(observation.kind),
    });
  }

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "nfs-kernel-"));
    mkdirSync(join(folder, "machine"));
    ({ volume, close } = await open(folder));
    await start(0);
    const port = served!.listener.localPort;
    const watch = setInterval(() => {
      if (served!.service.counters(SERVED_TREE_ID).writtenBytes < BIG_FILE_BYTES / 4) return;
      clearInterval(watch);
      void served!.listener.close().then(() => start(port));
    }, 1);
    const programs = {
      "posix-cases": buildProgram(join(folder, "program")),
      "crowd.cases": join(folder, "crowd.cases"),
      "crowd.results": join(folder, "crowd.results"),
    };
    writeFileSync(programs["crowd.cases"], CROWD_CASES);
    writeFileSync(programs["crowd.results"], CROWD_RESULTS);
    const console = await runMission(join(folder, "machine"), { port, checks, programs, big: bigFile().bytes });
    output = console.split("\n");
    clearInterval(watch); // still there if the client never wrote that much
  }, MISSION_TIMEOUT_MS);

  afterAll(async () => {
    await served?.listener.close();
    await close?.();
    if (folder) rmSync(folder, { recursive: true });
  });

  it("mounts, works and powers off, through a restart of the server", () => {
    expect(starts).toBe(2);
    expect(output.some((line) => line.endsWith("mounted"))).toBe(true);
    expect(output).toContain("all checks were run");
    expect(observations.filter((kind) => kind !== "mount" && kind !== "unmount")).toEqual([]);
  });

  it.each(checks)("finds $name right", ({ name }) => {
    expect(output).toContain(`passed: ${name}`);
  });

  it("leaves in the volume what it says it wrote", async () => {
    const id = (await volume.lookup(volume.rootId, fileNameFromText("big"))) ?? 0;
    const { bytes } = await volume.read(id, 0, BIG_FILE_BYTES + 1);
    expect(createHash("md5").update(bytes).digest("hex")).toBe(bigFile().md5);
    const { entries } = await volume.readdir(volume.rootId, 0, 1000);
    expect(entries.map((entry) => entry.name)).toContain("caf\u00c3\u00a9 \u00ff" as FileName);
    expect(await volume.lookup(volume.rootId, fileNameFromText("many"))).toBeUndefined();
  });
});

function parseChecks(text: string): { name: string; command: string }[] {
  return text
    .trim()
    .split("\n")
    .map((line) => ({ name: /^\S+/.exec(line)?.[0] ?? "", command: line.replace(/^\S+\s+/, "") }));
}

function crowdOfFiles(): Record<string, string> {
  const names = (letter: string, count: number) => Array.from({ length: count }, (_, index) => `${letter}${index}`);
  return Object.fromEntries([...names("f", CROWD_FILES), ...names("gone", CROWD_GOING)].map((each) => [each, ""]));
}

/** The volume with every third answer a promise that takes a turn of the event loop. */
function everyThirdLater(volume: MemoryVolume): Volume {
  let calls = 0;
  return new Proxy(volume, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        const answer = () => value.apply(target, args);
        if (++calls % 3 !== 0) return answer();
        return new Promise((resolve) => setImmediate(resolve)).then(answer);
      };
    },
  });
}

/** Contents that are no repetition, so that a block in the wrong place shows. */
function bigFile(): { bytes: Uint8Array; md5: string } {
  const words = new Uint32Array(BIG_FILE_BYTES / 4);
  for (let index = 0, value = 1; index < words.length; index++) words[index] = value = Math.imul(value, 1664525) + 1;
  const bytes = new Uint8Array(words.buffer);
  return { bytes, md5: createHash("md5").update(bytes).digest("hex") };
}
