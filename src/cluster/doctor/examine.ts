/** Facts in, findings out: everything `bramble doctor` says. */
import { checkImages, checkManifestFacts } from "./cluster-checks.ts";
import { checkDhcp } from "./dhcp-checks.ts";
import type { DoctorFacts } from "./facts.ts";
import { type Examination, type Finding, type Looked, type Skipped, worstFirst } from "./finding.ts";
import {
  checkClock,
  checkDisk,
  checkManagers,
  checkPrivileges,
  checkProgram,
  checkSurroundings,
} from "./host-checks.ts";
import { checkNetwork, checkSpanningTree } from "./network-checks.ts";
import { checkFirewall, checkPorts } from "./service-checks.ts";

const CHECKS: readonly ((facts: DoctorFacts) => Finding[])[] = [
  checkManifestFacts,
  checkProgram,
  checkNetwork,
  checkSurroundings,
  checkDhcp,
  checkPorts,
  checkFirewall,
  checkSpanningTree,
  checkImages,
  checkDisk,
  checkPrivileges,
  checkClock,
  checkManagers,
];

/** Kinds of findings in `ignored` are left out. */
export function examine(facts: DoctorFacts, ignored: ReadonlySet<string> = new Set()): Examination {
  const findings = CHECKS.flatMap((check) => check(facts)).filter(({ id }) => !ignored.has(id));
  return { findings: worstFirst(findings), skipped: skippedOf(facts) };
}

function skippedOf(facts: DoctorFacts): Skipped[] {
  const looked: [string, Looked<unknown>][] = [
    ["the manifest", facts.manifest],
    ["interfaces", facts.interfaces],
    ["other DHCP servers", facts.dhcp],
    ["spanning tree", facts.spanningTree],
    ["ports", facts.ports],
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
