import { expect, it } from "vitest";
import type { Ipv4, Mac } from "../bytes/addresses.ts";
import type { BootEvent, BootOccurrence } from "../cluster/event.ts";
import type { ManifestNode } from "../cluster/manifest.ts";
import type { Timer } from "../ports.ts";
import { ClusterDiagnoses } from "./cluster-diagnoses.ts";

const mac = "dc:a6:32:70:da:b0" as Mac;
const address = "10.77.0.11" as Ipv4;
const DISCOVER: BootOccurrence = { kind: "dhcp-request", message: "DISCOVER", mac, loader: "eeprom", model: "4" };
const OFFER: BootOccurrence = { kind: "dhcp-reply", message: "OFFER", mac, address, responder: "server" };
const UP: BootOccurrence = { kind: "up", bootId: "a" };

/** Diagnoses of node1, with time that passes when it is told to. */
function setUp(past: BootOccurrence[] = []) {
  let nowMs = 0;
  let waiting: { atMs: number; run(): void } | undefined;
  let looks = 0;
  const clock = {
    unixMs: () => nowMs,
    after(delayMs: number, run: () => void): Timer {
      expect(waiting).toBeUndefined();
      waiting = { atMs: nowMs + delayMs, run };
      return {
        cancel() {
          waiting = undefined;
        },
      };
    },
  };
  const events: BootEvent[] = [];
  const listeners = new Set<(event: BootEvent) => void>();
  const record = (occurrence: BootOccurrence, node?: string) => {
    const event = { ...occurrence, sequence: events.length, unixMs: nowMs, ...(node !== undefined && { node }) };
    events.push(event);
    for (const listener of listeners) listener(event);
  };
  for (const occurrence of past) record(occurrence, "node1");
  const journal = {
    events,
    listen(listener: (event: BootEvent) => void) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
  const nodes = () => {
    looks += 1;
    return [{ name: "node1" }] as ManifestNode[];
  };
  const diagnoses = new ClusterDiagnoses({ journal, clock, report: record, nodes });
  const stop = diagnoses.start();
  const pass = (seconds: number) => {
    const endMs = nowMs + seconds * 1000;
    while (waiting !== undefined && waiting.atMs <= endMs) {
      const { atMs, run } = waiting;
      waiting = undefined;
      nowMs = atMs;
      run();
    }
    nowMs = endMs;
  };
  return { diagnoses, record, pass, stop, looks: () => looks, isWaiting: () => waiting !== undefined };
}

it("looks for causes once after the last event of a cluster that is well, and then no more", () => {
  const { record, pass, looks, isWaiting } = setUp([DISCOVER, OFFER, UP]);
  pass(3600);
  expect([looks(), isWaiting()]).toEqual([1, false]);
  record(UP, "node1");
  pass(3600);
  expect([looks(), isWaiting()]).toEqual([2, false]);
});

it("goes on looking as long as something may come or go with time alone", () => {
  const { diagnoses, record, pass, isWaiting } = setUp();
  pass(60);
  expect(isWaiting()).toBe(false);
  // A board that was offered an address and says nothing more: told half a minute after its last word.
  record(DISCOVER, "node1");
  record(OFFER, "node1");
  pass(20);
  expect(diagnoses.ofNode("node1")).toBeUndefined();
  pass(20);
  expect(diagnoses.ofNode("node1")).toMatchObject({ cause: "silent-after-offer" });
  pass(600);
  expect(isWaiting()).toBe(true);
  record(UP, "node1");
  pass(20);
  expect([diagnoses.ofNode("node1"), isWaiting()]).toEqual([undefined, false]);
});

it("takes back what is wrong with the network when nothing shows it any more, and then rests", () => {
  const { diagnoses, record, pass, isWaiting } = setUp();
  record({ kind: "unknown-pi", mac });
  pass(10);
  expect(diagnoses.ofNetwork()).toMatchObject({ cause: "unknown-pi-asks" });
  pass(300);
  expect([diagnoses.ofNetwork(), isWaiting()]).toEqual([undefined, false]);
});

it("waits for nothing any more when it was stopped", () => {
  const { record, stop, isWaiting } = setUp();
  stop();
  record(UP, "node1");
  expect(isWaiting()).toBe(false);
});
