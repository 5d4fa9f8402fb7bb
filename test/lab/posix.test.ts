/**
 * POSIX behaviour: the cases of posix/cases run in a virtual machine, through the Linux kernel's NFS client on trees of
 * ours and on the machine's own ext4. Both must answer the same, but for what docs/POSIX.md says. Once the files are
 * new; once they were in the image, which both then change: the kernel as a disk, we under a node's layer.
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseIpv4 } from "../../src/bytes/addresses.ts";
import { openExt4 } from "../../src/disk/ext4/index.ts";
import { createNfsService } from "../../src/nfs/server.ts";
import type { Volume } from "../../src/nfs/volume.ts";
import type { TcpListener } from "../../src/ports.ts";
import { systemClock } from "../../src/system/clock.ts";
import { openDataFiles } from "../../src/system/data-files.ts";
import { openFileSource } from "../../src/system/file-source.ts";
import { openLmdbStore } from "../../src/system/lmdb-store.ts";
import { systemRandom } from "../../src/system/random.ts";
import { nodeTcpListeners } from "../../src/system/tcp.ts";
import { MemoryImage } from "../../src/tree/memory-image.ts";
import { openTreeStore } from "../../src/tree/tree-store.ts";
import { MISSION_TIMEOUT_MS, MISSION_TOOLS, runMission } from "./nfs-virtual-machine.ts";
import {
  buildProgram,
  casesFiles,
  differences,
  documentedDifferences,
  type Ground,
  mistakes,
  type Results,
  readCases,
  readResults,
} from "./posix/posix-suite.ts";
import { requireTools } from "./required-tools.ts";

const DISK_BYTES = 128 * 2 ** 20;
const RESULTS_BYTES = 4 * 2 ** 20;
const DOCUMENT = resolve(import.meta.dirname, "../../docs/POSIX.md");
const NEW_FILES_TREE = 1;
const IMAGE_TREE = 2;

const cases = readCases();
const casesArguments = casesFiles()
  .map((path) => `/bin/${basename(path)}`)
  .join(" ");

/** Shell of the virtual machine. /dev/vda is ext4, /dev/vdb takes the results. */
function checks(port: number): { name: string; command: string }[] {
  const mountOptions = `vers=3,proto=tcp,mountproto=tcp,nolock,port=${port},mountport=${port},addr=10.0.2.2,mountaddr=10.0.2.2`;
  const run = (mode: string, folder: string, name: string) =>
    `{ posix-cases ${mode} ${folder} ${casesArguments} > /results/${name}; }`;
  return [
    {
      name: "prepare",
      command: `echo 0 > /proc/sys/fs/protected_hardlinks; mkdir -p /disk /image /results && mount -t ext4 -o noatime /dev/vda /disk &&
        mkdir /disk/image /disk/new && ${run("prepare", "/disk/image", "prepared")} && umount /disk && sync`,
    },
    { name: "served", command: 'echo prepared && read served && test "$served" = served' },
    {
      name: "image",
      command: `mount -t nfs -o ${mountOptions} 10.0.2.2:/image /image && ${run("act", "/image/image", "image-nfs")}`,
    },
    { name: "new", command: run("whole", "/mnt", "new-nfs") },
    {
      name: "ext4",
      command: `mount -t ext4 -o noatime /dev/vda /disk && ${run("act", "/disk/image", "image-ext4")} &&
        ${run("whole", "/disk/new", "new-ext4")}`,
    },
    {
      name: "results",
      command: `cd /results && for name in *; do echo "== $name"; cat $name; done > /dev/vdb && umount /image /disk`,
    },
  ];
}

describe.skipIf(requireTools([...MISSION_TOOLS, "gcc", "mke2fs"]))("POSIX behaviour", () => {
  let folder: string;
  let listener: TcpListener | undefined;
  let console: string;
  const volumes = new Map<number, Volume>();
  const closers: (() => Promise<void> | void)[] = [];
  const faults: unknown[] = [];
  let results: ReadonlyMap<string, Results>;

  async function openTrees() {
    const keyValueStore = openLmdbStore(join(folder, "store"));
    const dataFiles = openDataFiles(join(folder, "files"));
    const trees = await openTreeStore({ keyValueStore, dataFiles, clock: systemClock, random: systemRandom });
    closers.push(async () => {
      await trees.close();
      await keyValueStore.close();
    });
    return trees;
  }

  async function listen(): Promise<number> {
    const service = createNfsService({
      exports: {
        find: (path) => {
          const treeId = path === "/tree" ? NEW_FILES_TREE : IMAGE_TREE;
          return { treeId, volume: volumes.get(treeId)! };
        },
        volume: (treeId) => volumes.get(treeId),
        list: () => ["/tree", "/image"],
      },
      handleKey: new Uint8Array(16).fill(7),
      writeVerifier: new Uint8Array(8).fill(1),
      clock: systemClock,
      observe: (observation) => observation.kind === "fault" && faults.push(observation.error),
      portMappings: () => [],
    });
    listener = await nodeTcpListeners.listen({ address: parseIpv4("127.0.0.1"), port: 0 }, (connection) =>
      service.serveConnection(connection),
    );
    return listener.localPort;
  }

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "posix-"));
    mkdirSync(join(folder, "machine"));
    const disk = join(folder, "disk");
    const resultsDisk = join(folder, "results");
    writeFileSync(disk, "");
    truncateSync(disk, DISK_BYTES);
    execFileSync("mke2fs", ["-q", "-F", "-t", "ext4", "-b", "4096", disk]);
    writeFileSync(resultsDisk, "");
    truncateSync(resultsDisk, RESULTS_BYTES);
    const trees = await openTrees();
    // What is durable is for other tests: here thousands of calls need not wait for the disk.
    const options = { kind: "root", generated: [], rules: { durability: "async" } } as const;
    const empty = new MemoryImage({});
    volumes.set(NEW_FILES_TREE, await trees.tree({ ...options, node: "new", image: empty, imageId: "empty" }));

    async function serveImage(): Promise<void> {
      copyFileSync(disk, join(folder, "image"));
      const image = openExt4(openFileSource(join(folder, "image")));
      closers.push(() => image.close());
      volumes.set(IMAGE_TREE, await trees.tree({ ...options, node: "image", image, imageId: "prepared" }));
    }

    const port = await listen();
    const programs = Object.fromEntries(casesFiles().map((path) => [basename(path), path]));
    console = await runMission(join(folder, "machine"), {
      port,
      checks: checks(port),
      programs: { ...programs, "posix-cases": buildProgram(join(folder, "program")) },
      modules: ["virtio_blk", "ext4", "crc32c_generic"],
      disks: [disk, resultsDisk],
      // It makes the image: if its clock were ahead of the server's, a change would set the times of a file back.
      startsAt: "2020-01-01T00:00:00",
      timeoutMs: MISSION_TIMEOUT_MS * 5 - 10000,
      onLine: (line, type) => line.trim() === "prepared" && void serveImage().then(() => type("served\n")),
    });
    const [, ...parts] = readFileSync(resultsDisk, "utf8").replace(/\0+$/, "").split(/^== /m);
    results = new Map(parts.map((part) => [part.slice(0, part.indexOf("\n")), readResults(part)]));
    // To look at what was seen: POSIX_RESULTS=folder.
    if (process.env.POSIX_RESULTS) {
      mkdirSync(process.env.POSIX_RESULTS, { recursive: true });
      for (const part of parts) writeFileSync(join(process.env.POSIX_RESULTS, part.slice(0, part.indexOf("\n"))), part);
      writeFileSync(join(process.env.POSIX_RESULTS, "console"), console);
    }
  }, MISSION_TIMEOUT_MS * 5);

  afterAll(async () => {
    await listener?.close();
    for (const close of closers) await close();
    if (folder) rmSync(folder, { recursive: true });
  });

  it("ran to its end without a fault of the server", () => {
    const output = console.split("\n").map((line) => line.trim());
    for (const name of ["prepare", "served", "image", "new", "ext4", "results"]) {
      expect(output).toContain(`passed: ${name}`);
    }
    expect(faults).toEqual([]);
  });

  const GROUNDS: [Ground, string][] = [
    ["new files", "new"],
    ["files of an image", "image"],
  ];

  it.each(GROUNDS)("finds on ext4 what the cases say, with %s", (ground, name) => {
    expect(mistakes(cases, ground, results.get(`${name}-ext4`)!)).toEqual([]);
  });

  it("differs from ext4 only in what docs/POSIX.md tells", () => {
    const found = GROUNDS.flatMap(([ground, name]) =>
      differences(cases, ground, results.get(`${name}-ext4`)!, results.get(`${name}-nfs`)!),
    );
    const rows = (list: typeof found) =>
      [...new Set(list.map((one) => `${one.case} | ${one.line} | ${one.ext4} | ${one.nfs}`))].sort();
    expect(rows(found)).toEqual(rows(documentedDifferences(readFileSync(DOCUMENT, "utf8"))));
  });
});
