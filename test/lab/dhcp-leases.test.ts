/**
 * The life of a lease with the clients that nodes and others run: got, renewed, rebound to another server, ended, given
 * back; through a relay agent too; and addresses that somebody uses without a lease.
 * Needs root, iproute2, busybox (udhcpc), dhclient (isc-dhcp-client), and dnsmasq as the relay agent.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Ipv4, parseIpv4 } from "../../src/bytes/addresses.ts";
import type { DhcpObservation } from "../../src/dhcp/observation.ts";
import type { DhcpServerSettings, DhcpSubnet, Lease } from "../../src/dhcp/policy.ts";
import { type DhcpServer, startDhcpServer } from "../../src/dhcp/server.ts";
import { openArpProbe } from "../../src/system/arp-probe.ts";
import { systemClock } from "../../src/system/clock.ts";
import { createUdpSockets } from "../../src/system/udp.ts";
import { Lan, type LanHost, lanUnavailable } from "./lan.ts";
import { requireTools } from "./required-tools.ts";

const isSkipped = lanUnavailable() !== undefined || requireTools(["ip", "busybox", "dhclient", "dnsmasq"]);

/** Both clients' scripts: they set the address as told, and print what happened. */
const UDHCPC_SCRIPT = `#!/bin/sh
case "$1" in
  bound|renew) ip addr replace $ip/$mask dev $interface; [ -z "$router" ] || ip route replace default via $router;;
  deconfig) ip addr flush dev $interface; ip link set $interface up;;
esac
echo "$1 $ip $lease $search"
`;
const DHCLIENT_SCRIPT = `#!/bin/sh
case "$reason" in
  BOUND|RENEW|REBIND|REBOOT) ip addr replace $new_ip_address/24 dev $interface;;
  EXPIRE|FAIL|RELEASE|STOP) ip addr flush dev $interface;;
esac
echo "$reason $new_ip_address"
`;

/** A client that runs until it is stopped, and what it printed. */
class RunningClient {
  readonly child: ChildProcess;
  #printed = "";

  constructor(host: LanHost, program: string, args: readonly string[]) {
    this.child = spawn(...host.command(program, args), { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.child.stdout!, this.child.stderr!]) {
      stream.on("data", (bytes: Buffer) => {
        this.#printed += bytes.toString();
      });
    }
  }

  /** Waits for a line and everything before it to be printed, which is then forgotten. */
  async until(pattern: RegExp, withinMs = 10_000): Promise<RegExpMatchArray> {
    const endMs = Date.now() + withinMs;
    for (;;) {
      const found = this.#printed.match(pattern);
      if (found) {
        this.#printed = this.#printed.slice(found.index! + found[0].length);
        return found;
      }
      if (Date.now() > endMs) throw new Error(`No ${pattern} within ${withinMs} ms; printed: ${this.#printed}`);
      await new Promise((done) => setTimeout(done, 20));
    }
  }
}

describe.skipIf(isSkipped)("a lease", () => {
  let lan: Lan;
  let folder: string;
  let pc: LanHost;
  const servers: DhcpServer[] = [];
  const clients: RunningClient[] = [];
  const observed: DhcpObservation[] = [];
  const leases = new Map<Ipv4, Lease>();

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-leases-"));
    writeFileSync(join(folder, "udhcpc"), UDHCPC_SCRIPT, { mode: 0o755 });
    writeFileSync(join(folder, "dhclient"), DHCLIENT_SCRIPT, { mode: 0o755 });
    lan = new Lan("l");
    pc = lan.addHost("pc", "02:00:00:00:01:02");
  });

  afterEach(async () => {
    for (const server of servers.splice(0)) server.close();
    for (const { child } of clients.splice(0)) {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill("SIGKILL");
        await once(child, "exit");
      }
    }
    observed.length = 0;
    leases.clear();
    await pc.run("ip", ["addr", "flush", "dev", "eth0"]);
  });

  afterAll(() => {
    lan?.remove();
    if (folder) rmSync(folder, { recursive: true });
  });

  const address = (last: number) => parseIpv4(`${lan.prefix}.${last}`);
  const settings = (more: Partial<DhcpServerSettings> = {}): DhcpServerSettings => ({
    mode: "server",
    serverAddress: lan.address,
    subnetMask: parseIpv4("255.255.255.0"),
    routers: [],
    dnsServers: [],
    searchDomains: ["attic.example", "example"],
    leaseTimeS: 600,
    range: { first: address(100), last: address(120) },
    ...more,
  });

  /** Leases outlive it, as in the manager's file. */
  async function start(all: DhcpServerSettings = settings(), { asksFirst = true } = {}): Promise<DhcpServer> {
    const server = await startDhcpServer({
      sockets: await createUdpSockets(),
      clock: systemClock,
      settings: all,
      policy: { classify: () => ({ kind: "other" }), isReserved: () => false, isNode: () => false },
      interfaceName: lan.bridge,
      ...(asksFirst && { probe: openArpProbe(lan.bridge, systemClock) }),
      leaseStore: {
        load: async () => [...leases.values()],
        save: async (lease) => void leases.set(lease.address, lease),
      },
      observe: (observation) => observed.push(observation),
    });
    servers.push(server);
    return server;
  }

  function udhcpc(host: LanHost, more: readonly string[] = []): RunningClient {
    const script = join(folder, "udhcpc");
    const client = new RunningClient(host, "busybox", [
      "udhcpc",
      "-i",
      "eth0",
      "-f",
      "-R",
      "-T",
      "1",
      "-O",
      "search",
      "-s",
      script,
      ...more,
    ]);
    clients.push(client);
    return client;
  }

  function dhclient(host: LanHost, args: readonly string[] = ["-d", "-v"]): RunningClient {
    const files = ["-lf", join(folder, "leases"), "-pf", join(folder, "dhclient.pid"), "-sf", join(folder, "dhclient")];
    const client = new RunningClient(host, "dhclient", ["-4", ...files, ...args, "eth0"]);
    clients.push(client);
    return client;
  }

  /** Without those that repeat the one before: on a busy machine udhcpc asks again before an answer is there. */
  const replies = () =>
    observed
      .flatMap((each) => (each.kind === "reply" ? [each.message] : []))
      .filter((message, index, all) => message !== all[index - 1]);

  it("is got, renewed when asked, and given back by udhcpc", async () => {
    await start();
    const client = udhcpc(pc);
    const [, got] = await client.until(/^bound (\S+) 600 attic\.example example$/m);
    expect(replies()).toEqual(["OFFER", "ACK"]);
    observed.length = 0;
    client.child.kill("SIGUSR1");
    await client.until(new RegExp(`^renew ${got} 600 `, "m"));
    expect(replies()).toEqual(["ACK"]);
    client.child.kill("SIGUSR2");
    await client.until(/^deconfig/m);
    await expect.poll(() => [...leases.values()]).toMatchObject([{ address: got, state: "released" }]);
  });

  it("is renewed by dhclient in time, ends when there is nobody to renew it, is got again, and given back", async () => {
    const server = await start(settings({ leaseTimeS: 6 }));
    const client = dhclient(pc);
    const [, got] = await client.until(/^BOUND (\S+)/m);
    await client.until(new RegExp(`DHCPREQUEST for ${got} on eth0 to ${lan.address} port 67`));
    await client.until(new RegExp(`^RENEW ${got}`, "m"));
    server.close();
    await client.until(new RegExp(`DHCPREQUEST for ${got} on eth0 to`));
    await client.until(/^EXPIRE/m);
    await start();
    await client.until(new RegExp(`^BOUND ${got}`, "m"), 20_000);
    client.child.kill("SIGKILL");
    await dhclient(pc, ["-r", "-v"]).until(new RegExp(`DHCPRELEASE of ${got} on eth0 to ${lan.address} port 67`));
    await expect.poll(() => leases.get(parseIpv4(got!))?.state).toBe("released");
  });

  it("is rebound to another server when its own is gone", async () => {
    const server = await start();
    const client = udhcpc(pc);
    const [, got] = await client.until(/^bound (\S+) /m);
    server.close();
    const ip = (...args: string[]) => execFileSync("ip", [...args, "dev", lan.bridge]);
    // Nothing that is sent to the first server's address arrives: only a broadcast does.
    ip("addr", "del", `${lan.address}/24`);
    ip("addr", "add", `${address(9)}/24`);
    try {
      await start(settings({ serverAddress: address(9) }));
      observed.length = 0;
      client.child.kill("SIGUSR1");
      await client.until(new RegExp(`^renew ${got} 600 `, "m"));
      expect(replies()).toEqual(["ACK"]);
    } finally {
      ip("addr", "del", `${address(9)}/24`);
      ip("addr", "add", `${lan.address}/24`);
    }
  });

  it("is not given of an address that somebody uses", async () => {
    const squatter = lan.addHost("sq", "02:00:00:00:01:03", address(100));
    await start(settings({ range: { first: address(100), last: address(101) } }));
    // Somebody who comes first is offered the one or the other, by its MAC; of these two, each the other one.
    for (const mac of ["02:00:00:00:01:04", "02:00:00:00:01:05"]) {
      leases.clear();
      for (const server of servers.splice(0)) server.close();
      await start(settings({ range: { first: address(100), last: address(101) } }));
      await pc.run("ip", ["link", "set", "eth0", "address", mac]);
      const client = udhcpc(pc);
      await client.until(new RegExp(`^bound ${address(101)} `, "m"));
      client.child.kill("SIGKILL");
    }
    const conflicts = observed.filter(({ kind }) => kind === "address-conflict");
    expect(conflicts).toEqual([expect.objectContaining({ address: address(100), holder: squatter.mac })]);
  });

  it("is declined by udhcpc, which finds somebody at the address, and is got of another one", async () => {
    lan.addHost("de", "02:00:00:00:01:08", address(110));
    await start(settings({ range: { first: address(110), last: address(111) } }), { asksFirst: false });
    // Of two addresses a client is offered the one or the other, by its MAC; of these two, each the other one.
    const declined = () => [...leases.values()].filter(({ state }) => state === "declined");
    for (const mac of ["02:00:00:00:01:04", "02:00:00:00:01:05"]) {
      await pc.run("ip", ["link", "set", "eth0", "address", mac]);
      const client = udhcpc(pc, ["-a", "-A", "1"]);
      await client.until(new RegExp(`^bound ${address(111)} `, "m"));
      client.child.kill("SIGUSR2");
      await client.until(/^deconfig/m);
      client.child.kill("SIGKILL");
      if (declined().length > 0) break;
    }
    expect(declined()).toMatchObject([{ address: address(110) }]);
    const told = observed.flatMap((each) => (each.kind === "ignored" ? [each.cause] : []));
    expect(told).toContain("declined");
  });

  it("comes through a relay agent, is renewed without it, and is of the network behind it", async () => {
    const relay = lan.addHost("re", "02:00:00:00:01:06", `${lan.prefix}.6`);
    const remote = new Lan("r");
    try {
      const far = (last: number) => parseIpv4(`${remote.prefix}.${last}`);
      execFileSync("ip", ["addr", "flush", "dev", remote.bridge]);
      remote.connect(relay, "eth1", far(2));
      execFileSync("ip", ["route", "add", `${remote.prefix}.0/24`, "via", `${lan.prefix}.6`, "dev", lan.bridge]);
      await relay.run("sh", ["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
      const host = remote.addHost("fa", "02:00:00:00:01:07");
      const relayed: DhcpSubnet = {
        ...settings({ routers: [far(2)], leaseTimeS: 300 }),
        network: far(0),
        range: { first: far(50), last: far(60) },
      };
      await start(settings({ relayed: [relayed] }));
      const agent = new RunningClient(relay, "dnsmasq", [
        ...["--no-daemon", "--conf-file=/dev/null", "--port=0", "--user=root", "--log-dhcp"],
        `--dhcp-relay=${far(2)},${lan.address}`,
      ]);
      clients.push(agent);
      await agent.until(/DHCP relay from .* to /);
      const client = udhcpc(host);
      const [, got] = await client.until(/^bound (\S+) 300 /m);
      expect(got?.split(".").slice(0, 3).join(".")).toBe(remote.prefix);
      const requests = () => observed.flatMap((each) => (each.kind === "request" ? [each.facts] : []));
      expect(new Set(requests().map(({ message, relay: through }) => `${message} ${through}`))).toEqual(
        new Set([`DISCOVER ${far(2)}`, `REQUEST ${far(2)}`]),
      );
      client.child.kill("SIGUSR1");
      await client.until(new RegExp(`^renew ${got} 300 `, "m"));
      expect(requests().at(-1)).toMatchObject({ message: "REQUEST", address: got });
      expect(requests().at(-1)).not.toHaveProperty("relay");
    } finally {
      remote.remove();
    }
  });
});
