/**
 * DISCOVER to OFFER, beside dnsmasq: both as the DHCP server of one bridge, asked through a relay by 200 clients in
 * turn, eight questions in flight. Needs gcc, dnsmasq, iproute2, and root for the network namespace.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseIpv4 } from "../src/bytes/addresses.ts";
import { startDhcpServer } from "../src/dhcp/server.ts";
import { systemClock } from "../src/system/clock.ts";
import { createUdpSockets } from "../src/system/udp.ts";
import { Lan } from "../test/lab/lan.ts";
import { compile, numbersOf } from "./instruments/load-generator.ts";
import type { Measure } from "./instruments/measure.ts";

const SECONDS = 2;
const ROUNDS = 3;
const IN_FLIGHT = 8;
const STEADY_PER_SECOND = 1000;
/** What was promised, as the peer's figure. */
const OFFERS_PER_SECOND_MIN = 10_000;
const P99_MS_MAX = 5;

export async function run(report: (line: Measure) => void): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "bramble-bench-dhcp-"));
  const lan = new Lan("b");
  try {
    const relay = `${lan.prefix}.2`;
    const host = lan.addHost("relay", "02:00:00:00:00:02", relay);
    const program = compile("dhcp-load", folder);
    const [command, args] = host.command(program, [lan.address, relay, `${IN_FLIGHT}`, `${SECONDS}`]);
    const offersPerSecond = async () => {
      const [offers = 0, , seconds = 1] = await numbersOf(command, args);
      if (offers === 0) throw new Error("Cannot measure: no DISCOVER was answered");
      return offers / seconds;
    };
    /** In milliseconds. A DISCOVER without an answer counts as one that never came. */
    const slowestOfHundred = async () => {
      const [offers = 0, lost = 0, , , p99Us = 0] = await numbersOf(command, [...args, String(STEADY_PER_SECOND)]);
      return lost > offers / 100 ? Number.POSITIVE_INFINITY : p99Us / 1000;
    };
    let [best, peerBest] = [0, 0];
    let p99Ms = Number.POSITIVE_INFINITY;
    for (let round = 0; round < ROUNDS; round++) {
      const stopPeer = await startDnsmasq(lan, join(folder, `leases${round}`));
      peerBest = Math.max(peerBest, await offersPerSecond());
      await stopPeer();
      const stopOurs = await startOurs(lan);
      best = Math.max(best, await offersPerSecond());
      p99Ms = Math.min(p99Ms, await slowestOfHundred());
      stopOurs();
    }
    report({ name: "dhcp.offers", ours: best, peer: peerBest, unit: "1/s", goal: ">=0.5" });
    report({ name: "dhcp.offersPromised", ours: best, peer: OFFERS_PER_SECOND_MIN, unit: "1/s", goal: ">=1" });
    report({ name: "dhcp.p99At1000", ours: p99Ms, peer: P99_MS_MAX, unit: "ms", goal: "<=1" });
  } finally {
    lan.remove();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function startOurs(lan: Lan): Promise<() => void> {
  const server = await startDhcpServer({
    sockets: await createUdpSockets(),
    clock: systemClock,
    interfaceName: lan.bridge,
    settings: {
      mode: "server",
      serverAddress: lan.address,
      subnetMask: parseIpv4("255.255.255.0"),
      routers: [lan.address],
      dnsServers: [],
      leaseTimeS: 3600,
      range: { first: parseIpv4(`${lan.prefix}.10`), last: parseIpv4(`${lan.prefix}.240`) },
    },
    policy: { classify: () => ({ kind: "pi", node: "node" }), isReserved: () => false, isNode: () => true },
    observe: () => {},
  });
  return () => server.close();
}

async function startDnsmasq(lan: Lan, leaseFile: string): Promise<() => Promise<void>> {
  const child: ChildProcess = spawn(
    "dnsmasq",
    [
      ...["--no-daemon", "--conf-file=/dev/null", "--port=0", "--user=root", "--no-ping", "--quiet-dhcp"],
      ...[`--interface=${lan.bridge}`, "--bind-interfaces", `--dhcp-leasefile=${leaseFile}`],
      ...[`--dhcp-range=${lan.prefix}.10,${lan.prefix}.240,1h`, "--dhcp-lease-max=1000"],
      "--pxe-service=0,Raspberry Pi Boot",
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  for await (const text of child.stderr!.iterator({ destroyOnReturn: false })) {
    if (!String(text).includes("DHCP, IP range")) continue;
    child.stderr!.resume();
    return async () => {
      child.kill();
      await once(child, "exit");
    };
  }
  throw new Error("Cannot measure: dnsmasq did not start; something may have port 67");
}
