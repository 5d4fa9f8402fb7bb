/**
 * DHCP clients that nodes run, against our server; and our proxy beside a dnsmasq that plays the router.
 * Needs root, iproute2, busybox (udhcpc), dhclient (isc-dhcp-client) and dnsmasq.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Ipv4, type Mac, parseIpv4, parseMac } from "../../src/bytes/addresses.ts";
import type { DhcpObservation } from "../../src/dhcp/observation.ts";
import { type DhcpOption, type MessageType, makeOption, OPTIONS, readOption } from "../../src/dhcp/options.ts";
import { BROADCAST_FLAG, type DhcpPacket, decodePacket, encodePacket, makePacket } from "../../src/dhcp/packet.ts";
import type { DhcpPolicy, DhcpSettings, Lease } from "../../src/dhcp/policy.ts";
import { type DhcpServer, startDhcpServer } from "../../src/dhcp/server.ts";
import { systemClock } from "../../src/system/clock.ts";
import { createUdpSockets } from "../../src/system/udp.ts";
import { Lan, type LanHost, lanUnavailable } from "./lan.ts";
import { requireTools } from "./required-tools.ts";

const isSkipped = lanUnavailable() !== undefined || requireTools(["ip", "busybox", "dhclient", "dnsmasq"]);

const EXCHANGE = resolve(import.meta.dirname, "dhcp-exchange.mjs");
const PI = "dc:a6:32:00:00:01";
const PC = "02:00:00:00:00:02";
/** Prints what the client got, one variable a line, and takes the address. */
const UDHCPC_SCRIPT = `#!/bin/sh
[ "$1" = bound ] && { env; ip addr replace $ip/$mask dev $interface; }
exit 0
`;

describe.skipIf(isSkipped)("DHCP", () => {
  let lan: Lan;
  let folder: string;
  let pi: LanHost;
  let pc: LanHost;
  let bystander: LanHost;
  let router: LanHost;
  const servers: DhcpServer[] = [];
  const children: ChildProcess[] = [];
  const observed: DhcpObservation[] = [];
  const saved: Lease[] = [];
  const sendErrors: string[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "bramble-dhcp-"));
    writeFileSync(join(folder, "udhcpc"), UDHCPC_SCRIPT, { mode: 0o755 });
    lan = new Lan("d");
    pi = lan.addHost("pi", PI);
    pc = lan.addHost("pc", PC);
    bystander = lan.addHost("by", "02:00:00:00:00:03", `${lan.prefix}.3`);
    router = lan.addHost("rt", "02:00:00:00:00:04", `${lan.prefix}.4`);
    // An ordinary socket sends a broadcast only where a route leads.
    await bystander.run("ip", ["route", "add", "default", "dev", "eth0"]);
  });

  afterEach(async () => {
    for (const server of servers.splice(0)) server.close();
    for (const child of children.splice(0)) {
      child.kill();
      await once(child, "exit");
    }
    for (const list of [observed, saved, sendErrors]) list.length = 0;
  });

  afterAll(() => {
    lan?.remove();
    if (folder) rmSync(folder, { recursive: true });
  });

  async function start(settings: DhcpSettings, leases: Lease[] = []): Promise<void> {
    const policy: DhcpPolicy = {
      classify: ({ mac }: { mac: Mac }) =>
        mac === PI ? { kind: "pi", node: "node1", reservedAddress: parseIpv4(`${lan.prefix}.10`) } : { kind: "other" },
      isReserved: (address) => address === `${lan.prefix}.10`,
      isNode: (who) => who === PI,
    };
    servers.push(
      await startDhcpServer({
        sockets: await createUdpSockets({ onSendError: (error) => sendErrors.push(error.message) }),
        clock: systemClock,
        settings,
        policy,
        interfaceName: lan.bridge,
        leaseStore: { load: async () => leases, save: async (lease) => void saved.push(lease) },
        observe: (observation) => observed.push(observation),
      }),
    );
  }

  const server = (): DhcpSettings => ({
    mode: "server",
    serverAddress: lan.address,
    subnetMask: parseIpv4("255.255.255.0"),
    routers: [lan.address],
    dnsServers: [lan.address],
    domainName: "attic",
    leaseTimeS: 600,
    range: { first: parseIpv4(`${lan.prefix}.100`), last: parseIpv4(`${lan.prefix}.120`) },
  });
  const proxy = (): DhcpSettings => ({ mode: "proxy", serverAddress: lan.address });

  /** What udhcpc tells its script. */
  async function udhcpc(host: LanHost, args: string[] = []): Promise<Record<string, string>> {
    const script = join(folder, "udhcpc");
    const all = ["udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "5", "-T", "1", "-O", "tftp", "-s", script, ...args];
    const output = await host.run("busybox", all, 20_000);
    return Object.fromEntries(output.split("\n").map((line) => line.split(/=(.*)/s, 2)));
  }

  async function dhclient(host: LanHost, args: string[] = []): Promise<string> {
    const files = ["-lf", join(folder, "leases"), "-pf", join(folder, "dhclient.pid")];
    await host.run("dhclient", ["-4", "-1", "-v", "-sf", "/bin/true", ...files, ...args, "eth0"], 30_000);
    return readFileSync(join(folder, "leases"), "utf8");
  }

  /** What answers the packets when a host broadcasts them, or what it overhears without any. */
  async function exchange(host: LanHost, packets: DhcpPacket[], waitMs = 1000): Promise<DhcpPacket[]> {
    const hex = packets.map((packet) => Buffer.from(encodePacket(packet)).toString("hex"));
    const output = await host.run("env", [`WAIT_MS=${waitMs}`, process.execPath, EXCHANGE, ...hex]);
    return output
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => decodePacket(Buffer.from(line, "hex")));
  }

  /** As the Pi 4 EEPROM bootloader asks, but for the broadcast flag: here an ordinary socket must hear the answer. */
  function piSays(message: MessageType, options: DhcpOption[] = []): DhcpPacket {
    return makePacket({
      op: "request",
      transactionId: 0x0263d70c,
      mac: parseMac(PI),
      flags: BROADCAST_FLAG,
      options: [
        makeOption(OPTIONS.messageType, message),
        makeOption(OPTIONS.parameterRequestList, Buffer.from("01032b3c42438081828384858687", "hex")),
        makeOption(OPTIONS.clientArchitecture, Buffer.from("0000", "hex")),
        makeOption(OPTIONS.clientGuid, Buffer.from("00525069341131a000322ef8ed1045155b", "hex")),
        makeOption(OPTIONS.vendorClass, "PXEClient:Arch:00000:UNDI:002001"),
        ...options,
      ],
    });
  }

  it("gives busybox udhcpc the node's reserved address, and what to boot with", async () => {
    await start(server());
    expect(await udhcpc(pi)).toMatchObject({
      ip: `${lan.prefix}.10`,
      subnet: "255.255.255.0",
      router: lan.address,
      dns: lan.address,
      domain: "attic",
      serverid: lan.address,
      siaddr: lan.address,
      tftp: lan.address,
      // A node's address is its own without end: a kernel with ip=dhcp never renews it.
      lease: "4294967295",
    });
    expect(saved).toMatchObject([{ mac: PI, address: `${lan.prefix}.10`, state: "bound" }]);
  });

  it("gives a computer that is no node an address of the range, and nothing to boot with", async () => {
    await start(server());
    const got = await udhcpc(pc);
    expect(Number(got.ip?.split(".")[3])).toBeGreaterThanOrEqual(100);
    expect(got).not.toHaveProperty("tftp");
    expect(got).not.toHaveProperty("siaddr");
  });

  it("sends an offer as a frame to the client alone, and to all when the client asks for that", async () => {
    await start(server());
    for (const [args, overheard] of [
      [[], 0],
      [["-B"], 2],
    ] as const) {
      const listening = exchange(bystander, [], 6000);
      await new Promise((done) => setTimeout(done, 1500));
      await udhcpc(pi, [...args]);
      expect((await listening).length).toBe(overheard);
    }
    expect(sendErrors).toEqual([]);
  });

  it("gives dhclient, with an identifier of its own, the same address as the bootloader of the board", async () => {
    await start(server());
    const [offer] = await exchange(bystander, [piSays("DISCOVER")]);
    expect(offer?.yourAddress).toBe(`${lan.prefix}.10`);
    const leases = await dhclient(pi);
    expect(leases).toContain(`fixed-address ${lan.prefix}.10;`);
    expect(leases).toContain(`option dhcp-server-identifier ${lan.address};`);
    await pi.run("dhclient", ["-4", "-x", "-pf", join(folder, "dhclient.pid"), "eth0"]);
  });

  it("takes a REQUEST after a restart for what the lease file says, and refuses another's address", async () => {
    const address = parseIpv4(`${lan.prefix}.111`);
    await start(server(), [{ mac: parseMac(PC), address, expiresUnixMs: Date.now() + 60_000, state: "bound" }]);
    expect((await udhcpc(pc)).ip).toBe(address);
    const [nak] = await exchange(bystander, [piSays("REQUEST", [makeOption(OPTIONS.requestedAddress, address)])]);
    expect(readOption(nak!.options, OPTIONS.messageType)).toBe("NAK");
  });

  describe("beside a router", () => {
    async function startRouter(): Promise<void> {
      const range = `${lan.prefix}.200,${lan.prefix}.220,1h`;
      const [program, args] = router.command("dnsmasq", [
        ...["--no-daemon", "--conf-file=/dev/null", "--port=0", "--user=root", "--no-ping", "--interface=eth0"],
        ...["--bind-interfaces", `--dhcp-range=${range}`, `--dhcp-leasefile=${join(folder, "dnsmasq.leases")}`],
      ]);
      const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
      children.push(child);
      for await (const text of child.stderr) if (String(text).includes("DHCP, IP range")) return;
      throw new Error("dnsmasq ended");
    }
    const isRouterAddress = (address: Ipv4 | undefined) => Number(address?.split(".")[3]) >= 200;

    it("the proxy adds where to boot from, and leaves the address to the router", async () => {
      await startRouter();
      await start(proxy());
      const offers = await exchange(bystander, [piSays("DISCOVER")], 2000);
      const ours = offers.filter(({ yourAddress }) => yourAddress === "0.0.0.0");
      const routers = offers.filter(({ yourAddress }) => isRouterAddress(yourAddress));
      expect([ours.length, routers.length, offers.length]).toEqual([1, 1, 2]);
      expect(readOption(ours[0]!.options, OPTIONS.tftpServerName)).toBe(lan.address);
      expect(Buffer.from(readOption(ours[0]!.options, OPTIONS.vendorSpecific)!).toString("latin1")).toContain(
        "Raspberry Pi Boot   ",
      );

      const address = routers[0]!.yourAddress;
      const answers = await exchange(bystander, [
        piSays("REQUEST", [
          makeOption(OPTIONS.requestedAddress, address),
          makeOption(OPTIONS.serverIdentifier, parseIpv4(`${lan.prefix}.4`)),
        ]),
      ]);
      expect(answers.map(({ options }) => readOption(options, OPTIONS.messageType))).toEqual(["ACK"]);
      expect(readOption(answers[0]!.options, OPTIONS.serverIdentifier)).toBe(`${lan.prefix}.4`);
      expect(observed).toContainEqual(expect.objectContaining({ kind: "address-seen", mac: PI, address }));
    });

    it.each([
      ["the operating system of a node", () => pi],
      ["a computer that is no node", () => pc],
    ])("the proxy does not disturb %s", async (_, host) => {
      await startRouter();
      await start(proxy());
      const { ip, serverid } = await udhcpc(host());
      expect(isRouterAddress(ip as Ipv4)).toBe(true);
      expect(serverid).toBe(`${lan.prefix}.4`);
      expect(observed.filter(({ kind }) => kind === "reply")).toEqual([]);
      expect(observed.filter(({ kind }) => kind === "address-seen")).toMatchObject([{ mac: host().mac, address: ip }]);
    });
  });
});
