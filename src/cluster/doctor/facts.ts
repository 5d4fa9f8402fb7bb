/** What `bramble doctor` looked at, as plain data. What could not be seen says why. */
import type { Ipv4, Mac } from "../../bytes/addresses.ts";
import type { BootOffer } from "./boot-offer.ts";
import type { Bpdu } from "./bpdu.ts";
import type { Looked } from "./finding.ts";
import type { Ruleset } from "./firewall.ts";

export interface DoctorFacts {
  wanted: Wanted;
  program: ProgramFacts;
  privileges: PrivilegeFacts;
  manifest: Looked<{ path: string; problems: string[] }>;
  images: Looked<ImageState[]>;
  interfaces: Looked<InterfaceFacts[]>;
  /** Where the services would be, at least one; or why that is unclear. */
  networks: Looked<NetworkFacts[]>;
  firewall: Looked<Ruleset[]>;
  host: HostFacts;
  clock: Looked<ClockFacts>;
  disk: Looked<DiskFacts>;
  managers: Looked<RunningManager[]>;
}

export type DhcpMode = "proxy" | "server" | "external";

/** What the manifest asks for; its defaults where there is none. */
export interface Wanted {
  dhcp: DhcpMode;
  ports: { dhcp: number; tftp: number; nfs: number; mount: number; portmap: number; netconsole: number };
}

export interface ProgramFacts {
  /** `20.20.2` */
  nodeVersion: string;
  /** Native ones, which are built for each system. `failure`: why it cannot be loaded. */
  libraries: readonly { name: string; failure?: string }[];
}

export interface PrivilegeFacts {
  canOpenRawSockets: boolean;
  /** The program that `setcap` would be run on. */
  program: string;
}

export interface ImageState {
  /** As the manifest has it. */
  source: string;
  /** Why there is nothing to boot from. */
  missing?: string;
  /** Why nothing, or some node, can be booted from it. */
  problems: string[];
  /** It is there, but not unpacked yet: what it holds is not known. */
  isUnread: boolean;
}

export interface InterfaceFacts {
  name: string;
  mac?: Mac;
  isUp: boolean;
  /** There is a link; what is down has none. */
  hasCarrier: boolean;
  isLoopback: boolean;
  mtuBytes: number;
  /** The first IPv4 address. */
  address?: Ipv4;
  netmask?: Ipv4;
  /** The kernel's driver, as `veth`; absent when it does not tell. */
  driver?: string;
  /** The stricter of its own rp_filter and that for all; absent when it cannot be read. */
  reversePathFilter?: number;
}

/** Where the services would be reached. */
export interface NetworkPlace {
  interfaceName: string;
  address: Ipv4;
  netmask: Ipv4;
}

export interface NetworkFacts extends NetworkPlace {
  /** What the manifest says of it. */
  wanted: NetworkWanted;
  ports: Looked<PortFacts[]>;
  dhcp: Looked<DhcpAnswers>;
  spanningTree: Looked<{ listenedMs: number; bpdus: Bpdu[] }>;
}

export interface NetworkWanted {
  address?: Ipv4;
  subnet?: { text: string; first: number; last: number };
  router?: Ipv4;
}

export interface PortFacts {
  protocol: "udp" | "tcp";
  port: number;
  service: string;
  /** `free`: we could have it. `ours`: a manager of this state folder has it. `forbidden`: we may not try. */
  state: "free" | "taken" | "forbidden" | "unusable" | "ours";
  /** Who has it. `unseen`: a socket of the kernel, or of a program that we may not look into. */
  owner?: { name: string; pid: number } | "unseen";
  /** The words of the attempt. */
  message?: string;
}

export interface DhcpAnswers {
  waitedMs: number;
  /** Whom the question was asked for: a client that there is not, a made-up Pi, or a node of the manifest. */
  askedAs: "stranger" | "pi" | { node: string };
  offers: BootOffer[];
}

export interface HostFacts {
  /** `docker`, `podman`, `lxc`, …; absent outside of containers. */
  container?: string;
  isWsl: boolean;
  gateway?: Ipv4;
  /** Absent when it cannot be read. */
  forwards?: boolean;
}

export interface ClockFacts {
  unixMs: number;
  isSynchronised: boolean;
}

export interface DiskFacts {
  folder: string;
  /** Why the state folder cannot be kept there. */
  problem?: string;
  /** `nfs`, `cifs`, `9p`: network; `tmpfs`, `overlay`; otherwise absent. */
  fileSystem?: string;
  freeBytes: number;
  /** Median of writing 4 KiB and forcing it to the disk; absent when nothing may be written there. */
  syncMs?: number;
}

export interface RunningManager {
  /** Absent when its process cannot be told from others. */
  pid?: number;
  /** Of this state folder. */
  isOurs: boolean;
}
