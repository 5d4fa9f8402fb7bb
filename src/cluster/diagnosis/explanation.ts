/** What `bramble explain` says of a node: what was seen, in sentences, what is wrong, and what comes next. */
import { findPiModel } from "../../pi/models.ts";
import { isStalled } from "../boot-progress.ts";
import type { Stage } from "../event.ts";
import { counted, type Diagnosis, inWords } from "./cause.ts";
import type { Asking, Attempt, FileFact, NodeFacts } from "./facts.ts";

export interface Explanation {
  node: string;
  stage: Stage;
  stageSinceMs: number;
  isStalled: boolean;
  /** What was seen, oldest part of a boot first. */
  seen: string[];
  /** Absent: nothing is wrong that has a name. */
  diagnosis?: Diagnosis;
  /** What to do, or what to expect, next. */
  next: string;
}

export function explainNode(
  node: { name: string; model?: string },
  facts: NodeFacts | undefined,
  diagnosis: Diagnosis | undefined,
  nowMs: number,
): Explanation {
  const model = node.model ?? facts?.model;
  if (facts === undefined) {
    const seen = ["Nothing was heard of it since the manager keeps its journal"];
    const silent = { node: node.name, stage: "silent", stageSinceMs: nowMs, isStalled: false } as const;
    return { ...silent, seen, ...(diagnosis && { diagnosis }), next: nextStep("silent", diagnosis, model) };
  }
  const { status } = facts;
  return {
    node: node.name,
    stage: status.stage,
    stageSinceMs: status.stageSinceMs,
    isStalled: isStalled(status, nowMs),
    seen: seenOf(facts, nowMs),
    ...(diagnosis && { diagnosis }),
    next: nextStep(status.stage, diagnosis, model),
  };
}

function nextStep(stage: Stage, diagnosis: Diagnosis | undefined, model: string | undefined): string {
  if (diagnosis) {
    return "When that is done, switch the board off and on; `bramble watch` shows how it goes on, and the cause is cleared by itself";
  }
  switch (stage) {
    case "silent": {
      const setUp = findPiModel(model ?? "")?.netbootSetUp;
      const board = setUp === undefined ? "see README for what each model must be told once" : setUp;
      return `Give it power and a network cable, and take cards and USB disks out. To boot over the network it needs: ${board}. Nothing is heard of a board whose ROM or EEPROM does not try`;
    }
    case "dhcp":
      return "It asks for an address: an answer or another try comes within seconds";
    case "firmware":
      return "It loads files: wait for its kernel";
    case "kernel":
      return "Its kernel starts: it mounts its root within a minute";
    case "root":
      return "Its system starts: it reports when it is up";
    case "up":
      return "It is up: there is nothing to do";
    case "joined":
      return "It is a member of the cluster: there is nothing to do";
  }
}

function seenOf(facts: NodeFacts, nowMs: number): string[] {
  const { status, asking, attempt, lastAttempt, restarts, failed, warnings, plan } = facts;
  const lines = [`Last heard of ${ago(status.lastSeenMs, nowMs)}`];
  lines.push(...plan.problems.map((problem) => `Plan: ${problem}`));
  if (restarts.length > 0) lines.push(`${counted(restarts.length, "boot")} that did not come to up, since it last was`);
  if (asking) lines.push(...askingLines(asking, nowMs));
  if (lastAttempt) lines.push(...fileLines("The boot before", lastAttempt, nowMs));
  lines.push(...fileLines("This boot", attempt, nowMs), ...systemLines(attempt, nowMs));
  for (const [name, { count, lastMs }] of failed) {
    lines.push(`${counted(count, "call")} answered with ${name}, the last ${ago(lastMs, nowMs)}`);
  }
  for (const { message, count, lastMs } of warnings.values()) {
    lines.push(`${message} (${count === 1 ? "once" : `${count} times`}, the last ${ago(lastMs, nowMs)})`);
  }
  return lines;
}

function askingLines(asking: Asking, nowMs: number): string[] {
  const { discovers, offers, requests, acks, naks, ignored, others, relay, lastMs } = asking;
  const counts = [
    counted(discovers, "DISCOVER"),
    `${counted(offers, "OFFER")} sent`,
    counted(requests, "REQUEST"),
    `${counted(acks, "ACK")} sent`,
    ...(naks > 0 ? [`${counted(naks, "NAK")} sent`] : []),
  ];
  return [
    `DHCP: ${counts.join(", ")}; the last DISCOVER ${ago(lastMs, nowMs)}${relay ? `, through the relay ${relay}` : ""}`,
    ...(ignored ? [`DHCP: no answer, for ${ignored.reason}`] : []),
    ...[...others.values()].map(
      ({ server, address, boot }) => `DHCP: ${server} offers ${address ?? "no address"}, boot instruction: ${boot}`,
    ),
  ];
}

function fileLines(whose: string, attempt: Attempt, nowMs: number): string[] {
  const files = [...attempt.files];
  if (files.length === 0) return [];
  const names = (isMeant: (file: FileFact) => unknown) =>
    files.filter(([, file]) => isMeant(file)).map(([name]) => name);
  const missing = names((file) => file.missing && !file.complete);
  const sent = names((file) => file.complete);
  const { blocks, retransmits, lastPath, lastFileMs } = attempt;
  const lost = retransmits > 0 ? `, ${retransmits} of ${blocks} packets sent again` : "";
  return [
    `${whose}: ${sent.length} of ${counted(files.length, "file")} sent whole (${attempt.sentBytes} bytes${lost})`,
    ...(missing.length > 0 ? [`${whose}: not there: ${missing.join(", ")}`] : []),
    ...files.flatMap(([name, { failed, complete }]) =>
      failed && !complete ? [`${whose}: ${name} broke off: ${failed.reason}`] : [],
    ),
    ...(lastFileMs === undefined
      ? []
      : [`${whose}: the last file was ${lastPath ?? "one"}, ${ago(lastFileMs, nowMs)}`]),
  ];
}

function systemLines({ linux, wrongVersion, mountRefused, mountedMs }: Attempt, nowMs: number): string[] {
  const lines: string[] = [];
  if (linux.discovers > 0) {
    const counts = `${counted(linux.discovers, "DISCOVER")}, ${counted(linux.acks, "ACK")} sent`;
    lines.push(`Its kernel's DHCP: ${counts}; the last DISCOVER ${ago(linux.lastMs!, nowMs)}`);
  }
  if (wrongVersion) lines.push(`It asked for ${wrongVersion.program} version ${wrongVersion.version}`);
  if (mountRefused) lines.push(`${mountRefused.path} was refused to ${mountRefused.client}: ${mountRefused.reason}`);
  if (mountedMs !== undefined) lines.push(`Its root was mounted ${ago(mountedMs, nowMs)}`);
  return lines;
}

function ago(thenMs: number, nowMs: number): string {
  return `${inWords(nowMs - thenMs)} ago`;
}
