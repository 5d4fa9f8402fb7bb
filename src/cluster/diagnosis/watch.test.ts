import { describe, expect, it } from "vitest";
import type { Ipv4, Mac } from "../../bytes/addresses.ts";
import type { BootEvent, BootOccurrence } from "../event.ts";
import { diagnose } from "./index.ts";
import { DiagnosisWatch } from "./watch.ts";

const mac = "dc:a6:32:70:da:b0" as Mac;
const client = "10.77.0.11" as Ipv4;
const DISCOVER: BootOccurrence = {
  kind: "dhcp-request",
  message: "DISCOVER",
  mac,
  vendorClass: "PXEClient:Arch:00000:UNDI:002001",
  loader: "eeprom",
  model: "4",
};
const OFFER: BootOccurrence = { kind: "dhcp-reply", message: "OFFER", mac, address: client, responder: "server" };
const UP: BootOccurrence = { kind: "up", bootId: "a" };
const full = (count: number): BootOccurrence => ({
  kind: "root-activity",
  operations: 1,
  readBytes: 0,
  writtenBytes: 0,
  failures: count,
  ...(count > 0 && { failed: { NFS3ERR_NOSPC: count } }),
});

/** Offers that are not taken: the third DISCOVER is the evidence. */
const UNTAKEN: [number, BootOccurrence][] = [
  [0, DISCOVER],
  [0, OFFER],
  [4, DISCOVER],
  [4, OFFER],
  [12, DISCOVER],
  [12, OFFER],
];

function eventOf([second, occurrence]: [number, BootOccurrence], sequence: number, node = "node1"): BootEvent {
  return { ...occurrence, sequence, unixMs: second * 1000, node };
}

/** What is told, looking every two seconds. */
function told(script: [number, BootOccurrence][], seconds: number, listed = ["node1"]): string[] {
  const watch = new DiagnosisWatch();
  const lines: string[] = [];
  for (let second = 0; second <= seconds; second++) {
    script.forEach((each, index) => {
      if (each[0] === second) watch.take(eventOf(each, index));
    });
    if (second % 2 !== 0) continue;
    for (const { occurrence, node } of watch.check(second * 1000, listed)) {
      lines.push(`${second} ${node ?? "network"} ${occurrence.kind} ${occurrence.cause}`);
    }
  }
  return lines;
}

describe("diagnose", () => {
  it("names the cause, its evidence and what to do, from nothing but events", () => {
    const events = UNTAKEN.map((each, index) => eventOf(each, index));
    expect(diagnose(events, 12_000, "node1")).toEqual({
      cause: "offer-not-taken",
      title: expect.any(String),
      evidence: "3 DISCOVERs in 12 s, 3 OFFERs sent",
      remedy: expect.stringContaining("67"),
    });
    expect(diagnose(events.slice(0, 4), 12_000, "node1")).toBeUndefined();
    expect(diagnose(events, 12_000, "node2")).toBeUndefined();
    expect(diagnose(events, 12_000)).toBeUndefined();
  });
});

describe("diagnoses over time", () => {
  it("are told once, and cleared some time after what showed them is over", () => {
    const gotOn: [number, BootOccurrence][] = [...UNTAKEN, [20, { kind: "tftp-request", path: "config.txt", client }]];
    expect(told(gotOn, 35)).toEqual([
      "12 node1 diagnosis offer-not-taken",
      "28 node1 diagnosis-cleared offer-not-taken",
    ]);
  });

  it("do not flicker when the evidence goes and comes", () => {
    const request: BootOccurrence = { kind: "tftp-request", path: "config.txt", client };
    const quick = UNTAKEN.map(([, occurrence]) => [18, occurrence] as [number, BootOccurrence]);
    expect(told([...UNTAKEN, [14, request], ...quick], 60)).toEqual(["12 node1 diagnosis offer-not-taken"]);
  });

  it("are told again when they come back later", () => {
    const again = [0, 34, 68].flatMap((later) => [
      [2 + later, UP],
      [2 + later, full(3)],
    ]) as [number, BootOccurrence][];
    expect(told([[0, UP], ...again], 100)).toEqual([
      "2 node1 diagnosis manager-disk-full",
      "32 node1 diagnosis-cleared manager-disk-full",
      "36 node1 diagnosis manager-disk-full",
      "66 node1 diagnosis-cleared manager-disk-full",
      "70 node1 diagnosis manager-disk-full",
      "100 node1 diagnosis-cleared manager-disk-full",
    ]);
  });

  it("are over at once when the node is up", () => {
    expect(told([...UNTAKEN, [20, UP]], 30)).toEqual([
      "12 node1 diagnosis offer-not-taken",
      "20 node1 diagnosis-cleared offer-not-taken",
    ]);
  });

  it("of a node that leaves the manifest are forgotten", () => {
    const watch = new DiagnosisWatch();
    UNTAKEN.forEach((each, index) => {
      watch.take(eventOf(each, index));
    });
    expect(watch.check(12_000, ["node1"])).toHaveLength(1);
    expect(watch.check(14_000, [])).toEqual([]);
    expect(watch.ofNode("node1")).toBeUndefined();
    expect(watch.facts.nodes.size).toBe(0);
  });

  it("are no sign of life of the node themselves", () => {
    const watch = new DiagnosisWatch();
    watch.take(eventOf([0, DISCOVER], 1));
    const diagnosis = { cause: "x", title: "x", evidence: "x", remedy: "x" };
    watch.take(eventOf([9, { kind: "diagnosis", ...diagnosis }], 2));
    expect(watch.facts.nodes.get("node1")?.status.lastSeenMs).toBe(0);
  });
});
