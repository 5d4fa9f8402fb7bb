/** Facts in, findings out: everything `bramble doctor` says. */
import { checkImages, checkManifestFacts } from "./cluster-checks.ts";
import { checkDhcp } from "./dhcp-checks.ts";
import type { DoctorFacts, NetworkFacts } from "./facts.ts";
import { type Examination, type Finding, type Looked, type Skipped, worstFirst } from "./finding.ts";
import {
  checkClock,
  checkDisk,
  checkManagers,
  checkPrivileges,
  checkProgram,
  checkSurroundings,
} from "./host-checks.ts";
import { checkNetwork, checkPlaces } from "./network-checks.ts";
import { checkFirewall, checkPorts } from "./service-checks.ts";

const NETWORK_CHECKS: readonly ((network: NetworkFacts, facts: DoctorFacts) => Finding[])[] = [
  checkNetwork,
  checkSurroundings,
  checkDhcp,
  checkPorts,
  checkFirewall,
];

const CHECKS: readonly ((facts: DoctorFacts) => Finding[])[] = [
  checkManifestFacts,
  checkProgram,
  checkPlaces,
  (facts) => networksOf(facts).flatMap((network) => NETWORK_CHECKS.flatMap((check) => check(network, facts))),
  checkImages,
  checkDisk,
  checkPrivileges,
  checkClock,
  checkManagers,
];

/** Kinds of findings in `ignored` are left out. */
export function examine(facts: DoctorFacts, ignored: ReadonlySet<string> = new Set()): Examination {
  const findings = CHECKS.flatMap((check) => check(facts)).filter(({ id }) => !ignored.has(id));
  return { findings: worstFirst(eachOnce(findings)), skipped: skippedOf(facts) };
}

function networksOf({ networks }: DoctorFacts): NetworkFacts[] {
  return "seen" in networks ? networks.seen : [];
}

/** Two networks can show one thing, as a program that has a port on all interfaces. */
function eachOnce(findings: readonly Finding[]): Finding[] {
  return [...new Map(findings.map((finding) => [`${finding.what} ${finding.evidence}`, finding])).values()];
}

function skippedOf(facts: DoctorFacts): Skipped[] {
  const networks = networksOf(facts);
  const perNetwork = networks.flatMap(({ interfaceName, dhcp, spanningTree, ports }): [string, Looked<unknown>][] => {
    const where = networks.length > 1 ? ` on ${interfaceName}` : "";
    return [
      [`other DHCP servers${where}`, dhcp],
      [`spanning tree${where}`, spanningTree],
      [`ports${where}`, ports],
    ];
  });
  const looked: [string, Looked<unknown>][] = [
    ["the manifest", facts.manifest],
    ["interfaces", facts.interfaces],
    ...perNetwork,
    ["the firewall", facts.firewall],
    ["images", facts.images],
    ["the disk", facts.disk],
    ["the clock", facts.clock],
    ["other managers", facts.managers],
  ];
  const unread = "seen" in facts.images ? facts.images.seen.filter(({ isUnread }) => isUnread) : [];
  return [
    ...looked.flatMap(([what, one]) => ("skipped" in one && one.skipped !== "" ? [{ what, why: one.skipped }] : [])),
    ...unread.map(({ source }) => ({
      what: `what the image ${source} holds`,
      why: "it is not unpacked yet; bramble image import does that, and says whether it can be booted from",
    })),
  ];
}
