/** One event of the feed, added to what is known of the network and its nodes. */
import type { Ipv4 } from "../../bytes/addresses.ts";
import { OTHER_SERVERS_MAX } from "../../limits.ts";
import type { BootEvent } from "../event.ts";
import {
  type ClusterFacts,
  type LanFacts,
  type NodeFacts,
  newFacts,
  newNodeFacts,
  remember,
  type Stranger,
  tally,
} from "./facts.ts";
import { noteTogether, noteWarning, takeNodeEvent } from "./node-reducer.ts";

const STRANGERS_KEPT = 64;
const CRASHES_KEPT = 16;
const ROM_BOARDS_KEPT = 64;
/** The ROMs of two boards take each other's OFFER when they ask within one try. */
const TOGETHER_MS = 2000;

export function foldEvents(events: Iterable<BootEvent>): ClusterFacts {
  const facts = newFacts();
  for (const event of events) takeEvent(facts, event);
  return facts;
}

export function takeEvent(facts: ClusterFacts, event: BootEvent): void {
  const name = event.node ?? nodeOfPath(facts, event);
  takeLanEvent(facts.lan, event, name);
  if (event.kind === "manager-started") forgetPlans(facts);
  if (name === undefined) return;
  const known = facts.nodes.get(name) ?? newNodeFacts(name, event.unixMs);
  facts.nodes.set(name, known);
  takeNodeEvent(known, event);
  if (event.kind === "dhcp-request" && event.loader === "rom-3b" && event.message === "DISCOVER") {
    noteCrossing(facts, known, event.unixMs);
    remember(facts.lan.romDiscovers, name, event.unixMs, ROM_BOARDS_KEPT);
  }
}

/** Both of two boards are told of: which of them asked first does not matter to either. */
function noteCrossing({ lan, nodes }: ClusterFacts, asking: NodeFacts, unixMs: number): void {
  const near = [...lan.romDiscovers].filter(([name, ms]) => name !== asking.node && unixMs - ms < TOGETHER_MS);
  if (near.length === 0) return;
  if (asking.asking) noteTogether(asking.asking);
  for (const [name] of near) {
    const other = nodes.get(name)?.asking;
    if (other) noteTogether(other);
  }
}

const EXPORT_PATH = /^\/bramble\/([^/]+)\//;

/** A client whose address is not known names its node in the path that it mounts. Only a node that waits for that is meant. */
function nodeOfPath({ nodes }: ClusterFacts, event: BootEvent): string | undefined {
  if (event.kind !== "mount-refused") return undefined;
  const name = EXPORT_PATH.exec(event.path)?.[1];
  const isWaiting = name !== undefined && nodes.get(name)?.status.stage === "kernel";
  return isWaiting ? name : undefined;
}

/** A manager that starts plans anew, and tells of nodes only that have problems. */
function forgetPlans({ nodes }: ClusterFacts): void {
  for (const node of nodes.values()) node.plan = { problems: [], warnings: [] };
}

function takeLanEvent(lan: LanFacts, event: BootEvent, node: string | undefined): void {
  const { unixMs } = event;
  switch (event.kind) {
    case "dhcp-reply":
      takeResponder(lan, event.responder);
      break;
    case "dhcp-request":
      takeRequest(lan, event);
      break;
    case "dhcp-ignored":
      if (event.cause === "other-server") takeOtherChoice(lan, event);
      break;
    case "dhcp-other-server":
      noteServer(lan, event.server, event, event.node ?? event.mac, event);
      break;
    case "unknown-pi": {
      const what = [event.model && `Pi ${event.model}`, event.serial && `serial ${event.serial}`];
      noteStranger(lan.unknownPis, event.mac, unixMs, what.filter(Boolean).join(", "));
      break;
    }
    case "tftp-missing":
      if (event.node === undefined) noteStranger(lan.tftpStrangers, event.client, unixMs, event.path);
      break;
    case "mount-refused":
      if (node === undefined) noteStranger(lan.mountStrangers, event.client, unixMs, event.path);
      break;
    case "worker-crashed": {
      const { worker, reason, crashes, retryMs } = event;
      lan.crashes = [...lan.crashes, { ms: unixMs, worker, reason, crashes, retryMs }].slice(-CRASHES_KEPT);
      break;
    }
    case "manifest-rejected":
      lan.manifestRejected = { ms: unixMs, problems: event.problems };
      break;
    case "manifest-loaded":
      delete lan.manifestRejected;
      break;
    case "manager-started":
      // What is wrong now is told anew.
      Object.assign(lan, newFacts().lan);
      delete lan.manifestRejected;
      delete lan.responder;
      delete lan.lastChoice;
      break;
    case "warning":
      if (event.node === undefined) noteWarning(lan.warnings, event);
      break;
  }
}

/** In server mode a REQUEST may name us: it is another server's only when it was ignored for that. */
function takeResponder(lan: LanFacts, responder: "proxy" | "server"): void {
  if (responder === "server" && lan.responder !== "server") {
    for (const [server, { answer }] of lan.servers) if (answer === undefined) lan.servers.delete(server);
  }
  lan.responder = responder;
}

function takeRequest(lan: LanFacts, event: BootEvent & { kind: "dhcp-request" }): void {
  if (event.server === undefined || event.message !== "REQUEST") return;
  lan.lastChoice = { mac: event.mac, server: event.server };
  if (lan.responder !== "server") noteServer(lan, event.server, event, event.node ?? event.mac);
}

function takeOtherChoice(lan: LanFacts, event: BootEvent & { kind: "dhcp-ignored" }): void {
  takeResponder(lan, "server");
  const { lastChoice } = lan;
  if (lastChoice?.mac === event.mac) noteServer(lan, lastChoice.server, event, event.node ?? event.mac);
}

function noteServer(
  lan: LanFacts,
  server: Ipv4,
  { unixMs }: BootEvent,
  client: string,
  answer?: BootEvent & { kind: "dhcp-other-server" },
): void {
  const told = answer ?? lan.servers.get(server)?.answer;
  remember(lan.servers, server, { lastMs: unixMs, client, ...(told && { answer: told }) }, OTHER_SERVERS_MAX);
}

function noteStranger<Key>(strangers: Map<Key, Stranger>, key: Key, unixMs: number, what: string): void {
  remember(strangers, key, tally(strangers.get(key), unixMs, { what }), STRANGERS_KEPT);
}
