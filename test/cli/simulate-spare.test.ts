/** `bramble simulate --interface lo`: an ordinary user asks the manager on loopback as a Pi would. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { requireTools } from "../lab/required-tools.ts";
import { CLUSTER_TOOLS, LoopbackCluster } from "./loopback-cluster.ts";

const node = '{ name: node1, mac: "dc:a6:32:00:00:07", serial: "10000007", model: "4", address: 127.0.0.17 }';

describe.skipIf(requireTools(CLUSTER_TOOLS))("a spare Pi on loopback", () => {
  const cluster = new LoopbackCluster([node]);

  beforeAll(() => cluster.start({ network: ["interface: lo", "dhcp: server", "subnet: 127.0.0.0/24"] }));
  afterAll(() => cluster.remove());

  it("says what a node of the manifest gets, and from whom", async () => {
    const { code, stdout } = await cluster.ask("simulate", "--interface", "lo", "--node", "node1");
    expect(stdout).toMatch(/^node1: Raspberry Pi 4, dc:a6:32:00:00:07, serial number 10000007$/m);
    expect(stdout).toMatch(/^ {2}offers from {3}127\.0\.0\.1$/m);
    expect(stdout).toMatch(/^ {2}address {7}127\.0\.0\.17, netmask 255\.255\.255\.0$/m);
    expect(stdout).toMatch(/^ {2}ready: its kernel would start now$/m);
    expect(code).toBe(0);
  });

  it("has it as data, too", async () => {
    const { code, stdout } = await cluster.ask("--json", "simulate", "--interface", "lo", "--node", "node1");
    expect(JSON.parse(stdout)).toMatchObject({
      kind: "report",
      interface: "lo",
      boards: [
        {
          pi: "node1",
          outcome: "booted",
          offersFrom: ["127.0.0.1"],
          address: { address: "127.0.0.17", tftpServer: "127.0.0.1" },
        },
      ],
    });
    expect(code).toBe(0);
  });

  it("knows only the nodes there are", async () => {
    const { code, stderr } = await cluster.ask("simulate", "--interface", "lo", "--node", "node9");
    expect(stderr).toContain("Cannot simulate node9: the manifest has no node of that name\n");
    expect(code).toBe(2);
  });
});
