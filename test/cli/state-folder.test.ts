/** What docs/STORAGE.md tells people to do with a state folder: copy it and take it elsewhere, check it and put it right. */
import { execFileSync } from "node:child_process";
import { readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NfsPeer } from "../data-plane/nfs-peer.ts";
import { requireTools } from "../lab/required-tools.ts";
import { CLUSTER_TOOLS, LoopbackCluster } from "./loopback-cluster.ts";

const LARGE_BYTES = 40_000;

const cluster = new LoopbackCluster(['{ name: node1, mac: "dc:a6:32:00:00:01", address: 127.0.0.1 }']);
const folder = (name: string) => cluster.work.path(name);
const connect = () => NfsPeer.connect(cluster.port("nfs"), "127.0.0.1");

/** A small file, whose contents are in its record, and a large one, which has a data file. */
async function write(letter: string): Promise<{ small: Uint8Array; large: Uint8Array }> {
  const peer = await connect();
  const root = (await peer.mount("/bramble/node1/root")) as Uint8Array;
  const [small, large] = [await peer.create(root, `small-${letter}`), await peer.create(root, `large-${letter}`)];
  await peer.write(small, 0, Buffer.from(letter), "fileSync");
  await peer.write(large, 0, Buffer.from(letter.repeat(LARGE_BYTES)), "fileSync");
  peer.close();
  return { small, large };
}

async function expectWritten(letter: string, { small, large }: { small: Uint8Array; large: Uint8Array }) {
  const peer = await connect();
  expect([await peer.read(small), await peer.read(large)]).toEqual([letter, letter.repeat(LARGE_BYTES)]);
  peer.close();
}

/** As `rsync -aHS` copies it; the one that was copied is gone then. */
function takeElsewhere(from: string, to: string): void {
  execFileSync("cp", ["-a", "--sparse=always", folder(from), folder(to)]);
  rmSync(folder(from), { recursive: true });
}

/** Of the contents of large files. */
function dataFiles(): string[] {
  return readdirSync(folder("state/data"), { recursive: true, encoding: "utf8" })
    .map((name) => folder(`state/data/${name}`))
    .filter((path) => statSync(path).size >= LARGE_BYTES);
}

describe.skipIf(requireTools([...CLUSTER_TOOLS, "flock"]))("a state folder", () => {
  beforeAll(() => cluster.start());
  afterAll(() => cluster.remove());

  it("that was copied has everything, handles too, when the manager was stopped", async () => {
    const written = await write("a");
    await cluster.manager.stop();
    takeElsewhere("state", "backup");
    expect((await cluster.ask("fsck", "--state", folder("backup"))).stdout).toMatch(/: nothing is wrong\n$/);
    renameSync(folder("backup"), folder("state"));
    await cluster.startManager();
    await expectWritten("a", written);
  });

  it("that was copied has what was answered last, when the manager was killed: that is in the journals", async () => {
    const written = await write("b");
    const killed = cluster.manager;
    killed.child.kill("SIGKILL");
    await killed.ended;
    // Its workers end when they notice.
    execFileSync("flock", [folder("state/workers.lock"), "true"]);
    execFileSync("rm", [folder("state/trees/lock.mdb")]);
    takeElsewhere("state", "backup");
    renameSync(folder("backup"), folder("state"));
    await cluster.startManager();
    await expectWritten("b", written);
    await cluster.manager.stop();
    expect((await cluster.ask("fsck")).stdout).toMatch(/: nothing is wrong\n$/);
  });

  it("is put right where something is left over, and where content is lost that is told", async () => {
    const [path] = dataFiles();
    writeFileSync(join(dirname(path!), "fffff"), "");
    const leftover = `layer ${Number.parseInt(basename(dirname(path!)), 16)}: data file fffff that belongs to no file`;
    const found = await cluster.ask("fsck");
    expect([found.code, found.stdout]).toEqual([0, expect.stringContaining(`left over: ${leftover}\n`)]);
    const repaired = await cluster.ask("fsck", "--repair");
    expect([repaired.code, repaired.stdout]).toEqual([0, expect.stringContaining(`repaired: ${leftover}\n`)]);
    expect((await cluster.ask("fsck")).stdout).toMatch(/: nothing is wrong\n$/);

    rmSync(path!);
    const told = /^wrong: layer \d+: file \d+: its data file is missing: content is lost$/m;
    for (const words of [["fsck"], ["fsck", "--repair"]]) {
      const { code, stdout } = await cluster.ask(...words);
      expect([code, stdout]).toEqual([1, expect.stringMatching(told)]);
    }
    const { ok, findings } = JSON.parse((await cluster.ask("fsck", "--json")).stdout);
    expect([ok, findings]).toEqual([false, [{ kind: "damage", text: expect.stringContaining("content is lost") }]]);
  });
});
