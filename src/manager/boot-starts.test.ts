import { describe, expect, it } from "vitest";
import { MemoryClock } from "../../test/memory-network.ts";
import { parseMac } from "../bytes/addresses.ts";
import type { DhcpClient, DhcpClientFacts } from "../dhcp/policy.ts";
import { bootStarts } from "./boot-starts.ts";

const mac = parseMac("dc:a6:32:00:00:01");
const FIRMWARE = "PXEClient:Arch:00000:UNDI:002001";
const pi: DhcpClient = { kind: "pi", node: "node1" };

function scene(hearsDhcp: boolean) {
  const clock = new MemoryClock();
  const begun: string[] = [];
  const begin = async (node: string) => void begun.push(node);
  return { clock, begun, starts: bootStarts({ hearsDhcp, clock, begin }) };
}

describe("a boot starts", () => {
  it.each<[string, Partial<DhcpClientFacts>, DhcpClient, number]>([
    ["with the firmware's DISCOVER", { vendorClass: FIRMWARE }, pi, 1],
    ["not with its REQUEST", { vendorClass: FIRMWARE, message: "REQUEST" }, pi, 0],
    ["not when Linux asks for an address", { vendorClass: "Linux ipconfig" }, pi, 0],
    ["not when a client asks that says nothing of itself", {}, pi, 0],
    ["not when a stranger asks", { vendorClass: FIRMWARE }, { kind: "unknown-pi" }, 0],
  ])("%s", async (_, facts, client, count) => {
    const { starts, begun } = scene(true);
    await starts.beforeReply({ mac, message: "DISCOVER", ...facts }, client);
    expect(begun).toHaveLength(count);
  });

  it("never with a file, where DHCP is heard: anybody may read one", () => {
    const { starts, begun } = scene(true);
    expect(starts.beforeFile("node1", "config.txt")).toBeUndefined();
    expect(begun).toEqual([]);
  });

  it("with the first file after a pause, where DHCP is somebody else's", async () => {
    const { starts, begun, clock } = scene(false);
    for (const path of ["config.txt", "start4.elf", "vmlinuz"]) await starts.beforeFile("node1", path);
    expect(begun).toEqual(["node1"]);
    clock.pass(20_000);
    await starts.beforeFile("node1", "vmlinuz");
    clock.pass(20_000);
    await starts.beforeFile("node1", "start4.elf");
    expect(begun).toEqual(["node1", "node1"]);
  });
});
