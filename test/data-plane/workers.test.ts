/** Worker processes as they are: started, fed with connections, killed. Needs the built program. */
import { cpSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startWorkers } from "../../src/manager/data-plane/workers.ts";
import { systemClock } from "../../src/system/clock.ts";
import { SMALL_IMAGE_COMMANDS } from "../cli/small-image.ts";
import { requireTools } from "../lab/required-tools.ts";
import { DataPlaneLab, until } from "./data-plane-lab.ts";

const ONE = "127.0.0.11";
const TWO = "127.0.0.12";

describe.skipIf(requireTools(SMALL_IMAGE_COMMANDS))("worker processes", () => {
  let lab: DataPlaneLab;

  beforeEach(async () => {
    lab = await DataPlaneLab.start(2);
    for (const [address, node] of [
      [ONE, "node1"],
      [TWO, "node2"],
    ] as const) {
      await lab.open(node);
      lab.own(address, node);
    }
  }, 60_000);

  afterEach(async () => {
    await lab.stop();
    lab.remove();
  });

  const motdOf = async (address: string, node: string) => {
    const { peer, root } = await lab.mounted(address, node);
    const etc = await peer.lookup(root, "etc");
    const motd = await peer.lookup(etc.handle, "motd");
    return { peer, root, motd: motd.handle, text: await peer.read(motd.handle) };
  };

  it("serve each node from a process of its own, and nothing of one to the other", async () => {
    expect(lab.workers.pidOf("node1")).not.toBe(lab.workers.pidOf("node2"));
    const one = await motdOf(ONE, "node1");
    const two = await motdOf(TWO, "node2");
    expect([one.text, two.text]).toEqual(["node1", "node2"]);
    expect(await two.peer.mount("/bramble/node1/root")).toBe(13);
    expect((await two.peer.getattr(one.root)).status).toBe("NFS3ERR_ACCES");
    // The worker tells of it on another way than the answer takes.
    const told = { kind: "nfs", observation: expect.objectContaining({ kind: "forbidden-handle", client: TWO }) };
    await expect.poll(() => lab.observed).toContainEqual(told);
  });

  it("are started again when they are killed: handles go on, what was promised is there, others notice nothing", async () => {
    const { peer, root } = await lab.mounted(ONE, "node1");
    const other = await lab.mounted(TWO, "node2");
    const file = await peer.create(root, "kept");
    await peer.write(file, 0, Buffer.from("promised"), "fileSync");
    process.kill(lab.workers.pidOf("node1")!, "SIGKILL");
    await peer.closed;
    expect(await lab.insistently(ONE, (again) => again.read(file))).toBe("promised");
    expect(lab.crashes).toEqual([{ worker: expect.any(Number), reason: "signal SIGKILL", crashes: 1, retryMs: 0 }]);
    expect(lab.reopened).toEqual(["node1"]);
    expect((await other.peer.getattr(other.root)).status).toBe("NFS3_OK");
  });

  it("have what those of a killed manager had answered, though they are more and a node is another one's", async () => {
    const nodes = [
      { address: ONE, node: "node1" },
      { address: TWO, node: "node2" },
    ];
    const mounted = await Promise.all(nodes.map(({ address, node }) => lab.mounted(address, node)));
    // Stopped within the second that it is in the journals only.
    const files = await Promise.all(mounted.map(({ peer, root }) => peer.create(root, "kept")));
    await Promise.all(mounted.map(({ peer }, index) => peer.write(files[index]!, 0, Buffer.from("kept"), "fileSync")));
    const pids = ["node1", "node2"].map((node) => lab.workers.pidOf(node)!);
    for (const pid of pids) process.kill(pid, "SIGSTOP");
    const folder = mkdtempSync(join(tmpdir(), "bramble-workers-"));
    cpSync(lab.folder, folder, { recursive: true });
    for (const pid of pids) process.kill(pid, "SIGCONT");
    const later = await DataPlaneLab.start(3, folder);
    try {
      for (const [index, { address, node }] of nodes.entries()) {
        await later.open(node);
        later.own(address, node);
        expect(await later.insistently(address, (peer) => peer.read(files[index]!))).toBe("kept");
      }
    } finally {
      await later.stop();
      later.remove();
    }
  });

  it("are waited with longer when they crash again and again, and clients wait with them", async () => {
    for (let crash = 1; crash <= 4; crash++) {
      const before = lab.reopened.length;
      process.kill(lab.workers.pidOf("node1")!, "SIGKILL");
      await until(() => lab.crashes.length === crash);
      const { peer } = await lab.mounted(ONE, "node1");
      peer.close();
      await until(() => lab.reopened.length > before);
    }
    expect(lab.crashes.map(({ crashes, retryMs }) => [crashes, retryMs])).toEqual([
      [1, 0],
      [2, 100],
      [3, 200],
      [4, 400],
    ]);
  });

  it("leave no client waiting whose connection was on its way to one that died", async () => {
    const pid = lab.workers.pidOf("node1")!;
    process.kill(pid, "SIGSTOP");
    const peers = await Promise.all(Array.from({ length: 10 }, () => lab.connect(ONE)));
    const calls = Promise.allSettled(peers.map((peer) => peer.mount("/bramble/node1/root")));
    // Accepted, that is, and sent on as far as that goes.
    await new Promise((done) => setTimeout(done, 200));
    process.kill(pid, "SIGKILL");
    expect((await calls).map(({ status }) => status)).toEqual(peers.map(() => "rejected"));
    await lab.mounted(ONE, "node1");
  });

  it("answer what was asked while one was away", async () => {
    process.kill(lab.workers.pidOf("node1")!, "SIGKILL");
    const [paths, opened] = await Promise.all([lab.workers.overriddenPaths("node1"), lab.open("node1", "anew")]);
    expect([paths, opened]).toEqual([[], { usedBytes: 0 }]);
    expect((await motdOf(ONE, "node1")).text).toBe("anew");
  });

  it("close connections from an address that is another node's now", async () => {
    const { peer } = await lab.mounted(ONE, "node1");
    lab.own(ONE, "node2");
    await peer.closed;
    expect((await motdOf(ONE, "node2")).text).toBe("node2");
    lab.own(ONE, undefined);
    await expect((await lab.connect(ONE)).mount("/bramble/node2/root")).rejects.toThrow("closed");
  });

  it("hold a node's calls while its trees change, see what the manager stored, and call old handles stale", async () => {
    const { peer, root } = await lab.mounted(ONE, "node1");
    const file = await peer.create(root, "mine");
    await peer.write(file, 0, Buffer.alloc(10_000, 1), "fileSync");
    expect(await lab.workers.release("node1", { abandon: true })).toEqual({ usedBytes: 10_000 });
    let isAnswered = false;
    const held = peer.getattr(file).finally(() => {
      isAnswered = true;
    });
    const newcomer = lab.mounted(ONE, "node1");
    await lab.catalog.dropNodeLayer("node1");
    expect(isAnswered).toBe(false);
    await lab.open("node1");
    expect((await held).status).toBe("NFS3ERR_STALE");
    const { root: newRoot } = await newcomer;
    expect((await peer.lookup(newRoot, "mine")).status).toBe("NFS3ERR_NOENT");
    // Ids go on where they were, which only the store knows that the manager wrote.
    const [before, after] = await Promise.all([file, peer.create(newRoot, "new")]);
    const idOf = (handle: Uint8Array) => Buffer.from(handle).readBigUInt64BE(8);
    expect(idOf(after)).toBeGreaterThan(idOf(before));
  });

  it("still hold a node's calls when they crash while its trees change", async () => {
    await lab.workers.release("node1", { abandon: false });
    process.kill(lab.workers.pidOf("node1")!, "SIGKILL");
    await until(() => lab.crashes.length === 1);
    const mounted = lab.mounted(ONE, "node1");
    const first = await Promise.race([mounted, new Promise((done) => setTimeout(() => done("waits"), 500))]);
    expect(first).toBe("waits");
    await lab.open("node1");
    await mounted;
  });

  it("tell who was at work, and what is stored", async () => {
    const { peer, root } = await lab.mounted(ONE, "node1");
    await peer.write(await peer.create(root, "file"), 0, Buffer.alloc(5000), "fileSync");
    const activity = () =>
      lab.observed.flatMap((each) => (each.kind === "activity" ? [...each.trees, ...each.nodes] : []));
    await until(() => activity().some((each) => "usedBytes" in each && each.usedBytes === 5000));
    expect(activity()).toContainEqual(
      expect.objectContaining({
        node: "node1",
        kind: "root",
        activity: expect.objectContaining({ writtenBytes: 5000 }),
      }),
    );
  });

  it("serve a boot file from a port of their own", async () => {
    const { nodeUdpSockets } = await import("../../src/system/udp-node.ts");
    const { decodePacket, encodePacket } = await import("../../src/tftp/packet.ts");
    const client = await nodeUdpSockets().bind({ address: "127.0.0.1" as never, port: 0 });
    const answer = new Promise<object>((resolve) =>
      client.onDatagram(({ bytes, from }) => resolve({ ...decodePacket(bytes), port: from.port })),
    );
    const options = new Map([["tsize", "0"]]);
    const bytes = encodePacket({ kind: "readRequest", path: "config.txt", mode: "octet", options });
    const request = {
      path: "config.txt",
      client: { address: "127.0.0.1" as never, port: client.localPort },
      options,
      bytes,
    };
    lab.workers.serveTftp("node2", "config.txt", request);
    expect(await answer).toMatchObject({ kind: "optionAcknowledge", port: expect.any(Number) });
    client.close();
  });

  it("keep a second manager's workers from the same files until they are gone", async () => {
    const second = startWorkers(lab.settings(1));
    const first = await Promise.race([second, new Promise((done) => setTimeout(() => done("waits"), 1000))]);
    expect(first).toBe("waits");
    await lab.workers.stop();
    lab.workers = await second;
  });

  it("answer, when they have stopped, that they will not", async () => {
    const second = startWorkers(lab.settings(1));
    await lab.workers.stop();
    await expect(lab.workers.overriddenPaths("node1")).rejects.toThrow("Cannot ask a worker: the manager is stopping");
    lab.workers = await second;
  });

  it("do not start where a worker of an earlier manager does not end", async () => {
    await expect(startWorkers(lab.settings(1))).rejects.toThrow(
      /^Cannot start: a worker of an earlier manager still has/,
    );
  }, 20_000);

  it("leave the others their store when one dies in a transaction", async () => {
    const other = await lab.mounted(TWO, "node2");
    for (let round = 0; round < 5; round++) {
      const { peer, root } = await lab.mounted(ONE, "node1");
      // Many calls whose transactions are under way at once when the process goes.
      const calls = Array.from({ length: 200 }, (_, index) => peer.create(root, `file-${round}-${index}`));
      const answered = Promise.allSettled(calls);
      await calls[20];
      process.kill(lab.workers.pidOf("node1")!, "SIGKILL");
      const done = (await answered).flatMap(({ status }, index) => (status === "fulfilled" ? [index] : []));
      await until(() => lab.crashes.length === round + 1);
      const startedMs = systemClock.monotonicMs();
      await other.peer.create(other.root, `other-${round}`);
      await lab.open("node3");
      expect(systemClock.monotonicMs() - startedMs).toBeLessThan(5000);
      const again = await lab.mounted(ONE, "node1");
      for (const index of done) {
        expect([index, (await again.peer.lookup(again.root, `file-${round}-${index}`)).status]).toEqual([
          index,
          "NFS3_OK",
        ]);
      }
      again.peer.close();
    }
  }, 60_000);
});
