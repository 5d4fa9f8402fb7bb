/** Tries each port of the services as the manager would, and gives it back at once. */
import type { PortFacts, RunningManager } from "../../cluster/doctor/facts.ts";
import type { Manifest } from "../../cluster/manifest.ts";
import { type PortProtocol, portOwner } from "../../system/port-owner.ts";
import { listenTcp } from "../../system/tcp.ts";
import { createUdpSockets } from "../../system/udp.ts";
import { bindingOf, type ServiceNetwork } from "../service-networks.ts";

interface Wanted {
  protocol: PortProtocol;
  port: number;
  service: string;
}

export async function lookAtPorts(
  { network: { ports, dhcp } }: Manifest,
  network: ServiceNetwork,
  managers: readonly RunningManager[],
): Promise<PortFacts[]> {
  const wanted: Wanted[] = [
    ...(dhcp === "external" ? [] : [{ protocol: "udp" as const, port: ports.dhcp, service: "DHCP" }]),
    { protocol: "udp", port: ports.tftp, service: "TFTP" },
    { protocol: "tcp", port: ports.nfs, service: "NFS" },
    ...(ports.mount === ports.nfs ? [] : [{ protocol: "tcp" as const, port: ports.mount, service: "MOUNT" }]),
    ...(["tcp", "udp"] as const).flatMap((protocol) =>
      ports.portmap === 0 ? [] : [{ protocol, port: ports.portmap, service: "port mapper" }],
    ),
    ...(ports.netconsole === 0 ? [] : [{ protocol: "udp" as const, port: ports.netconsole, service: "console lines" }]),
  ];
  const udp = await createUdpSockets();
  const binding = bindingOf(network);
  const ours = managers.filter(({ isOurs }) => isOurs);
  const looked: PortFacts[] = [];
  for (const each of wanted) {
    const { protocol, port } = each;
    try {
      if (protocol === "udp") (await udp.bind({ ...binding, port })).close();
      else await (await listenTcp({ address: network.address, port }, (accepted) => accepted.close())).close();
      looked.push({ ...each, state: "free" });
    } catch (error) {
      looked.push({ ...each, ...refusal(error as NodeJS.ErrnoException, each, ours) });
    }
  }
  return looked;
}

function refusal(
  { code, message }: NodeJS.ErrnoException,
  { protocol, port }: Wanted,
  ours: readonly RunningManager[],
): Pick<PortFacts, "state" | "owner" | "message"> {
  if (code === "EACCES" || code === "EPERM") return { state: "forbidden", message };
  if (code !== "EADDRINUSE") return { state: "unusable", message };
  const owner = portOwner(protocol, port);
  // An owner that may not be seen is our manager, when one runs as another user.
  if (ours.some(({ pid }) => owner === undefined || pid === owner.pid))
    return { state: "ours", ...(owner && { owner }) };
  return { state: "taken", owner: owner ?? "unseen", message };
}
