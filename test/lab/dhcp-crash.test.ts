/** The manager is killed again and again while clients ask for addresses: what it has promised to one, no other gets. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Lease } from "../../src/dhcp/policy.ts";
import { SeededRandom } from "../soak/seeded-random.ts";
import { Lan, type LanHost, lanUnavailable } from "./lan.ts";
import { BRAMBLE } from "./simulation.ts";

const JOINERS = resolve(import.meta.dirname, "dhcp-joiners.mjs");
const KILLS = 3;
/** More than half of the range: a manager that forgets must give some address twice. */
const CLIENTS = 150;
const RANGE = { first: 20, last: 229 };

describe.skipIf(lanUnavailable() !== undefined)("a manager that is killed", () => {
  let lan: Lan;
  let host: LanHost;
  let folder: string;
  let manager: ChildProcess | undefined;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "bramble-crash-"));
    lan = new Lan("k");
    host = lan.addHost("pc", "02:00:00:00:02:02", `${lan.prefix}.250`);
    // An ordinary socket sends a broadcast only where a route leads.
    await host.run("ip", ["route", "add", "default", "dev", "eth0"]);
    const range = `{ from: ${lan.prefix}.${RANGE.first}, to: ${lan.prefix}.${RANGE.last} }`;
    const network = `{ interface: ${lan.bridge}, dhcp: server, range: ${range}, ports: { portmap: 0, netconsole: 0 } }`;
    writeFileSync(join(folder, "bramble.yaml"), `cluster: attic\nnetwork: ${network}\nnodes: []\n`);
  });

  afterAll(async () => {
    if (manager) await kill();
    lan?.remove();
    if (folder) rmSync(folder, { recursive: true });
  });

  async function startManager(): Promise<void> {
    const words = ["--manifest", join(folder, "bramble.yaml"), "--state", join(folder, "state"), "up", "--json"];
    manager = spawn(process.execPath, [BRAMBLE, ...words], { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    for await (const bytes of manager.stderr!.iterator({ destroyOnReturn: false })) {
      said += String(bytes);
      if (!said.includes("serving")) continue;
      manager.stderr!.resume();
      return;
    }
    throw new Error(`bramble up has ended: ${said}`);
  }

  async function kill(): Promise<void> {
    const exited = once(manager!, "exit");
    manager!.kill("SIGKILL");
    await exited;
  }

  it("gives no address to two clients", async () => {
    const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
    console.log(`seed ${seed} (run again with SEED=${seed})`);
    const random = new SeededRandom(seed);
    const holders = new Map<string, Set<string>>();
    await startManager();
    const joiners = spawn(...host.command(process.execPath, [JOINERS, "1", String(CLIENTS), "300000"]));
    const ended = once(joiners, "exit");
    const acknowledged: [string, string][] = [];
    createInterface({ input: joiners.stdout }).on("line", (line) => {
      acknowledged.push(line.split(" ") as [string, string]);
    });
    const atKills: number[] = [];
    for (let count = 0; count < KILLS; count++) {
      // In the middle of answering: when some more have been answered than at the last time.
      const enough = acknowledged.length + 5 + random.below(15);
      await expect.poll(() => acknowledged.length, { timeout: 60_000, interval: 2 }).toBeGreaterThan(enough);
      atKills.push(acknowledged.length);
      await kill();
      await startManager();
    }
    await ended;
    expect(acknowledged).toHaveLength(CLIENTS);
    // On a busy machine the last ones may come when all is over.
    expect(atKills.filter((answered) => answered < CLIENTS).length).toBeGreaterThanOrEqual(2);
    for (const [mac, address] of acknowledged) holders.set(address, (holders.get(address) ?? new Set()).add(mac));
    expect([...holders].filter(([, macs]) => macs.size > 1)).toEqual([]);
    // And all of them are known to the next manager.
    const saved = JSON.parse(readFileSync(join(folder, "state", "leases.json"), "utf8")) as Lease[];
    const known = new Set(
      saved.filter(({ state }) => state === "bound").map(({ mac, address }) => `${mac} ${address}`),
    );
    expect(acknowledged.map((pair) => pair.join(" ")).filter((pair) => !known.has(pair))).toEqual([]);
  }, 400_000);
});
