/** `bramble simulate --interface eth0` on a machine of its own beside the manager's: what a spare Pi finds on the network. */
import { execFile, execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createLabNetwork, type LabNetwork } from "../../src/system/lab-network.ts";
import { makeSmallImage, SMALL_IMAGE_COMMANDS } from "../cli/small-image.ts";
import { type Dnsmasq, startDnsmasq } from "./dnsmasq.ts";
import { ManagerProcess } from "./manager-process.ts";
import { enterNetworkNamespace } from "./network-namespace.ts";
import { leftToSoak, requireRoot, requireTools } from "./required-tools.ts";
import { BRAMBLE } from "./simulation.ts";

const skipped = requireRoot() || requireTools(["ip", "dnsmasq", ...SMALL_IMAGE_COMMANDS]);
const TIMEOUT_MS = 90_000;
const LIMIT = ["--timeout", "60"];

describe.skipIf(skipped)("a spare Pi on a real network", () => {
  const machine = `bramble-spare-${process.pid}`;
  let folder: string;
  let lab: LabNetwork;

  beforeAll(async () => {
    enterNetworkNamespace();
    folder = mkdtempSync(join(tmpdir(), "bramble-spare-"));
    makeSmallImage(join(folder, "small.img"));
    lab = await createLabNetwork({ taps: 0 });
    const ip = (words: string) => execFileSync("ip", words.split(" "));
    ip(`netns add ${machine}`);
    ip(`link add port0 type veth peer name eth0 netns ${machine}`);
    ip(`link set port0 master ${lab.bridge} up`);
    ip(`-n ${machine} link set eth0 up`);
  });
  afterAll(() => {
    spawnSync("ip", ["netns", "delete", machine]);
    rmSync(folder, { recursive: true, force: true });
  });

  const manifest = () => `cluster: attic
network: { interface: ${lab.bridge}, dhcp: server, subnet: 10.77.0.0/24, range: { from: 10.77.0.100, to: 10.77.0.199 } }
image: ${join(folder, "small.img")}
nodes: [{ name: node1, mac: "dc:a6:32:00:00:07", serial: "10000007", model: "4" }]
`;

  function spare(...words: string[]): Promise<{ code: number; output: string; errors: string }> {
    const all = ["netns", "exec", machine, process.execPath, BRAMBLE, ...words, ...LIMIT];
    return new Promise((resolve) => {
      execFile("ip", all, { encoding: "utf8" }, (error, output, errors) => {
        resolve({ code: error ? Number(error.code) : 0, output, errors });
      });
    });
  }

  it(
    "is ready as a node of the manifest, and told who gave it what",
    async () => {
      const manager = await ManagerProcess.start(manifest());
      try {
        const { code, output } = await spare(
          ...["--manifest", manager.manifestPath, "simulate", "--interface", "eth0", "--node", "node1"],
        );
        expect(output).toMatch(/^ {2}offers from {3}10\.77\.0\.1$/m);
        expect(output).toMatch(/^ {2}address {7}10\.77\.0\.1\d\d, netmask 255\.255\.255\.0/m);
        expect(output).toMatch(/^ {2}boot server {3}10\.77\.0\.1$/m);
        expect(output).toMatch(/^ {2}ready: its kernel would start now$/m);
        expect(code).toBe(0);
      } finally {
        await manager.stop();
      }
    },
    TIMEOUT_MS,
  );

  // It waits as long as a Pi does: 45 s.
  it.skipIf(leftToSoak)(
    "beside a router and nobody else, is not ready: it has an address, and nobody says where to boot from",
    async () => {
      const words = ["--dhcp-range=10.77.0.50,10.77.0.99,1h", "--no-ping"];
      const dnsmasq: Dnsmasq = await startDnsmasq(lab.bridge, words);
      try {
        const { code, output } = await spare("simulate", "--interface", "eth0", "--model", "4");
        expect(output).toMatch(/^spare1: Raspberry Pi 4, dc:a6:32:/m);
        expect(output).toMatch(/^ {2}offers from {3}10\.77\.0\.1$/m);
        expect(output).toMatch(/^ {2}not ready: Cannot find a boot server: 10\.77\.0\.1 offers an address, but/m);
        expect(output).toMatch(/^ {2}what to do {4}start the manager on this network/m);
        expect(code).toBe(1);
      } finally {
        await dnsmasq.stop();
      }
    },
    TIMEOUT_MS,
  );

  it("says that an interface is not there", async () => {
    const { code, errors } = await spare("simulate", "--interface", "eth7");
    expect(errors).toContain("Cannot use the card eth7: there is no such interface\n");
    expect(code).toBe(1);
  });
});
