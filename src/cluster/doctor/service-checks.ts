/** Ports and packet filters: can Pis reach the services? */
import { IPV4_ANY, IPV4_BROADCAST, type Ipv4, ipv4FromNumber, ipv4ToNumber } from "../../bytes/addresses.ts";
import type { DoctorFacts, NetworkFacts, NetworkPlace, PortFacts, Wanted } from "./facts.ts";
import type { Finding } from "./finding.ts";
import { type FilteredPacket, fateOfAll } from "./firewall.ts";

export function checkPorts({ ports }: NetworkFacts, { privileges }: DoctorFacts): Finding[] {
  if (!("seen" in ports)) return [];
  const taken = ports.seen.flatMap((port) => checkPort(port));
  const forbidden = ports.seen.filter(({ state }) => state === "forbidden");
  const [first] = forbidden;
  if (!first) return taken;
  return [
    ...taken,
    {
      id: "low-ports-forbidden",
      severity: "warning",
      what: "This user may not have the ports of the services",
      evidence: `${forbidden.map(({ protocol, port }) => `${protocol.toUpperCase()} ${port}`).join(", ")}: ports below 1024 need CAP_NET_BIND_SERVICE`,
      remedy: `sudo bramble up, or: sudo setcap cap_net_bind_service,cap_net_raw+ep ${privileges.program}`,
    },
  ];
}

/** What to do about programs that are known to have these ports. */
const OWNERS: Readonly<Record<string, string>> = {
  dnsmasq:
    "stop it (sudo systemctl disable --now dnsmasq), or let it leave this interface: except-interface=… and bind-dynamic",
  dhcpd: "sudo systemctl disable --now isc-dhcp-server, or dhcp: proxy on another machine",
  "kea-dhcp4": "sudo systemctl disable --now kea-dhcp4-server",
  "in.tftpd": "sudo systemctl disable --now tftpd-hpa",
  tftpd: "sudo systemctl disable --now tftpd",
  atftpd: "sudo systemctl disable --now atftpd",
  inetd: "take the service from /etc/inetd.conf",
  xinetd: "take the service from /etc/xinetd.d",
  "ganesha.nfsd": "sudo systemctl disable --now nfs-ganesha, or another network.ports.nfs",
  "rpc.mountd": "sudo systemctl disable --now nfs-server, or another network.ports.mount",
};
const KERNEL_NFS =
  "sudo systemctl disable --now nfs-server, or another network.ports.nfs (2049 is the kernel's NFS server)";

/** Without these Pis boot still, or most of them. */
const SPARE = new Set(["port mapper", "console lines"]);

function checkPort({ protocol, port, service, state, owner, message }: PortFacts): Finding[] {
  if (state === "unusable") {
    return [
      {
        id: "port-unusable",
        severity: "error",
        what: `${protocol.toUpperCase()} port ${port} (${service}) cannot be had`,
        evidence: message ?? "",
        remedy: "see the message",
      },
    ];
  }
  if (state !== "taken") return [];
  const isKnown = owner !== undefined && owner !== "unseen";
  // rpcbind tells clients our ports when we register them: that is as good.
  if (isKnown && port === 111 && /^(rpcbind|portmap|systemd)$/.test(owner.name)) return [];
  const isKernelNfs = owner === "unseen" && port === 2049;
  return [
    {
      id: "port-taken",
      severity: SPARE.has(service) ? "warning" : "error",
      what: `${protocol.toUpperCase()} port ${port} (${service}) is another program's`,
      evidence: isKnown
        ? `${owner.name} (process ${owner.pid}) has it`
        : "no program that can be seen here has it: the kernel, or another user's or container's",
      remedy:
        (isKnown ? OWNERS[owner.name] : isKernelNfs ? KERNEL_NFS : undefined) ??
        "stop it, or choose another port in network.ports",
    },
  ];
}

interface Probe {
  what: string;
  packets: FilteredPacket[];
}

/** The TFTP server's side of a transfer, and a Pi's: any two of the range. */
const EPHEMERAL_PORT = 40_000;
const FIRMWARE_PORT = 49_152;
/** NFS clients come from a privileged port. */
const PRIVILEGED_PORT = 800;
const DHCP_CLIENT_OFFSET = 1;

/** What Pis send to us: of each kind the packets that are needed. */
export function probes({ dhcp, ports }: Wanted, { address, netmask, interfaceName }: NetworkPlace): Probe[] {
  const pi = neighbourOf(address, netmask);
  const toUs = { source: pi, destination: address, interfaceName, state: "new" } as const;
  const question: Probe[] =
    dhcp === "external"
      ? []
      : [
          {
            what: `DHCP questions (UDP ${ports.dhcp})`,
            packets: [
              {
                ...toUs,
                protocol: "udp",
                source: IPV4_ANY,
                destination: IPV4_BROADCAST,
                sourcePort: ports.dhcp + DHCP_CLIENT_OFFSET,
                port: ports.dhcp,
              },
            ],
          },
        ];
  const tcp = (what: string, port: number): Probe => ({
    what: `${what} (TCP ${port})`,
    packets: (["new", "established"] as const).map((state) => ({
      ...toUs,
      protocol: "tcp",
      sourcePort: PRIVILEGED_PORT,
      port,
      state,
    })),
  });
  return [
    ...question,
    {
      what: `TFTP requests (UDP ${ports.tftp})`,
      packets: [{ ...toUs, protocol: "udp", sourcePort: FIRMWARE_PORT, port: ports.tftp }],
    },
    {
      what: "TFTP acknowledgements (UDP, an ephemeral port)",
      packets: [{ ...toUs, protocol: "udp", sourcePort: FIRMWARE_PORT, port: EPHEMERAL_PORT, state: "established" }],
    },
    tcp("NFS", ports.nfs),
    tcp("MOUNT", ports.mount),
    ...(ports.portmap === 0 ? [] : [tcp("the port mapper", ports.portmap)]),
  ];
}

/** Some other address of the same network. */
function neighbourOf(address: Ipv4, netmask: Ipv4): Ipv4 {
  const own = ipv4ToNumber(address);
  const network = (own & ipv4ToNumber(netmask)) >>> 0;
  return ipv4FromNumber(own === network + 2 ? network + 3 : network + 2);
}

export function checkFirewall(network: NetworkFacts, { firewall, wanted }: DoctorFacts): Finding[] {
  if (!("seen" in firewall)) return [];
  const asked = probes(wanted, network);
  const fates = asked.map((probe) => ({ ...probe, fate: fateOfAll(firewall.seen, probe.packets) }));
  const blocked = fates.filter(({ fate }) => fate.verdict === "dropped" || fate.verdict === "diverted");
  const unclear = fates.filter(({ fate }) => fate.verdict === "unclear");
  const tell = (some: typeof fates) => {
    const places = [...new Set(some.map(({ fate }) => fate.place))];
    const stoppedAt = (place: string | undefined) => some.filter(({ fate }) => fate.place === place);
    return places.map((place) => `${place}: ${namesOf(stoppedAt(place))}`).join("\n");
  };
  const findings: Finding[] = [];
  if (blocked.length > 0) {
    findings.push({
      id: "firewall-blocks",
      severity: "error",
      what: `This machine's firewall keeps out what Pis send: ${namesOf(blocked)}`,
      evidence: tell(blocked),
      remedy: allow(wanted, network),
    });
  }
  if (unclear.length > 0) {
    findings.push({
      id: "firewall-unclear",
      severity: "note",
      what: `It cannot be told whether the firewall lets in ${namesOf(unclear)}`,
      evidence: tell(unclear),
      remedy: allow(wanted, network),
    });
  }
  return findings;
}

function namesOf(probed: readonly Probe[]): string {
  return probed.map(({ what }) => what).join(", ");
}

/** For the plainest of them; a firewall's own program has its own words. */
function allow({ ports }: Wanted, { interfaceName }: NetworkPlace): string {
  const tcp = [ports.nfs, ports.mount, ports.portmap].filter((port) => port !== 0).join(",");
  const udp = [ports.dhcp, ports.tftp, ports.portmap].filter((port) => port !== 0);
  return (
    `let in UDP ${udp.join(",")}, TCP ${tcp} and answers to what was sent, on ${interfaceName}; ` +
    `as: sudo ufw allow in on ${interfaceName}, or sudo firewall-cmd --permanent --zone=trusted --add-interface=${interfaceName}`
  );
}
