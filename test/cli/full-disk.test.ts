/** A manager whose state folder is on a disk that others have filled. */
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { diskSpace } from "../../src/system/disk-room.ts";
import { NfsPeer } from "../data-plane/nfs-peer.ts";
import { requireRoot, requireTools } from "../lab/required-tools.ts";
import { CLUSTER_TOOLS, LoopbackCluster } from "./loopback-cluster.ts";

const MIB = 2 ** 20;

const cluster = new LoopbackCluster(['{ name: node1, mac: "dc:a6:32:00:00:01", address: 127.0.0.1 }']);
const state = cluster.work.path("state");

describe.skipIf(requireRoot() || requireTools([...CLUSTER_TOOLS, "fallocate"]))("on a full disk", () => {
  beforeAll(async () => {
    mkdirSync(state);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=96m,mode=777", "tmpfs", state]);
    await cluster.start({ network: ["dhcp: external"] });
  }, 60_000);
  afterAll(async () => {
    await cluster.manager.stop();
    execFileSync("umount", [state]);
    await cluster.remove();
  });

  it("a reset says that there is no room for it and leaves the node as it is; with room it is done", async () => {
    const peer = await NfsPeer.connect(cluster.port("nfs"), "127.0.0.1");
    const root = (await peer.mount("/bramble/node1/root")) as Uint8Array;
    const file = await peer.create(root, "mine");
    expect(await peer.write(file, 0, new Uint8Array(MIB), "fileSync")).toMatchObject({ status: "NFS3_OK" });
    const filling = `${state}/not-brambles`;
    execFileSync("fallocate", ["-l", String(diskSpace(state).freeBytes - MIB), filling]);
    expect(await cluster.ask("nodes", "reset", "node1")).toEqual({
      code: 1,
      stdout: "",
      stderr: `bramble: Cannot reset node1: the disk with the state folder ${state} is full; make room there, and ask again\n`,
    });
    expect((await peer.call("GETATTR", (args) => args.opaque(file))).status).toBe("NFS3_OK");
    rmSync(filling);
    expect(await cluster.ask("nodes", "reset", "node1")).toMatchObject({
      code: 0,
      stdout: "node1 is as new: 1.0 MiB dropped. Restart it if it is running\n",
    });
    expect((await peer.call("GETATTR", (args) => args.opaque(file))).status).toBe("NFS3ERR_STALE");
    peer.close();
  });
});
