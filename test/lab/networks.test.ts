/**
 * One manager on two networks, each with an interface of its own: a node boots on the second as on the first. And a
 * manager that only hears DHCP, or cannot even do that.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { demoImage } from "./demo-image.ts";
import { Lan, type LanHost, lanUnavailable } from "./lan.ts";
import { ManagerProcess } from "./manager-process.ts";
import { requireTools } from "./required-tools.ts";

const skipped = lanUnavailable() !== undefined || requireTools(["ip", "ss", "busybox", "dnsmasq"]);
const PI = "dc:a6:32:00:00:01";
const PC = "02:00:00:00:03:02";
const SCRIPT = `#!/bin/sh
[ "$1" = bound ] && { env; ip addr replace $ip/$mask dev $interface; }
exit 0
`;

describe.skipIf(skipped)("the manager", () => {
  let first: Lan;
  let second: Lan;
  let pi: LanHost;
  let pc: LanHost;
  let folder: string;
  let manager: ManagerProcess | undefined;
  const children: ChildProcess[] = [];

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-networks-"));
    writeFileSync(join(folder, "udhcpc"), SCRIPT, { mode: 0o755 });
    demoImage();
    first = new Lan("m");
    second = new Lan("n");
    pi = second.addHost("pi", PI);
    pc = first.addHost("pc", PC);
  }, 300_000);

  afterEach(async () => {
    await manager?.stop();
    manager = undefined;
    for (const child of children.splice(0)) {
      child.kill();
      await once(child, "exit");
    }
    for (const host of [pi, pc]) await host.run("ip", ["addr", "flush", "dev", "eth0"]);
  });

  afterAll(() => {
    first?.remove();
    second?.remove();
    if (folder) rmSync(folder, { recursive: true });
  });

  const manifest = (network: string, node = "") => `cluster: attic
network: ${network}
image: ${JSON.stringify(demoImage())}
nodes: [{ name: node1, mac: "${PI}", model: "4"${node} }]
`;
  const range = (lan: Lan) => `range: { from: ${lan.prefix}.100, to: ${lan.prefix}.120 }`;

  async function udhcpc(host: LanHost): Promise<Record<string, string>> {
    const words = ["udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "5", "-T", "1", "-O", "tftp"];
    const output = await host.run("busybox", [...words, "-s", join(folder, "udhcpc")], 20_000);
    return Object.fromEntries(output.split("\n").map((line) => line.split(/=(.*)/s, 2)));
  }

  it("gives addresses on two networks, and a node on the second its files by the address there", async () => {
    const other = `{ interface: ${second.bridge}, subnet: ${second.prefix}.0/24, ${range(second)} }`;
    const network = `{ interface: ${first.bridge}, dhcp: server, ${range(first)}, others: [${other}] }`;
    manager = await ManagerProcess.start(manifest(network, `, address: ${second.prefix}.10`));
    expect((await udhcpc(pc)).ip).toMatch(new RegExp(`^${first.prefix}.1[0-2][0-9]$`));
    expect(await udhcpc(pi)).toMatchObject({ ip: `${second.prefix}.10`, siaddr: second.address, tftp: second.address });

    const commandLine = await pi.run("busybox", ["tftp", "-g", "-r", "cmdline.txt", "-l", "-", second.address]);
    expect(commandLine).toContain(`nfsroot=${second.address}:`);
    // NFS, MOUNT and the port mapper too.
    const listening = execFileSync("ss", ["-ltnH"], { encoding: "utf8" });
    for (const { address } of [first, second]) {
      for (const port of [2049, 20048, 111]) expect(listening).toContain(`${address}:${port} `);
    }
    expect(manager.warnings).toEqual([]);
  }, 60_000);

  /** Starts dnsmasq in this very network, or in a host. */
  async function startDnsmasq(host: LanHost | undefined, lan: Lan, interfaceName: string): Promise<void> {
    const words = [
      ...["--no-daemon", "--conf-file=/dev/null", "--port=0", "--user=root", "--no-ping", "--leasefile-ro"],
      ...[`--interface=${interfaceName}`, "--bind-interfaces"],
      `--dhcp-range=${lan.prefix}.200,${lan.prefix}.220,1h`,
    ];
    const [program, args] = host?.command("dnsmasq", words) ?? ["dnsmasq", words];
    const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
    children.push(child);
    for await (const text of child.stderr.iterator({ destroyOnReturn: false })) {
      if (!String(text).includes("DHCP, IP range")) continue;
      child.stderr.resume();
      return;
    }
    throw new Error("dnsmasq ended");
  }

  it("hears DHCP where it is another's, learns which address a node has, and answers nobody", async () => {
    const router = second.addHost("rt", "02:00:00:00:03:03", `${second.prefix}.4`);
    await startDnsmasq(router, second, "eth0");
    manager = await ManagerProcess.start(manifest(`{ interface: ${second.bridge}, dhcp: external }`));
    const got = await udhcpc(pi);
    expect(got.serverid).toBe(`${second.prefix}.4`);
    const heard = () => manager!.events.filter(({ kind, node }) => node === "node1" && kind.startsWith("dhcp"));
    await expect.poll(() => heard().length).toBe(2);
    expect(heard()).toMatchObject([
      { kind: "dhcp-request", message: "DISCOVER" },
      { kind: "dhcp-request", message: "REQUEST", address: got.ip },
    ]);
    // By that address it is known.
    const file = await pi.run("busybox", ["tftp", "-g", "-r", "cmdline.txt", "-l", "-", second.address]);
    expect(file).toContain(`nfsroot=${second.address}:`);
  }, 60_000);

  it("serves where it may not even hear DHCP, since another program here has the port", async () => {
    await startDnsmasq(undefined, first, first.bridge);
    manager = await ManagerProcess.start(manifest(`{ interface: ${first.bridge}, dhcp: external }`));
    expect(manager.warnings).toEqual([
      expect.stringMatching(
        /^No DHCP is heard, so less is known of each boot\. Cannot use UDP port 67 on \S+: dnsmasq /,
      ),
    ]);
  }, 60_000);
});
