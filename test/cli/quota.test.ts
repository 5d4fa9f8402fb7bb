/** A quota that is set, and taken back, while a manager runs: when its node is held to it. */
import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ApiClient } from "../../src/cli/api-client.ts";
import { NfsPeer } from "../data-plane/nfs-peer.ts";
import { requireTools } from "../lab/required-tools.ts";
import { CLUSTER_TOOLS, LoopbackCluster } from "./loopback-cluster.ts";

const MIB = 2 ** 20;

const cluster = new LoopbackCluster(['{ name: node1, mac: "dc:a6:32:00:00:01", address: 127.0.0.1 }']);

/** Where DHCP is somebody else's, the first file of a boot tells that the node boots. */
const DHCP = "dhcp: external";
const bootFile = () =>
  execFileSync("curl", ["-sS", "--max-time", "20", `tftp://127.0.0.1:${cluster.port("tftp")}/config.txt`]);

async function mounted() {
  const peer = await NfsPeer.connect(cluster.port("nfs"), "127.0.0.1");
  const root = (await peer.mount("/bramble/node1/root")) as Uint8Array;
  const write = async (name: string, bytes: number) => {
    const file = await peer.create(root, name);
    return (await peer.write(file, 0, new Uint8Array(bytes).fill(1), "fileSync")).status;
  };
  const diskBytes = async () => {
    const { body } = await peer.call("FSSTAT", (args) => args.opaque(root));
    if (body.bool("attributes follow")) body.skip(84, "attributes");
    return body.hyper("total bytes");
  };
  return { peer, write, diskBytes };
}

describe.skipIf(requireTools([...CLUSTER_TOOLS, "curl"]))("a quota in the manifest of a running manager", () => {
  beforeAll(() => cluster.start({ network: [DHCP] }));
  afterAll(() => cluster.remove());

  it("is obeyed from the next boot on, and shown as the size of the disk", async () => {
    const { peer, write, diskBytes } = await mounted();
    expect(await write("before", MIB / 2)).toBe("NFS3_OK");
    const wholeDiskBytes = await diskBytes();
    cluster.writeManifest({ network: [DHCP], cluster: ["quota: 1MiB"] });
    await new ApiClient(cluster.work.path("state/manager.sock")).post("/v1/reload");
    expect(await diskBytes()).toBe(wholeDiskBytes);
    bootFile();
    expect(await diskBytes()).toBe(MIB);
    expect(await write("more", MIB / 2)).toBe("NFS3ERR_DQUOT");
    expect(await write("less", MIB / 4)).toBe("NFS3_OK");
    peer.close();
  });

  it("is another one after a restart of the manager, if the manifest says so then", async () => {
    await cluster.manager.stop();
    cluster.writeManifest({ network: [DHCP], cluster: ["quota: 2MiB"] });
    await cluster.startManager();
    const { peer, write, diskBytes } = await mounted();
    expect(await diskBytes()).toBe(2 * MIB);
    expect(await write("more", MIB / 2)).toBe("NFS3_OK");
    peer.close();
  });
});
