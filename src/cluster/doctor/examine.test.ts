import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { type Ipv4, type Mac, parseMac } from "../../bytes/addresses.ts";
import type { BootOffer } from "./boot-offer.ts";
import { examine } from "./examine.ts";
import type { DoctorFacts, InterfaceFacts, NetworkFacts, PortFacts } from "./facts.ts";
import { exitCodeOf, FINDING_IDS } from "./finding.ts";
import { readIptablesRules } from "./iptables-rules.ts";

const ip = (text: string) => text as Ipv4;
const MASK = ip("255.255.255.0");
const GIB = 2 ** 30;

const eth0: InterfaceFacts = {
  name: "eth0",
  mac: parseMac("02:00:00:00:00:01"),
  isUp: true,
  hasCarrier: true,
  isLoopback: false,
  mtuBytes: 1500,
  address: ip("192.0.2.1"),
  netmask: MASK,
  driver: "e1000e",
  reversePathFilter: 2,
};
const lo: InterfaceFacts = {
  ...eth0,
  name: "lo",
  isLoopback: true,
  mtuBytes: 65536,
  address: ip("127.0.0.1"),
  netmask: ip("255.0.0.0"),
};
const eth1: InterfaceFacts = { ...eth0, name: "eth1", address: ip("198.51.100.1") };
const router: BootOffer = {
  server: ip("192.0.2.254"),
  serverMac: "0c:d9:96:11:a0:00" as Mac,
  source: ip("192.0.2.254"),
  address: ip("192.0.2.77"),
};
const proxyOffer: BootOffer = { ...router, server: ip("192.0.2.9"), serverMac: "0c:d9:96:11:a0:09" as Mac };
delete proxyOffer.address;

const net0: NetworkFacts = {
  interfaceName: "eth0",
  address: ip("192.0.2.1"),
  netmask: MASK,
  wanted: {},
  ports: { seen: [{ protocol: "udp", port: 67, service: "DHCP", state: "free" }] },
  dhcp: { seen: { waitedMs: 3000, askedAs: "stranger", offers: [router] } },
  spanningTree: { seen: { listenedMs: 4500, bpdus: [] } },
};

/** A machine where nothing is wrong, in proxy mode beside a router. */
function healthy(): DoctorFacts {
  return {
    wanted: { dhcp: "proxy", ports: { dhcp: 67, tftp: 69, nfs: 2049, mount: 20048, portmap: 111, netconsole: 6666 } },
    program: { nodeVersion: "20.10.0", libraries: [{ name: "koffi" }, { name: "lmdb" }] },
    privileges: { canOpenRawSockets: true, program: "/usr/bin/node" },
    manifest: { seen: { path: "bramble.yaml", problems: [] } },
    images: { seen: [{ source: "a.img", problems: [], isUnread: false }] },
    interfaces: { seen: [lo, eth0] },
    networks: { seen: [net0] },
    firewall: { seen: [] },
    host: { isWsl: false, gateway: ip("192.0.2.254"), forwards: false },
    clock: { seen: { unixMs: Date.UTC(2027, 0), isSynchronised: true } },
    disk: { seen: { folder: "/var/lib/bramble", freeBytes: 50 * GIB, syncMs: 2 } },
    managers: { seen: [] },
  };
}

type Change = Partial<{ [K in keyof DoctorFacts]: DoctorFacts[K] }>;
const dhcpMode = (dhcp: DoctorFacts["wanted"]["dhcp"]) => ({ wanted: { ...healthy().wanted, dhcp } });
const network = (some: Partial<NetworkFacts>): Change => ({ networks: { seen: [{ ...net0, ...some }] } });
const served = (some: Partial<InterfaceFacts>, ...others: InterfaceFacts[]): Change => ({
  interfaces: { seen: [lo, { ...eth0, ...some }, ...others] },
});
const offers = (mode: DoctorFacts["wanted"]["dhcp"], ...list: BootOffer[]): Change => ({
  ...dhcpMode(mode),
  ...network({
    dhcp: {
      seen: { waitedMs: 3000, askedAs: mode === "external" ? ("pi" as const) : ("stranger" as const), offers: list },
    },
  }),
});
const taken = (some: Partial<PortFacts>): Partial<NetworkFacts> => ({
  ports: { seen: [{ protocol: "udp", port: 67, service: "DHCP", state: "taken", ...some }] },
});
const port = (some: Partial<PortFacts>): Change => network(taken(some));
const noNetwork = (skipped: string): Change => ({ networks: { skipped } });
const disk = (some: object): Change => ({
  disk: { seen: { folder: "/var/lib/bramble", freeBytes: 50 * GIB, syncMs: 2, ...some } },
});
const filter = (policy: string, ...rules: string[]): Change => ({
  firewall: { seen: [readIptablesRules(`*filter\n:INPUT ${policy} [0:0]\n${rules.join("\n")}`)] },
});
const host = (some: object): Change => ({ host: { isWsl: false, ...some } });
const bpdu = {
  protocol: "RSTP" as const,
  root: { priority: 0x8000, mac: "00:1c:0e:87:78:00" as Mac },
  bridge: { priority: 0x8000, mac: "0c:d9:96:11:a0:00" as Mac },
  port: 3,
  forwardDelayS: 15,
  helloS: 2,
};

describe("what is found", () => {
  it("is nothing where nothing is wrong", () => {
    expect(examine(healthy())).toEqual({ findings: [], skipped: [] });
  });

  it.each<[string, Change, string[]]>([
    [
      "a manifest with problems",
      { manifest: { seen: { path: "b", problems: ["b:1:1: x"] } }, networks: { skipped: "" } },
      ["error manifest-wrong"],
    ],
    ["Node 18", { program: { ...healthy().program, nodeVersion: "18.19.1" } }, ["error node-old"]],
    ["Node 20.9", { program: { ...healthy().program, nodeVersion: "20.9.0" } }, ["error node-old"]],
    ["Node 24", { program: { ...healthy().program, nodeVersion: "24.0.0" } }, []],
    [
      "koffi for another C library",
      { program: { ...healthy().program, libraries: [{ name: "koffi", failure: "x" }] } },
      ["error library-missing"],
    ],
    [
      "no raw sockets",
      { privileges: { ...healthy().privileges, canOpenRawSockets: false } },
      ["warning raw-sockets-forbidden"],
    ],

    [
      "the manifest's interface does not exist",
      noNetwork('Cannot use network interface "eth7": it does not exist'),
      ["error interface-missing"],
    ],
    [
      "the manifest's interface has no address",
      {
        ...served({ address: undefined } as never),
        ...noNetwork('Cannot use network interface "eth0": it has no IPv4 address'),
      },
      ["error interface-without-address"],
    ],
    [
      "two interfaces and no word which",
      noNetwork("Cannot tell which network the Pis are on"),
      ["error network-unclear"],
    ],
    ["an interface that is off", served({ isUp: false, hasCarrier: false }), ["error interface-down"]],
    ["a cable that is not plugged in", served({ hasCarrier: false }), ["error interface-without-carrier"]],
    [
      "another machine's address in the manifest",
      {
        ...network({ address: ip("192.0.2.5"), wanted: { address: ip("192.0.2.5") } }),
      },
      ["error address-not-here"],
    ],
    [
      "a subnet without the manager",
      network({ wanted: { subnet: { text: "10.0.0.0/24", first: 0x0a000000, last: 0x0a0000ff } } }),
      ["error address-outside-subnet"],
    ],
    ["two interfaces in one network", served({}, { ...eth1, address: ip("192.0.2.3") }), ["warning subnet-twice"]],
    ["two interfaces in two networks", served({}, eth1), []],
    ["a second one that is off", served({}, { ...eth1, address: ip("192.0.2.3"), isUp: false }), []],
    ["jumbo frames", served({ mtuBytes: 9000 }), ["warning mtu-large"]],
    ["a tunnel's MTU", served({ mtuBytes: 1420 }), ["error mtu-small"]],
    ["strict reverse path, one interface", served({ reversePathFilter: 1 }), ["note reverse-path-filter"]],
    ["strict reverse path, two interfaces", served({ reversePathFilter: 1 }, eth1), ["warning reverse-path-filter"]],
    [
      "a router that forwards nothing",
      {
        ...dhcpMode("server"),
        ...network({ wanted: { router: ip("192.0.2.1") }, dhcp: { skipped: "x" } }),
        host: { isWsl: false, forwards: false },
      },
      ["warning router-does-not-forward"],
    ],
    [
      "spanning tree",
      network({ spanningTree: { seen: { listenedMs: 4500, bpdus: [bpdu, bpdu] } } }),
      ["warning spanning-tree"],
    ],

    [
      "Docker's bridge",
      { ...served({ driver: "veth" }), ...host({ container: "docker" }) },
      ["error container-network"],
    ],
    ["Docker with the host's network", { ...served({}), ...host({ container: "docker" }) }, []],
    ["an LXC container bridged to the LAN", { ...served({ driver: "veth" }), ...host({ container: "lxc" }) }, []],
    ["WSL", host({ isWsl: true }), ["error nat-network"]],
    [
      "a virtual machine behind NAT",
      {
        ...served({ address: ip("10.0.2.15") }),
        ...host({ gateway: ip("10.0.2.2") }),
        ...network({ address: ip("10.0.2.15"), dhcp: { skipped: "x" } }),
      },
      ["error nat-network"],
    ],

    ["proxy: nobody gives addresses", offers("proxy"), ["error dhcp-from-nobody"]],
    ["proxy: only another proxy answers", offers("proxy", proxyOffer), ["error dhcp-from-nobody"]],
    [
      "proxy: two routers",
      offers("proxy", router, { ...router, server: ip("192.0.2.253") }),
      ["error dhcp-several-servers"],
    ],
    [
      "proxy: two machines with one server address",
      offers("proxy", router, { ...router, serverMac: "02:00:00:00:00:09" as Mac }),
      ["error dhcp-several-servers"],
    ],
    ["proxy: one router that answers twice", offers("proxy", router, router), []],
    [
      "proxy: another boot server beside the router",
      offers("proxy", router, { ...proxyOffer, vendor: { form: "menu", hasPiBoot: true } }),
      ["error dhcp-other-boot-server"],
    ],
    [
      "proxy: the router names a TFTP server",
      offers("proxy", { ...router, tftpServer: { text: "192.0.2.30" } }),
      ["error dhcp-other-boot-server"],
    ],
    ["proxy: the router names us", offers("proxy", { ...router, tftpServer: { text: "192.0.2.1" } }), []],
    [
      "proxy: the router boots PCs",
      offers("proxy", { ...router, bootFile: "undionly.kpxe", nextServer: ip("192.0.2.30") }),
      ["warning dhcp-x86-boot-options"],
    ],
    [
      "proxy: the router offers UEFI",
      offers("proxy", { ...router, bootFile: "EFI/BOOT/bootx64.efi" }),
      ["warning dhcp-x86-boot-options"],
    ],
    [
      "proxy: the router's range is another network",
      offers("proxy", { ...router, address: ip("192.168.1.9") }),
      ["error dhcp-other-subnet"],
    ],
    ["server: nobody else", offers("server"), []],
    ["server: a router", offers("server", router), ["error dhcp-several-servers"]],
    ["external: nobody", offers("external"), ["error dhcp-from-nobody"]],
    ["external: option 66 names us", offers("external", { ...router, tftpServer: { text: "192.0.2.1" } }), []],
    [
      "external: option 66 names another",
      offers("external", { ...router, tftpServer: { text: "192.0.2.30" } }),
      ["error dhcp-unusable-boot-options"],
    ],
    [
      "external: option 66 is four bytes",
      offers("external", { ...router, tftpServer: { binary: Uint8Array.of(192, 0, 2, 1) } }),
      ["error dhcp-unusable-boot-options"],
    ],
    [
      "external: option 43 is bare words",
      offers("external", { ...router, vendor: { form: "text", hasPiBoot: true } }),
      ["error dhcp-unusable-boot-options"],
    ],
    [
      "external: a menu of that server's",
      offers("external", { ...router, vendor: { form: "menu", hasPiBoot: true } }),
      ["error dhcp-unusable-boot-options"],
    ],
    [
      "external: only next-server",
      offers("external", { ...router, nextServer: ip("192.0.2.1") }),
      ["error dhcp-without-boot-options"],
    ],

    ["dnsmasq has port 67", port({ owner: { name: "dnsmasq", pid: 7 } }), ["error port-taken"]],
    [
      "the kernel has port 2049",
      port({ protocol: "tcp", port: 2049, service: "NFS", owner: "unseen" }),
      ["error port-taken"],
    ],
    ["rpcbind has port 111", port({ port: 111, service: "port mapper", owner: { name: "rpcbind", pid: 7 } }), []],
    [
      "another has port 111",
      port({ port: 111, service: "port mapper", owner: { name: "node", pid: 7 } }),
      ["warning port-taken"],
    ],
    [
      "another has port 6666",
      port({ port: 6666, service: "console lines", owner: { name: "nc", pid: 7 } }),
      ["warning port-taken"],
    ],
    ["our own manager has it", port({ state: "ours" }), []],
    ["ports may not be had", port({ state: "forbidden" }), ["warning low-ports-forbidden"]],
    ["a port of an interface that is not there", port({ state: "unusable", message: "x" }), ["error port-unusable"]],

    ["a firewall that lets nothing in", filter("DROP"), ["error firewall-blocks"]],
    ["a firewall that lets the interface in", filter("DROP", "-A INPUT -i eth0 -j ACCEPT"), []],
    [
      "a firewall that forgets the port mapper",
      filter("ACCEPT", "-A INPUT -p tcp -m tcp --dport 111 -j DROP"),
      ["error firewall-blocks"],
    ],
    [
      "a firewall that cannot be judged",
      filter("ACCEPT", "-A INPUT -m recent --name x -j DROP"),
      ["note firewall-unclear"],
    ],

    [
      "an image that is not there",
      { images: { seen: [{ source: "a.img", missing: "x", problems: [], isUnread: false }] } },
      ["error image-missing"],
    ],
    [
      "an image for PCs",
      { images: { seen: [{ source: "a.img", problems: ["x"], isUnread: false }] } },
      ["error image-not-bootable"],
    ],

    ["no room", disk({ freeBytes: 0.1 * GIB }), ["error disk-full"]],
    ["little room", disk({ freeBytes: 2 * GIB }), ["warning disk-small"]],
    ["a slow SD card", disk({ syncMs: 90 }), ["warning disk-slow"]],
    ["state in memory", disk({ fileSystem: "tmpfs" }), ["warning disk-volatile"]],
    ["state in a container's own layer", disk({ fileSystem: "overlay" }), ["warning disk-volatile"]],
    ["state on a NAS", disk({ fileSystem: "nfs" }), ["error disk-network"]],
    ["a state folder that may not be written", disk({ problem: "x" }), ["error state-folder"]],

    [
      "a clock from before this program",
      { clock: { seen: { unixMs: Date.UTC(2020, 0), isSynchronised: true } } },
      ["error clock-wrong"],
    ],
    [
      "a clock that nothing keeps",
      { clock: { seen: { unixMs: Date.UTC(2027, 0), isSynchronised: false } } },
      ["note clock-unsynchronised"],
    ],
    ["our manager runs", { managers: { seen: [{ pid: 9, isOurs: true }] } }, ["note manager-running"]],
    ["another manager runs", { managers: { seen: [{ pid: 9, isOurs: false }] } }, ["warning manager-elsewhere"]],
  ])("%s", (_, change, expected) => {
    const { findings } = examine({ ...healthy(), ...change });
    expect(findings.map(({ severity, id }) => `${severity} ${id}`)).toEqual(expected);
    for (const { what, evidence, remedy } of findings) {
      expect([what, evidence, remedy].map((text) => text.length > 0 && !/undefined|NaN/.test(text))).toEqual([
        true,
        true,
        true,
      ]);
    }
  });

  it("leaves out what is to be ignored", () => {
    const facts = { ...healthy(), ...served({ mtuBytes: 9000 }) };
    expect(examine(facts, new Set(["mtu-large"])).findings).toEqual([]);
  });

  it("names the worst first", () => {
    const facts = {
      ...healthy(),
      ...served({ mtuBytes: 9000 }),
      ...offers("proxy"),
      managers: { seen: [{ pid: 9, isOurs: true }] },
    };
    expect(examine(facts).findings.map(({ severity }) => severity)).toEqual(["error", "warning", "note"]);
  });
});

describe("several networks", () => {
  const second: NetworkFacts = { ...net0, interfaceName: "eth1", address: ip("198.51.100.1"), dhcp: { skipped: "x" } };
  const both = (...networks: NetworkFacts[]): DoctorFacts => ({
    ...healthy(),
    interfaces: { seen: [lo, eth0, { ...eth1, mtuBytes: 9000 }] },
    networks: { seen: networks },
  });

  it("are looked at one by one", () => {
    const { findings, skipped } = examine(both(net0, second));
    expect(findings.map(({ id, evidence }) => `${id} ${evidence}`)).toEqual([expect.stringContaining("mtu-large")]);
    expect(skipped).toEqual([{ what: "other DHCP servers on eth1", why: "x" }]);
  });

  it("show what is wrong with all of them once", () => {
    const withPort = (one: NetworkFacts) => ({ ...one, ...taken({ owner: { name: "dnsmasq", pid: 7 } }) });
    const { findings } = examine(both(withPort(net0), withPort(second)));
    expect(findings.map(({ id }) => id)).toEqual(["port-taken", "mtu-large"]);
  });
});

describe("what is skipped", () => {
  it("says why; but not again what a finding says already", () => {
    const facts = { ...healthy(), ...network({ dhcp: { skipped: "needs CAP_NET_RAW" }, ports: { skipped: "" } }) };
    expect(examine(facts).skipped).toEqual([{ what: "other DHCP servers", why: "needs CAP_NET_RAW" }]);
  });
});

describe("the exit code", () => {
  const finding = (severity: "error" | "warning" | "note") =>
    ({ id: "mtu-large", severity, what: "", evidence: "", remedy: "" }) as const;
  it.each([
    ["nothing", [], 0],
    ["a note", [finding("note")], 0],
    ["a warning", [finding("note"), finding("warning")], 1],
    ["an error", [finding("warning"), finding("error")], 2],
  ] as const)("of %s", (_, findings, code) => {
    expect(exitCodeOf(findings)).toBe(code);
  });
});

describe("docs/DOCTOR.md", () => {
  const text = readFileSync(resolve(import.meta.dirname, "../../../docs/DOCTOR.md"), "utf8");

  it("has a row for every finding, and for no other", () => {
    const rows = Array.from(text.matchAll(/^\| `([a-z0-9-]+)` \|/gm), ([, id]) => id!);
    expect(rows.sort()).toEqual([...FINDING_IDS].sort());
  });
});
