/** What is wrong with the network or with the manager, whatever node it is seen with. Most pressing first. */
import type { WarningTopic } from "../event.ts";
import { BRAMBLE, counted, inWords, type LanCause } from "./cause.ts";
import type { LanFacts, Stranger } from "./facts.ts";

const CRASH_MS = 60_000;
/** Failed sending is told once a minute. */
const SENDING_MS = 90_000;
const DAMAGED_MS = 60_000;
const DAMAGED_MIN = 3;
const SERVER_SEEN_MS = 10 * 60_000;
const STRANGER_MS = 120_000;

function warned({ warnings }: LanFacts, topic: WarningTopic, nowMs: number, withinMs: number, least = 1) {
  const warning = warnings.get(topic);
  return warning && warning.count >= least && nowMs - warning.lastMs < withinMs ? warning.message : undefined;
}

function latest<Key>(strangers: ReadonlyMap<Key, Stranger>, nowMs: number): [Key, Stranger] | undefined {
  return [...strangers].filter(([, { lastMs }]) => nowMs - lastMs < STRANGER_MS).at(-1);
}

function whatIsAskedFor<Key>(strangers: ReadonlyMap<Key, Stranger>, nowMs: number): string | undefined {
  const found = latest(strangers, nowMs);
  return found && `${found[0]} asks for ${found[1].what}`;
}

function recentServers({ servers }: LanFacts, nowMs: number) {
  return [...servers].filter(([, { lastMs }]) => nowMs - lastMs < SERVER_SEEN_MS);
}

export const LAN_CAUSES: readonly LanCause[] = [
  {
    id: "cannot-send",
    title: "The manager cannot send on its network",
    boards: "all",
    sign: "sending failed in the last 90 s",
    remedy: "Check that the interface is up, has its address and a cable, and that no firewall rule forbids sending",
    source: BRAMBLE,
    find: (lan, { nowMs }) => warned(lan, "sending", nowMs, SENDING_MS),
  },
  {
    id: "worker-crashed",
    title: "A process that serves nodes crashed",
    boards: "all",
    sign: "a worker ended by itself in the last minute, or waits to be started again",
    remedy:
      "Nodes wait and go on by themselves. If it comes again, look at the manager's log, its memory and its disk, and report it",
    source: BRAMBLE,
    find: ({ crashes }, { nowMs }) => {
      const last = crashes.at(-1);
      if (last === undefined || nowMs - last.ms > Math.max(CRASH_MS, last.retryMs)) return undefined;
      return `worker ${last.worker}, ${last.crashes} times in a row: ${last.reason}`;
    },
  },
  {
    id: "second-dhcp-server",
    title: "Another DHCP server gives addresses on this network",
    boards: "all",
    sign: "server mode, and another server answered, or a client took its offer, in the last ten minutes",
    remedy: "Switch the other server off, or set network.dhcp to proxy and let it give the addresses",
    source: "RFC 2131; EE#376",
    find: (lan, { nowMs }) => {
      const [first] = lan.responder === "server" ? recentServers(lan, nowMs) : [];
      return first && `${first[0]}, last seen with ${first[1].client}`;
    },
  },
  {
    id: "two-routers-give-addresses",
    title: "More than one DHCP server gives addresses on this network",
    boards: "all",
    sign: "proxy or external mode, and two servers or more were named in REQUESTs or answered, in the last ten minutes",
    remedy:
      "Leave one DHCP server on: nodes get their address now from one, now from the other, and lose their root when it changes",
    source: "RFC 2131",
    find: (lan, { nowMs }) => {
      const servers = lan.responder === "server" ? [] : recentServers(lan, nowMs);
      return servers.length >= 2 ? servers.map(([address]) => address).join(" and ") : undefined;
    },
  },
  {
    id: "manifest-rejected",
    title: "The manifest on disk is wrong; the manager goes on with the one before",
    boards: "all",
    sign: "the last change of the manifest was rejected",
    remedy: "Run `bramble validate`, and correct what it lists",
    source: BRAMBLE,
    find: ({ manifestRejected }) =>
      manifestRejected &&
      `${counted(manifestRejected.problems, "problem")}, since ${new Date(manifestRejected.ms).toISOString()}`,
  },
  {
    id: "network-section-changed",
    title: "The network section of the manifest has changed, and waits for a restart",
    boards: "all",
    sign: "the manifest was changed there since the manager started",
    remedy: "Restart the manager; nodes pause for that long",
    source: BRAMBLE,
    find: (lan) => lan.warnings.get("network-changed")?.message,
  },
  {
    id: "dhcp-packets-damaged",
    title: "Damaged DHCP packets arrive",
    boards: "all",
    sign: "three DHCP packets that cannot be read, in a minute",
    remedy:
      "Find the machine by the address or with `bramble capture`: a broken client, or a network card with broken checksum offloading",
    source: "RFC 2131",
    find: (lan, { nowMs }) => warned(lan, "dhcp-packet", nowMs, DAMAGED_MS, DAMAGED_MIN),
  },
  {
    id: "stranger-mounts",
    title: "A machine that is no node tries to mount a root",
    boards: "all",
    sign: "a mount by an unknown address was refused in the last two minutes",
    remedy:
      "If it is a node, add its address or MAC to the manifest; its system may use another address than its firmware",
    source: BRAMBLE,
    find: ({ mountStrangers }, { nowMs }) => whatIsAskedFor(mountStrangers, nowMs),
  },
  {
    id: "stranger-asks-for-files",
    title: "A board that is no node asks for boot files",
    boards: "all",
    sign: "a TFTP request of an unknown address and serial number in the last two minutes",
    remedy:
      "Add the board with `bramble nodes add` or `bramble nodes adopt`; the first part of the path is its serial number",
    source: BRAMBLE,
    find: ({ tftpStrangers }, { nowMs }) => whatIsAskedFor(tftpStrangers, nowMs),
  },
  {
    id: "unknown-pi-asks",
    title: "A Raspberry Pi that no node names wants to boot",
    boards: "all",
    sign: "a DISCOVER of an unknown Pi in the last two minutes",
    remedy: "Add it with `bramble nodes adopt`, or give its MAC or serial number to a node of the manifest",
    source: BRAMBLE,
    find: ({ unknownPis }, { nowMs }) => {
      const found = latest(unknownPis, nowMs);
      return (
        found &&
        `${found[0]}${found[1].what && ` (${found[1].what})`}, first seen ${inWords(nowMs - found[1].firstMs)} ago`
      );
    },
  },
];
