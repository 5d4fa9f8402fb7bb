/** The machine the manager runs on: program, rights, clock, disk, container, other managers. */
import type { DoctorFacts, NetworkPlace } from "./facts.ts";
import type { Finding } from "./finding.ts";
import { isIn } from "./network-checks.ts";

/** `engines` of package.json. */
const NODE_MIN = [20, 10] as const;
/** This program was written after it. */
const PROGRAM_WRITTEN_MS = Date.UTC(2026, 10, 1);
const MIB = 2 ** 20;
/** Nodes get ENOSPC from 32 MiB on; below this there is no room to work. */
const FREE_ERROR_BYTES = 512 * MIB;
/** An unpacked Raspberry Pi OS image holds 2 to 6 GiB. */
const FREE_WARNING_BYTES = 4096 * MIB;
/** A hard disk needs 10 to 20 ms. At 40 ms an untar of 1,000 files by one node takes a minute. */
const SYNC_SLOW_MS = 40;

export function checkProgram({ program }: DoctorFacts): Finding[] {
  const [major = 0, minor = 0] = program.nodeVersion.split(".").map(Number);
  const isOld = major < NODE_MIN[0] || (major === NODE_MIN[0] && minor < NODE_MIN[1]);
  return [
    ...(isOld
      ? [
          {
            id: "node-old" as const,
            severity: "error" as const,
            what: "Node is too old",
            evidence: `version ${program.nodeVersion}; ${NODE_MIN.join(".")} or later is needed`,
            remedy: "install a newer one, from your distribution or nodejs.org",
          },
        ]
      : []),
    ...program.libraries.flatMap(({ name, failure }) =>
      failure === undefined
        ? []
        : [
            {
              id: "library-missing" as const,
              severity: "error" as const,
              what: `The library ${name} cannot be loaded`,
              evidence: failure,
              remedy:
                "npm ci in Bramble's folder, on this machine: it brings the build for its processor and C library",
            },
          ],
    ),
  ];
}

export function checkPrivileges({ privileges }: DoctorFacts): Finding[] {
  if (privileges.canOpenRawSockets) return [];
  return [
    {
      id: "raw-sockets-forbidden",
      severity: "warning",
      what: "This user may not send frames to clients without an address",
      evidence: "CAP_NET_RAW is missing; offers would be broadcast, which a Pi 3B does not take well",
      remedy: `sudo bramble up, or: sudo setcap cap_net_bind_service,cap_net_raw+ep ${privileges.program}`,
    },
  ];
}

export function checkClock({ clock }: DoctorFacts): Finding[] {
  if (!("seen" in clock)) return [];
  const { unixMs, isSynchronised } = clock.seen;
  if (unixMs < PROGRAM_WRITTEN_MS) {
    return [
      {
        id: "clock-wrong",
        severity: "error",
        what: "The clock is wrong",
        evidence: `it says ${new Date(unixMs).toISOString().slice(0, 10)}, and this program was written later`,
        remedy: "sudo date -s …, and a time service: certificates and the times of files are checked against it",
      },
    ];
  }
  if (isSynchronised) return [];
  return [
    {
      id: "clock-unsynchronised",
      severity: "note",
      what: "Nothing keeps the clock right",
      evidence: "the kernel says that it is not synchronised (adjtimex)",
      remedy:
        "sudo timedatectl set-ntp true, or install chrony; in a virtual machine or container its host may see to it",
    },
  ];
}

const VOLATILE = new Set(["tmpfs", "overlay"]);

export function checkDisk({ disk }: DoctorFacts): Finding[] {
  if (!("seen" in disk)) return [];
  const { folder, problem, fileSystem, freeBytes, syncMs } = disk.seen;
  if (problem !== undefined) {
    return [
      {
        id: "state-folder",
        severity: "error",
        what: `State cannot be kept in ${folder}`,
        evidence: problem,
        remedy: "run it as the user who may (sudo), or set stateDir or --state to another folder",
      },
    ];
  }
  const findings: Finding[] = [];
  const free = `${Math.floor(freeBytes / MIB)} MiB are free for ${folder}`;
  if (freeBytes < FREE_WARNING_BYTES) {
    const isFull = freeBytes < FREE_ERROR_BYTES;
    findings.push({
      id: isFull ? "disk-full" : "disk-small",
      severity: isFull ? "error" : "warning",
      what: isFull ? "The disk with the state is full" : "The disk with the state has little room",
      evidence: free,
      remedy:
        "make room, or set stateDir to another disk: an unpacked image takes 2 to 6 GiB, and nodes write beside it",
    });
  }
  if (syncMs !== undefined && syncMs > SYNC_SLOW_MS) {
    findings.push({
      id: "disk-slow",
      severity: "warning",
      what: "The disk with the state is slow to keep what it is told",
      evidence: `forcing 4 KiB to it takes ${Math.round(syncMs)} ms (median); each change of a node waits for it`,
      remedy: "an SSD for stateDir; or durability: async, where the last second may be lost",
    });
  }
  if (fileSystem !== undefined) {
    const isVolatile = VOLATILE.has(fileSystem);
    findings.push({
      id: isVolatile ? "disk-volatile" : "disk-network",
      severity: isVolatile ? "warning" : "error",
      what: isVolatile
        ? "What nodes write would not outlive this container or this boot"
        : "The state would lie on another machine's disk",
      evidence: `${folder} is on ${fileSystem}`,
      remedy: isVolatile
        ? "set stateDir to a disk, or mount a volume there"
        : "a local disk for stateDir: the store maps its file into memory and needs true locks",
    });
  }
  return findings;
}

/** Containers whose own network is behind the address of their host, unless told otherwise. */
const NAT_CONTAINERS = new Set(["docker", "podman", "kubernetes", "oci"]);
/** What QEMU, VirtualBox and rootless Podman give by default: 10.0.2.0/24 with the host at .2. */
const USER_NETWORK_GATEWAY = "10.0.2.2";

export function checkSurroundings(network: NetworkPlace, { host, interfaces }: DoctorFacts): Finding[] {
  const { interfaceName, address, netmask } = network;
  const driver = "seen" in interfaces ? interfaces.seen.find(({ name }) => name === interfaceName)?.driver : undefined;
  if (host.container !== undefined && NAT_CONTAINERS.has(host.container) && (driver === "veth" || driver === "tun")) {
    return [
      {
        id: "container-network",
        severity: "error",
        what: "This container has a network of its own, where no Pi is",
        evidence: `${host.container}; ${interfaceName} (${address}) is one end of a ${driver} pair`,
        remedy:
          "--network host, or a macvlan network on the Pis' interface: broadcasts and TFTP do not pass a container's bridge",
      },
    ];
  }
  if (host.isWsl) {
    return [
      {
        id: "nat-network",
        severity: "error",
        what: "Windows keeps this system's network apart from the Pis'",
        evidence: "this is the Windows Subsystem for Linux; its network is behind NAT unless it was set otherwise",
        remedy: "networkingMode=bridged in .wslconfig, a virtual machine with a bridged network, or another machine",
      },
    ];
  }
  if (host.gateway === USER_NETWORK_GATEWAY && isIn(host.gateway, address, netmask)) {
    return [
      {
        id: "nat-network",
        severity: "error",
        what: "This virtual machine is behind NAT, where no Pi is",
        evidence: `${interfaceName} has ${address}, and the gateway is ${host.gateway}: user networking of QEMU, VirtualBox or Podman`,
        remedy: "a bridged network for the virtual machine",
      },
    ];
  }
  return [];
}

export function checkManagers({ managers }: DoctorFacts): Finding[] {
  if (!("seen" in managers)) return [];
  return managers.seen.map(
    ({ pid, isOurs }): Finding =>
      isOurs
        ? {
            id: "manager-running",
            severity: "note",
            what: "A manager of this cluster runs",
            evidence: pid === undefined ? "its socket in the state folder is open" : `process ${pid}`,
            remedy: "nothing; bramble status says how the nodes are",
          }
        : {
            id: "manager-elsewhere",
            severity: "warning",
            what: "Another Bramble runs on this machine",
            evidence: `process ${pid}; it serves another state folder`,
            remedy: "stop it, or give the two different interfaces and ports",
          },
  );
}
