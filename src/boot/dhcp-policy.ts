/**
 * Tells the DHCP service who is asking: a node of the manifest, a Raspberry Pi that nobody has named, or something
 * else. Option 97 says most; a MAC prefix of the maker's is the hint that remains for a 3B ROM and for Linux.
 */
import type { Ipv4, Mac } from "../bytes/addresses.ts";
import type { SeenPi } from "../cluster/adoption.ts";
import type { DhcpObservation } from "../dhcp/observation.ts";
import type { OtherServerAnswer } from "../dhcp/other-server.ts";
import type { DhcpClient, DhcpClientFacts, DhcpPolicy } from "../dhcp/policy.ts";
import { OTHER_SERVERS_MAX } from "../limits.ts";
import { bootLoaderOf } from "../pi/boot-loader.ts";
import { dhcpNeeds } from "../pi/dhcp-quirks.ts";
import { decodeOption97, type PiIdentity } from "../pi/option97.ts";
import { hasRaspberryPiOui } from "../pi/oui.ts";
import type { Clock } from "../ports.ts";
import type { NodeDirectory } from "./node-directory.ts";
import type { Report } from "./report.ts";

export function dhcpPolicy(
  directory: NodeDirectory,
  beforeReply: NonNullable<DhcpPolicy["beforeReply"]> = () => undefined,
): DhcpPolicy {
  return {
    classify(facts) {
      const identity = identityOf(facts);
      const node = directory.identify(facts.mac, identity?.serial);
      if (node) {
        const { name, address } = node;
        const needs = dhcpNeeds(identity?.form);
        return { kind: "pi", node: name, ...(address && { reservedAddress: address }), ...(needs && { needs }) };
      }
      return identity || hasRaspberryPiOui(facts.mac) ? { kind: "unknown-pi" } : { kind: "other" };
    },
    isReserved: (address: Ipv4) => directory.nodes.some((node) => node.address === address),
    beforeReply,
    isNode: (mac: Mac) => directory.byMac(mac) !== undefined,
  };
}

function identityOf({ guid, mac }: DhcpClientFacts): PiIdentity | undefined {
  return guid && decodeOption97(guid, mac);
}

/**
 * Firmware of a Pi that asks to boot, and not its system: one that runs from a card is nobody to be adopted. Nor are
 * other boot programs, which name another architecture.
 */
const ASKS_TO_BOOT = /^PXEClient:Arch:00000\b/;

/** Turns what the DHCP service saw into events, and into knowledge of who has which address and who is there. */
export function observeDhcp(
  directory: NodeDirectory,
  report: Report,
  onUnknownPi: (pi: SeenPi) => void = (pi) => report({ kind: "unknown-pi", ...pi }),
): (observation: DhcpObservation) => void {
  return (observation) => {
    switch (observation.kind) {
      case "request":
        return reportRequest(observation.facts, observation.client, report, onUnknownPi);
      case "reply": {
        const { message, mac, responder, address, client } = observation;
        // Every telephone of the house renews its lease; what they ask is not told either.
        if (client.kind === "other") return;
        return report({ kind: "dhcp-reply", message, mac, responder, ...(address && { address }) }, nodeOf(client));
      }
      case "ignored":
        return reportIgnored(observation, report);
      case "address-seen":
        return directory.learnNeighbour(observation.address, observation.mac);
      case "address-conflict": {
        const { mac, address, holder, client } = observation;
        return report({ kind: "address-conflict", mac, address, holder }, nodeOf(client));
      }
      case "malformed":
        return report({
          kind: "warning",
          message: `A DHCP packet from ${observation.from.address} was damaged: ${observation.reason}`,
          about: "dhcp-packet",
        });
      case "failed":
        return report(
          { kind: "warning", message: observation.reason, about: "dhcp-answer" },
          directory.byMac(observation.mac)?.name,
        );
    }
  };
}

/** What is answered to others than nodes is the same all day. */
const OTHER_SERVER_TOLD_MS = 10 * 60_000;

/** Turns the answers of other DHCP servers into events: those to nodes, and of each server one in ten minutes. */
export function observeOtherServers(
  directory: NodeDirectory,
  clock: Pick<Clock, "monotonicMs">,
  report: Report,
): (mac: Mac, answer: OtherServerAnswer) => void {
  const toldMs = new Map<Ipv4, number>();
  return (mac, answer) => {
    const node = directory.byMac(mac)?.name;
    const nowMs = clock.monotonicMs();
    const last = toldMs.get(answer.server);
    if (node === undefined && last !== undefined && nowMs - last < OTHER_SERVER_TOLD_MS) return;
    if (toldMs.size >= OTHER_SERVERS_MAX) toldMs.clear();
    toldMs.set(answer.server, nowMs);
    report({ kind: "dhcp-other-server", mac, ...answer }, node);
  };
}

function reportRequest(
  facts: DhcpClientFacts,
  client: DhcpClient,
  report: Report,
  onUnknownPi: (pi: SeenPi) => void,
): void {
  const identity = identityOf(facts);
  const about = {
    ...(identity?.serial && { serial: identity.serial }),
    ...(identity?.model && { model: identity.model }),
  };
  const { mac, message, vendorClass, relay, server, address } = facts;
  const loader = bootLoaderOf(identity, facts.parameters);
  if (client.kind === "unknown-pi") {
    if (message === "DISCOVER" && ASKS_TO_BOOT.test(vendorClass ?? "")) onUnknownPi({ mac, ...about });
  } else if (client.kind === "pi") {
    report(
      {
        kind: "dhcp-request",
        message,
        mac,
        ...(vendorClass !== undefined && { vendorClass }),
        ...about,
        ...(loader && { loader }),
        ...(relay && { relay }),
        ...(server && { server }),
        ...(address && { address }),
      },
      client.node,
    );
  }
}

function reportIgnored({ mac, reason, cause, client }: DhcpObservation & { kind: "ignored" }, report: Report): void {
  // That we say nothing to others' machines is no news.
  if (client.kind !== "pi" && cause === undefined) return;
  report({ kind: "dhcp-ignored", mac, reason, ...(cause && { cause }) }, nodeOf(client));
}

function nodeOf(client: DhcpClient): string | undefined {
  return client.kind === "pi" ? client.node : undefined;
}
