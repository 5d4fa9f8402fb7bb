/**
 * A small Ethernet for tests with real clients: a bridge as the switch, with our address on it, and hosts in network
 * namespaces of their own. Needs root. The bridge is in a network of the test file's own, so files that run side by side
 * cannot meet.
 */
import { execFile, execFileSync, spawnSync } from "node:child_process";
import { promisify } from "node:util";
import { type Ipv4, type Mac, parseIpv4, parseMac } from "../../src/bytes/addresses.ts";
import { enterNetworkNamespace } from "./network-namespace.ts";

const run = promisify(execFile);

export interface LanHost {
  namespace: string;
  mac: Mac;
  /** Runs a program to its end inside the host; its standard output. Rejects with its exit code and output. */
  run(program: string, args: readonly string[], timeoutMs?: number): Promise<string>;
  /** Program and arguments that run it inside the host, for `spawn`. */
  command(program: string, args: readonly string[]): [string, string[]];
}

export class Lan {
  readonly bridge: string;
  /** `10.213.X`; ours is `.1`. */
  readonly prefix: string;
  readonly address: Ipv4;
  readonly #namespaces: string[] = [];
  #ports = 0;

  /** `label` tells the networks of one process apart: one character. */
  constructor(label: string) {
    enterNetworkNamespace();
    ip("link", "set", "lo", "up");
    // Namespaces of hosts are named after it, and their names are the whole machine's.
    this.bridge = `bl${label}${process.pid}`;
    this.prefix = `10.213.${label.charCodeAt(0)}`;
    this.address = parseIpv4(`${this.prefix}.1`);
    ip("link", "add", this.bridge, "type", "bridge");
    ip("addr", "add", `${this.address}/24`, "dev", this.bridge);
    ip("link", "set", this.bridge, "up");
  }

  /** A host with an interface `eth0`, and an address if one is given. */
  addHost(name: string, mac: string, address?: string): LanHost {
    const namespace = `${this.bridge}-${name}`;
    ip("netns", "add", namespace);
    this.#namespaces.push(namespace);
    this.#plugIn(namespace, "eth0");
    ip("-n", namespace, "link", "set", "eth0", "address", mac, "up");
    ip("-n", namespace, "link", "set", "lo", "up");
    if (address) ip("-n", namespace, "addr", "add", `${address}/24`, "dev", "eth0");
    const command = (program: string, args: readonly string[]): [string, string[]] => [
      "ip",
      ["netns", "exec", namespace, program, ...args],
    ];
    return {
      namespace,
      mac: parseMac(mac),
      command,
      run: async (program, args, timeoutMs = 60_000) =>
        (await run(...command(program, args), { timeout: timeoutMs, maxBuffer: 16 * 1024 * 1024 })).stdout,
    };
  }

  /** Gives a host, of this network or another, an interface on this one. */
  connect({ namespace }: LanHost, interfaceName: string, address: string): void {
    this.#plugIn(namespace, interfaceName);
    ip("-n", namespace, "addr", "add", `${address}/24`, "dev", interfaceName);
    ip("-n", namespace, "link", "set", interfaceName, "up");
  }

  /** What the switch sends to a host, the first is 0, takes as long as on a line of this speed. It loses nothing: senders wait. */
  slowDown(host: number, megabitsPerSecond: number): void {
    const shape = ["rate", `${megabitsPerSecond}mbit`, "burst", "10kb", "limit", "10mb"];
    execFileSync("tc", ["qdisc", "add", "dev", this.#portName(host), "root", "tbf", ...shape]);
    // The timer of tbf and whoever sends may run on two processors: each hands packets on by a queue of its own, and the host got
    // them in another order (a tenth of all, as clients with windows told). A line keeps the order: one queue for all.
    const queue = "echo 1 > /sys/class/net/eth0/queues/rx-0/rps_cpus";
    ip("netns", "exec", this.#namespaces[host]!, "sh", "-c", queue);
  }

  #portName(index: number): string {
    return `v${index}${this.bridge}`.slice(0, 15);
  }

  #plugIn(namespace: string, interfaceName: string): void {
    const port = this.#portName(this.#ports++);
    ip("link", "add", port, "type", "veth", "peer", "name", interfaceName, "netns", namespace);
    ip("link", "set", port, "master", this.bridge, "up");
  }

  remove(): void {
    for (const namespace of this.#namespaces) spawnSync("ip", ["netns", "delete", namespace]);
    spawnSync("ip", ["link", "delete", this.bridge]);
  }
}

/** Why a LAN cannot be made here, or `undefined`. In CI that is an error, not a reason to skip. */
export function lanUnavailable(): string | undefined {
  const reason =
    process.getuid?.() === 0 ? undefined : "Cannot run this test: it makes network namespaces, which needs root";
  if (reason && process.env.CI) throw new Error(reason);
  if (reason) console.warn(`${reason}; skipped`);
  return reason;
}

function ip(...args: string[]): void {
  execFileSync("ip", args);
}
