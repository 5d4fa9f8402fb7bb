/** A node that says it is up, as its unit does: by a file that it writes to its root. */
import { UP_REPORT_PATH } from "../../src/cluster/generated/index.ts";
import type { ManagerStatusView } from "../../src/manager/status-view.ts";
import { NfsPeer } from "../data-plane/nfs-peer.ts";
import type { LoopbackCluster } from "./loopback-cluster.ts";

/** Resolves when the manager has told it. `bootId`: of the boot; the same one again is the same boot. */
export async function reportUp(
  cluster: LoopbackCluster,
  node: string,
  address: string,
  bootId = "7a1fc2f0-9d5f-4f0b-8f7c-0c4ce4e0c001",
): Promise<void> {
  const peer = await NfsPeer.connect(cluster.port("nfs"), address);
  let handle = (await peer.mount(`/bramble/${node}/root`)) as Uint8Array;
  const folders = UP_REPORT_PATH.split("/").slice(1);
  const name = folders.pop()!;
  for (const folder of folders) ({ handle } = await peer.lookup(handle, folder));
  const { status } = await peer.write(
    await peer.create(handle, name),
    0,
    Buffer.from(`${bootId} 12.34 up\n`),
    "fileSync",
  );
  peer.close();
  if (status !== "NFS3_OK") throw new Error(`The report of ${node} was not taken: ${status}`);
  await cluster.manager.waitFor(new RegExp(`${node} +up +boot ${bootId.slice(0, 8)}`));
}

export async function statusOf(cluster: LoopbackCluster): Promise<ManagerStatusView> {
  return JSON.parse((await cluster.ask("status", "--json")).stdout) as ManagerStatusView;
}
