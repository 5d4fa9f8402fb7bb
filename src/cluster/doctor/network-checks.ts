/** Interfaces, addresses, and the switch: is there a network where Pis can meet the manager? */
import { type Ipv4, ipv4ToNumber } from "../../bytes/addresses.ts";
import type { DoctorFacts, InterfaceFacts, NetworkFacts } from "./facts.ts";
import type { Finding } from "./finding.ts";

/** The buffer of the firmware, and what its largest TFTP packets need: 1468 bytes and their headers. */
const FIRMWARE_MTU_BYTES = 1500;
/** RFC 3704: answers must leave by the interface the question came in by. */
const STRICT = 1;

/** That there is a network at all. */
export function checkPlaces({ networks, interfaces }: DoctorFacts): Finding[] {
  if ("seen" in networks || networks.skipped === "") return [];
  return [unclear(networks.skipped, "seen" in interfaces ? interfaces.seen : [])];
}

export function checkNetwork(network: NetworkFacts, facts: DoctorFacts): Finding[] {
  const interfaces = "seen" in facts.interfaces ? facts.interfaces.seen : [];
  const served = interfaces.find(({ name }) => name === network.interfaceName);
  if (!served) return [];
  return [
    ...checkLink(served),
    ...checkAddress(network, interfaces),
    ...checkSubnets(served, interfaces),
    ...checkMtu(served),
    ...checkReversePath(served, interfaces),
    ...checkForwarding(network, facts),
    ...checkSpanningTree(network),
  ];
}

function unclear(why: string, interfaces: readonly InterfaceFacts[]): Finding {
  const named = /network interface "([^"]+)"/.exec(why)?.[1];
  const found = interfaces.find(({ name }) => name === named);
  const isMissing = named !== undefined && !found;
  const hasNoAddress = found !== undefined && found.address === undefined;
  return {
    id: isMissing ? "interface-missing" : hasNoAddress ? "interface-without-address" : "network-unclear",
    severity: "error",
    what: isMissing
      ? `There is no network interface ${named}`
      : hasNoAddress
        ? `Interface ${named} has no IPv4 address`
        : "It is not clear which network the Pis are on",
    evidence: why,
    remedy: isMissing
      ? `set network.interface in the manifest to one of ${wired(interfaces)}`
      : hasNoAddress
        ? `give it a fixed one, as: sudo ip address add 192.168.7.1/24 dev ${named}; and in the system's network settings, to keep it`
        : "name it: network.interface in the manifest, or bramble doctor --interface NAME",
  };
}

function wired(interfaces: readonly InterfaceFacts[]): string {
  return interfaces.flatMap(({ name, isLoopback }) => (isLoopback ? [] : [name])).join(", ") || "(there are none)";
}

function checkLink({ name, isUp, hasCarrier }: InterfaceFacts): Finding[] {
  if (!isUp) {
    return [
      {
        id: "interface-down",
        severity: "error",
        what: `Interface ${name} is switched off`,
        evidence: "its flag UP is not set",
        remedy: `sudo ip link set ${name} up`,
      },
    ];
  }
  if (hasCarrier) return [];
  return [
    {
      id: "interface-without-carrier",
      severity: "error",
      what: `Interface ${name} has no link`,
      evidence: "it is up, and sees no carrier",
      remedy: "plug the cable in, at both ends; is the switch on?",
    },
  ];
}

function checkAddress(network: NetworkFacts, interfaces: readonly InterfaceFacts[]): Finding[] {
  const { address, subnet } = network.wanted;
  const owner = interfaces.find((each) => each.address === network.address);
  const findings: Finding[] = [];
  if (address !== undefined && !owner) {
    findings.push({
      id: "address-not-here",
      severity: "error",
      what: `The manager's address ${address} is not that of ${network.interfaceName}`,
      evidence: `${network.interfaceName} has ${interfaces.find(({ name }) => name === network.interfaceName)?.address ?? "none"}; only the first address of an interface is looked at`,
      remedy: "correct network.address, or leave it out",
    });
  }
  const at = ipv4ToNumber(network.address);
  if (subnet && (at < subnet.first || at > subnet.last)) {
    findings.push({
      id: "address-outside-subnet",
      severity: "error",
      what: `The manager's address ${network.address} is outside its own network`,
      evidence: `network.subnet is ${subnet.text}`,
      remedy: "correct network.subnet, or give the interface an address in it",
    });
  }
  return findings;
}

function checkSubnets(served: InterfaceFacts, interfaces: readonly InterfaceFacts[]): Finding[] {
  const twins = twinsOf(served, interfaces);
  if (twins.length === 0) return [];
  const described = [served, ...twins].map(({ name, address }) => `${name} ${address}`).sort();
  return [
    {
      id: "subnet-twice",
      severity: "warning",
      what: "Two interfaces are in one network",
      evidence: described.join(", "),
      remedy:
        "take the address from one of them: the kernel sends by either, and Pis do not take answers from another address",
    },
  ];
}

function twinsOf(served: InterfaceFacts, interfaces: readonly InterfaceFacts[]): InterfaceFacts[] {
  const { address, netmask } = served;
  if (!address || !netmask) return [];
  return interfaces.filter(
    (other) =>
      other.name !== served.name &&
      other.isUp &&
      other.address !== undefined &&
      (isIn(other.address, address, netmask) || (other.netmask && isIn(address, other.address, other.netmask))),
  );
}

export function isIn(address: Ipv4, network: Ipv4, netmask: Ipv4): boolean {
  const mask = ipv4ToNumber(netmask);
  return ((ipv4ToNumber(address) ^ ipv4ToNumber(network)) & mask) === 0;
}

function checkMtu({ name, mtuBytes, isLoopback }: InterfaceFacts): Finding[] {
  if (isLoopback || mtuBytes === FIRMWARE_MTU_BYTES) return [];
  if (mtuBytes > FIRMWARE_MTU_BYTES) {
    return [
      {
        id: "mtu-large",
        severity: "warning",
        what: `Interface ${name} sends frames that Pis cannot receive`,
        evidence: `its MTU is ${mtuBytes}; the firmware's buffer holds ${FIRMWARE_MTU_BYTES} bytes`,
        remedy: `sudo ip link set ${name} mtu ${FIRMWARE_MTU_BYTES}; and in the system's network settings, to keep it`,
      },
    ];
  }
  return [
    {
      id: "mtu-small",
      severity: "error",
      what: `Interface ${name} cannot send the firmware's packets whole`,
      evidence: `its MTU is ${mtuBytes}; TFTP blocks of 1468 bytes need ${FIRMWARE_MTU_BYTES}, and the firmware takes no fragments`,
      remedy: `sudo ip link set ${name} mtu ${FIRMWARE_MTU_BYTES}; a tunnel or VPN is no network for Pis`,
    },
  ];
}

function checkReversePath(served: InterfaceFacts, interfaces: readonly InterfaceFacts[]): Finding[] {
  if (served.reversePathFilter !== STRICT) return [];
  const others = interfaces.filter(
    (each) => each.name !== served.name && !each.isLoopback && each.address && each.isUp,
  );
  return [
    {
      id: "reverse-path-filter",
      severity: others.length > 0 ? "warning" : "note",
      what: `The kernel drops packets on ${served.name} whose sender it would answer by another interface`,
      evidence: `rp_filter is 1 (strict)${others.length > 0 ? `, and there is also ${others.map(({ name }) => name).join(", ")}` : "; with one interface that does no harm"}`,
      remedy: `sudo sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.${served.name}.rp_filter=2`,
    },
  ];
}

/** Serving needs no forwarding; being the way out does. */
function checkForwarding({ address, wanted: { router } }: NetworkFacts, { wanted, host }: DoctorFacts): Finding[] {
  if (wanted.dhcp !== "server" || router !== address || host.forwards !== false) return [];
  return [
    {
      id: "router-does-not-forward",
      severity: "warning",
      what: "Nodes are told that the manager is their router, and it forwards nothing",
      evidence: `network.router is ${address}, this machine's; net.ipv4.ip_forward is 0`,
      remedy: "sudo sysctl -w net.ipv4.ip_forward=1, or name another router. Booting works without",
    },
  ];
}

function checkSpanningTree({ interfaceName, spanningTree }: NetworkFacts): Finding[] {
  const [bpdu] = "seen" in spanningTree ? spanningTree.seen.bpdus : [];
  if (!bpdu) return [];
  const { protocol, root, bridge, port, forwardDelayS, helloS } = bpdu;
  return [
    {
      id: "spanning-tree",
      severity: "warning",
      what: `The switch speaks spanning tree: a port may stay dead for ${2 * forwardDelayS} s after a Pi is switched on`,
      evidence:
        `on ${interfaceName}, ${protocol} from bridge ${bridge.mac} port ${port}, root ${root.mac}: forward delay ${forwardDelayS} s, ` +
        `hello ${helloS} s. A Pi 3B gives up for good after about 25 s; whether a Pi's port is an edge port cannot be seen from here`,
      remedy: "set the Pis' ports to edge (portfast), or switch spanning tree off there",
    },
  ];
}
