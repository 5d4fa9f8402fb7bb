/**
 * What the causes ask about: folded once from the feed of events, so that a rule is a few comparisons. One event at a
 * time, nothing is read back; what is kept of a node is bounded.
 */
import type { Ipv4, Mac } from "../../bytes/addresses.ts";
import type { OtherServerAnswer } from "../../dhcp/other-server.ts";
import type { IgnoreCause } from "../../dhcp/policy.ts";
import type { MountRefusal } from "../../nfs/exports.ts";
import type { BootLoader } from "../../pi/boot-loader.ts";
import type { TransferFailure } from "../../tftp/observation.ts";
import type { Stage, WarningTopic } from "../event.ts";
import { type NodeStatus, silentNode } from "../status.ts";

/** How often something happened, and when last. */
export interface Tally {
  count: number;
  firstMs: number;
  lastMs: number;
}

/** The firmware's search for an address, since it last got on (a file, a mount) or was silent for long. */
export interface Asking {
  discovers: number;
  firstMs: number;
  lastMs: number;
  /** Our OFFERs. */
  offers: number;
  /** DISCOVERs that came after one of them: it was not taken. */
  discoversAfterOffer: number;
  /** REQUESTs, to whatever server. */
  requests: number;
  requestMs?: number;
  requestedServer?: Ipv4;
  acks: number;
  ackMs?: number;
  naks: number;
  ignored?: { cause: IgnoreCause; reason: string; lastMs: number };
  relay?: Ipv4;
  /** DISCOVERs within two seconds of another board's that has the same boot ROM. */
  together: number;
  /** By server. */
  others: Map<Ipv4, OtherServerAnswer>;
}

/** One file of a boot, by its name without the board's prefix. */
export interface FileFact {
  path: string;
  requestedMs: number;
  requests: number;
  /** As asked for. */
  blockBytes?: number;
  missing?: { reason: string; isRefused: boolean; ms: number };
  sizeBytes?: number;
  sentBytes?: number;
  complete?: { ms: number; durationMs: number; retransmits: number };
  /** Transfers of it that broke off. */
  failures: number;
  failed?: {
    reason: string;
    cause: TransferFailure | undefined;
    ms: number;
    sentBytes: number;
    sizeBytes: number;
    retransmits: number;
  };
}

/** From the firmware's start to the next one. */
export interface Attempt {
  startedMs: number;
  /** The next one has begun. */
  isOver: boolean;
  files: Map<string, FileFact>;
  /** Times that bootcode.bin was sent whole since start.elf was asked for. */
  bootcodeLoads: number;
  lastFileMs?: number;
  lastPath?: string;
  sentBytes: number;
  blocks: number;
  retransmits: number;
  /** DHCP of the kernel or of Linux. */
  linux: { discovers: number; firstMs?: number; lastMs?: number; offers: number; acks: number; ackMs?: number };
  wrongVersion?: { program: string; version: number; ms: number };
  mountRefused?: { path: string; client: Ipv4; cause: MountRefusal; reason: string; count: number; ms: number };
  mountedMs?: number;
}

/** One second of work on a root. */
export interface ActivityFact {
  ms: number;
  operations: number;
  p99Ms?: number;
}

export interface NodeFacts {
  node: string;
  status: NodeStatus;
  mac?: Mac;
  model?: string;
  loader?: BootLoader;
  plan: { problems: readonly string[]; warnings: readonly string[] };
  asking: Asking | undefined;
  attempt: Attempt;
  /** The one before, when that ended without `up`: what it ended with is most likely what this one will. */
  lastAttempt?: Attempt;
  /** Boots that were begun anew before `up`, with the stage they had reached; since the last `up`. */
  restarts: { ms: number; stage: Stage }[];
  declined?: { address: Ipv4 | undefined; ms: number };
  activity: ActivityFact[];
  /** Files that were read or written most, lately. */
  busyFiles: { path: string; ms: number }[];
  /** NFS refusals that say the manager, its disk or its limits are in the way. */
  failed: Map<string, Tally>;
  warnings: Map<WarningTopic, Tally & { message: string }>;
  /** It got other files than it had: old handles are no news. */
  filesChangedMs?: number;
}

/** A machine that is no node of the manifest. */
export interface Stranger extends Tally {
  what: string;
}

export interface LanFacts {
  /** Whether the manager gives addresses, or only says where to boot from; as its answers show. */
  responder?: "proxy" | "server";
  /** Other DHCP servers, by address. `client` is who was answered, or took the offer. */
  servers: Map<Ipv4, { lastMs: number; client: string; answer?: OtherServerAnswer }>;
  /** The server that the last REQUEST named. */
  lastChoice?: { mac: Mac; server: Ipv4 };
  unknownPis: Map<Mac, Stranger>;
  tftpStrangers: Map<Ipv4, Stranger>;
  mountStrangers: Map<Ipv4, Stranger>;
  crashes: { ms: number; worker: number; reason: string; crashes: number; retryMs: number }[];
  warnings: NodeFacts["warnings"];
  manifestRejected?: { ms: number; problems: number };
  /** Latest DISCOVERs of 3B ROMs, by node. */
  romDiscovers: Map<string, number>;
}

export interface ClusterFacts {
  lan: LanFacts;
  nodes: Map<string, NodeFacts>;
}

export function newFacts(): ClusterFacts {
  return {
    lan: {
      servers: new Map(),
      unknownPis: new Map(),
      tftpStrangers: new Map(),
      mountStrangers: new Map(),
      crashes: [],
      warnings: new Map(),
      romDiscovers: new Map(),
    },
    nodes: new Map(),
  };
}

export function newNodeFacts(node: string, unixMs: number): NodeFacts {
  return {
    node,
    status: silentNode(node, unixMs),
    plan: { problems: [], warnings: [] },
    asking: undefined,
    attempt: newAttempt(unixMs),
    restarts: [],
    activity: [],
    busyFiles: [],
    failed: new Map(),
    warnings: new Map(),
  };
}

export function newAttempt(startedMs: number): Attempt {
  return {
    startedMs,
    isOver: false,
    files: new Map(),
    bootcodeLoads: 0,
    sentBytes: 0,
    blocks: 0,
    retransmits: 0,
    linux: { discovers: 0, offers: 0, acks: 0 },
  };
}

export function newAsking(unixMs: number): Asking {
  return {
    discovers: 0,
    firstMs: unixMs,
    lastMs: unixMs,
    offers: 0,
    discoversAfterOffer: 0,
    requests: 0,
    acks: 0,
    naks: 0,
    together: 0,
    others: new Map(),
  };
}

export function tally<Extra extends object>(
  before: Tally | undefined,
  unixMs: number,
  extra: Extra,
  count = 1,
): Tally & Extra {
  return { firstMs: before?.firstMs ?? unixMs, lastMs: unixMs, count: (before?.count ?? 0) + count, ...extra };
}

/** Adds to a map of bounded size: the oldest gives way. */
export function remember<Key, Value>(map: Map<Key, Value>, key: Key, value: Value, entriesMax: number): void {
  map.delete(key);
  if (map.size >= entriesMax) map.delete(map.keys().next().value!);
  map.set(key, value);
}
