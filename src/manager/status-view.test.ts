import { expect, it } from "vitest";
import type { Ipv4, Mac } from "../bytes/addresses.ts";
import type { BootOccurrence } from "../cluster/event.ts";
import { parseManifest } from "../cluster/manifest.ts";
import { INITIAL_STATUS, nextStatus } from "../cluster/status.ts";
import { viewNode } from "./status-view.ts";

const mac = "dc:a6:32:70:da:b0" as Mac;
const asks: BootOccurrence = { kind: "dhcp-request", message: "DISCOVER", mac, vendorClass: "PXEClient" };
const boot: BootOccurrence[] = [asks, { kind: "mount", tree: "root", client: "10.77.0.11" as Ipv4 }];
const up: BootOccurrence = { kind: "up", bootId: "a" };
const ready: BootOccurrence = { kind: "storage-tried", state: "ready", freeKiB: 900, sizeKiB: 1000 };
const failed: BootOccurrence = { kind: "storage-tried", state: "no-space" };

function viewAfter(occurrences: readonly BootOccurrence[]) {
  const status = occurrences.reduce(
    (before, occurrence, index) => nextStatus(before, { ...occurrence, node: "node1", sequence: index, unixMs: index }),
    INITIAL_STATUS,
  );
  const text = `cluster: attic\nimage: pi.img\nnodes: [{ name: node1, mac: "${mac}" }]\n`;
  const parsed = parseManifest(text, { fileExists: () => true });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return viewNode(parsed.manifest.nodes[0]!, status.nodes.get("node1"), undefined, 0, 1000);
}

it("a node shows what it could not make of its settings, as long as that is so, after what it says of storage", () => {
  const noSwap = { setting: "swap", state: "no-zram" } as const;
  const made: BootOccurrence = { kind: "settings-made", settings: [{ setting: "logs", state: "ready" }, noSwap] };
  const view = viewAfter([...boot, up, made]);
  expect(view.settings).toEqual([{ setting: "logs", state: "ready" }, noSwap]);
  expect(view.problem).toContain("Cannot swap on node1");
  expect(viewAfter([...boot, up, made, failed]).problem).toContain("storage of node1");
  const repaired: BootOccurrence = { kind: "settings-made", settings: [{ setting: "swap", state: "ready" }] };
  expect(viewAfter([...boot, up, made, repaired]).problem).toBeUndefined();
  expect(viewAfter([...boot, up, made, ...boot])).not.toHaveProperty("settings");
});

it.each<[string, BootOccurrence[], string | undefined, object | undefined]>([
  ["good storage", [...boot, up, ready], undefined, { state: "ready", freeKiB: 900, sizeKiB: 1000 }],
  [
    "storage that failed",
    [...boot, up, failed],
    "Cannot keep containers on the storage of node1",
    { state: "no-space" },
  ],
  ["a boot that follows it", [...boot, up, failed, ...boot], undefined, undefined],
  ["a boot after which it is not wanted any more", [...boot, up, failed, ...boot, up], undefined, undefined],
])("a node shows %s", (_, occurrences, problem, containerStorage) => {
  const view = viewAfter(occurrences);
  expect(view.containerStorage).toEqual(containerStorage);
  if (problem === undefined) expect(view.problem).toBeUndefined();
  else expect(view.problem).toContain(problem);
});
