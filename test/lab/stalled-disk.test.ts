/**
 * A disk that does not answer, and an image being imported, must not stand in the way of nodes that need neither: the
 * attributes of a file come from memory, within 50 ms at worst. An echo is measured beside them, so that a busy machine is not
 * taken for a stalled manager.
 */
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ImageStore } from "../../src/manager/image-store.ts";
import { encodeRecord } from "../../src/nfs/test-client.ts";
import { SMALL_IMAGE_COMMANDS } from "../cli/small-image.ts";
import { DataPlaneLab } from "../data-plane/data-plane-lab.ts";
import type { NfsPeer } from "../data-plane/nfs-peer.ts";
import { requireRoot, requireTools } from "./required-tools.ts";

const runMeanwhile = promisify(execFile);

const WAIT_MS_MAX = 50;
const FROZEN_MS = 10_000;
const ASK_EVERY_MS = 1;
const GETATTR = 1;
/** Record mark, RPC header, status, attributes. */
const OK_REPLY_BYTES = 4 + 24 + 4 + 84;
const WRITERS = 16;
const WRITE_BYTES = 64 * 1024;

const READER = { address: "127.0.0.11", node: "node1" };
const WRITER = { address: "127.0.0.12", node: "node2" };

/** A program that only sends something back, to tell what this machine and its other programs take. */
const ECHO = `require("node:net").createServer({ noDelay: true }, (socket) =>
  socket.on("data", () => socket.write(Buffer.alloc(${OK_REPLY_BYTES}))).on("error", () => {}),
).listen(0, "127.0.0.1", function () { process.send(this.address().port); });
process.on("disconnect", () => process.exit());`;

interface Waits {
  count: number;
  longestMs: number;
  p99Ms: number;
}

/** One call after the other by a thread of its own, until it is told to stop; then what it measured. */
function probe(server: { port: number; localAddress: string; calls: readonly Uint8Array[]; serverPid: number }) {
  const thread = new Worker(new URL("./attribute-probe.mjs", import.meta.url), {
    workerData: { ...server, everyMs: ASK_EVERY_MS, replyBytes: OK_REPLY_BYTES },
  });
  return async (): Promise<Waits> => {
    thread.postMessage("stop");
    const [waits] = (await once(thread, "message")) as [number[]];
    const sorted = waits.toSorted((one, other) => one - other);
    return { count: sorted.length, longestMs: sorted.at(-1)!, p99Ms: sorted[Math.floor(sorted.length * 0.99)]! };
  };
}

/** Asks for attributes, and beside it for an echo. */
async function askAttributes(lab: DataPlaneLab, handles: readonly Uint8Array[]) {
  const echo = spawn(process.execPath, ["-e", ECHO], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const [port] = (await once(echo, "message")) as [number];
  const calls = handles.map((handle) => encodeRecord(GETATTR, (args) => args.opaque(handle)));
  const reader = { localAddress: READER.address, calls };
  const stopAsking = probe({ ...reader, port: lab.port, serverPid: lab.workers.pidOf(READER.node)! });
  const stopEcho = probe({ ...reader, port, serverPid: echo.pid! });
  return async () => {
    const [asked, echoed] = await Promise.all([stopAsking(), stopEcho()]);
    echo.disconnect();
    return { asked, echoed };
  };
}

function report(what: string, { asked, echoed }: { asked: Waits; echoed: Waits }): void {
  const text = ({ count, longestMs, p99Ms }: Waits) =>
    `${count}, longest ${longestMs.toFixed(1)} ms, p99 ${p99Ms.toFixed(2)} ms`;
  console.log(`${what}: GETATTR ${text(asked)}; an echo beside it ${text(echoed)}`);
}

/** Keeps writing, unstable, stable and with new files, until told to stop; then resolves when all is answered. */
function writeFlatOut(peer: NfsPeer, root: Uint8Array): () => Promise<number> {
  let isOver = false;
  let writes = 0;
  const bytes = new Uint8Array(WRITE_BYTES).fill(7);
  const writer = async (index: number) => {
    for (let round = 0; !isOver; round++) {
      const file = await peer.create(root, `file-${index}-${round}`);
      for (let block = 0; block < 16 && !isOver; block++) {
        const { status } = await peer.write(file, block * WRITE_BYTES, bytes, block === 15 ? "fileSync" : "unstable");
        if (status !== "NFS3_OK" && status !== "NFS3ERR_NOSPC") throw new Error(`Cannot write: ${status}`);
        writes++;
      }
      await peer.call("REMOVE", (args) => args.opaque(root).name(`file-${index}-${round}` as never));
    }
  };
  const all = Promise.all(Array.from({ length: WRITERS }, (_, index) => writer(index)));
  return async () => {
    isOver = true;
    await all;
    return writes;
  };
}

const isSkipped = requireTools([...SMALL_IMAGE_COMMANDS, "fsfreeze", "losetup", "mkfs.ext4"]) || requireRoot();

// Again when the machine was busy: what stalls, stalls each time.
describe.skipIf(isSkipped)("the attributes of a file", { retry: 2 }, () => {
  let work: string;
  let mountPoint: string;
  let device: string;
  const run = (command: string, ...args: string[]) => execFileSync(command, args, { encoding: "utf8" }).trim();

  beforeAll(() => {
    work = mkdtempSync(join(tmpdir(), "bramble-stalled-"));
    mountPoint = join(work, "mount");
    mkdirSync(mountPoint);
    const disk = join(work, "disk.ext4");
    writeFileSync(disk, "");
    truncateSync(disk, 1024 * 1024 * 1024);
    run("mkfs.ext4", "-q", "-F", disk);
    device = run("losetup", "--find", "--show", disk);
    run("mount", "-t", "ext4", device, mountPoint);
  });

  afterAll(() => {
    run("umount", mountPoint);
    run("losetup", "--detach", device);
    rmSync(work, { recursive: true });
  });

  /** Files of the image, a generated one and one of the node's own: all that a tree is made of. */
  async function someHandles(peer: NfsPeer, root: Uint8Array): Promise<Uint8Array[]> {
    const own = await peer.create(root, "own");
    await peer.write(own, 0, Buffer.alloc(10_000), "fileSync");
    const etc = await peer.lookup(root, "etc");
    const motd = await peer.lookup(etc.handle, "motd");
    return [root, own, etc.handle, motd.handle];
  }

  it.each([
    ["another worker", 2],
    ["the same worker", 1],
  ])(
    "are told at once while the disk stalls and a node of %s writes flat out",
    async (_, workers) => {
      const lab = await DataPlaneLab.start(workers, mkdtempSync(join(mountPoint, "state-")));
      let isFrozen = false;
      try {
        for (const { address, node } of [READER, WRITER]) {
          await lab.open(node);
          lab.own(address, node);
        }
        expect(lab.workers.pidOf(READER.node) === lab.workers.pidOf(WRITER.node)).toBe(workers === 1);
        const reader = await lab.mounted(READER.address, READER.node);
        const handles = await someHandles(reader.peer, reader.root);
        const writer = await lab.mounted(WRITER.address, WRITER.node);
        const stopWriting = writeFlatOut(writer.peer, writer.root);
        await new Promise((done) => setTimeout(done, 2000));

        const stopAsking = await askAttributes(lab, handles);
        await runMeanwhile("fsfreeze", ["--freeze", mountPoint]);
        isFrozen = true;
        await new Promise((done) => setTimeout(done, FROZEN_MS));
        await runMeanwhile("fsfreeze", ["--unfreeze", mountPoint]);
        isFrozen = false;
        await new Promise((done) => setTimeout(done, 2000));
        const waits = await stopAsking();
        const writes = await stopWriting();
        report(`${workers} workers, ${writes} writes`, waits);
        expect(lab.crashes).toEqual([]);
        expect(waits.asked.longestMs - waits.echoed.longestMs).toBeLessThan(WAIT_MS_MAX);
      } finally {
        if (isFrozen) run("fsfreeze", "--unfreeze", mountPoint);
        await lab.stop();
        lab.remove();
      }
    },
    60_000,
  );

  it("are told at once while an image is imported", async () => {
    const lab = await DataPlaneLab.start(2, mkdtempSync(join(work, "state-")));
    try {
      await lab.open(READER.node);
      lab.own(READER.address, READER.node);
      const reader = await lab.mounted(READER.address, READER.node);
      const handles = await someHandles(reader.peer, reader.root);
      const large = join(work, "large.img");
      run("sh", "-c", 'cp "$1" "$2" && head -c 200000000 /dev/urandom >> "$2"', "sh", lab.imagePath, large);
      truncateSync(large, 2 * 1024 ** 3);
      const stopAsking = await askAttributes(lab, handles);
      const startMs = performance.now();
      const images = new ImageStore({ stateDir: lab.folder });
      await images.import(large);
      const waits = await stopAsking();
      report(`import of 2 GiB in ${Math.round(performance.now() - startMs)} ms`, waits);
      expect(waits.asked.longestMs - waits.echoed.longestMs).toBeLessThan(WAIT_MS_MAX);
    } finally {
      await lab.stop();
      lab.remove();
    }
  }, 120_000);
});
