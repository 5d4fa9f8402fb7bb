/**
 * `bramble doctor` on networks with one thing wrong each: other people's DHCP servers, a switch that speaks spanning tree,
 * firewalls, taken ports, interfaces set badly, a clock and a disk that are wrong. Each in namespaces of its own: the
 * manager's machine, and a switch with a router. Needs root, iproute2, dnsmasq, nft, iptables and gcc.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Examination } from "../../src/cluster/doctor/finding.ts";
import { containerKind } from "../../src/system/host-kind.ts";
import { demoImage } from "./demo-image.ts";
import { startDnsmasq } from "./dnsmasq.ts";
import { requireRoot, requireTools } from "./required-tools.ts";
import { BRAMBLE } from "./simulation.ts";

const skipped = requireRoot() || requireTools(["ip", "dnsmasq", "nft", "iptables-legacy", "setpriv", "unshare", "gcc"]);

const OWN = "10.77.0.1";
const RAW_FRAMES = resolve(import.meta.dirname, "../../dist/system/raw-frames.js");
/** RSTP from 0c:d9:96:11:a0:00 port 3, root 00:1c:0e:87:78:aa, forward delay 15 s. */
const BPDU =
  "0180c20000000cd99611a0030027424203000002027c1000001c0e8778aa00004e2080000cd99611a000800301001400020" +
  "00f000000000000000000";
/** These depend on the machine the tests run on; the checks themselves have unit tests. */
const OF_THIS_MACHINE = [
  "clock-unsynchronised",
  "disk-slow",
  "disk-small",
  "disk-volatile",
  ...(containerKind() === undefined ? [] : ["container-network"]),
];

interface Doctored extends Examination {
  code: number | null;
}

/** A machine with `eth0`, and a switch in a namespace of its own that has a router's address and the other end. */
class Place {
  static #count = 0;
  readonly manager: string;
  readonly lan: string;
  readonly folder: string;
  readonly #children: ChildProcess[] = [];
  readonly #stops: (() => Promise<void>)[] = [];
  readonly #others: string[] = [];

  constructor(root: string) {
    const name = `doctor${process.pid}-${Place.#count++}`;
    this.manager = `${name}m`;
    this.lan = `${name}s`;
    this.folder = join(root, name);
    mkdirSync(this.folder);
    for (const namespace of [this.manager, this.lan]) ip(`netns add ${namespace}`);
    ip(`-n ${this.lan} link add br0 type bridge forward_delay 0`);
    ip(`-n ${this.lan} link add port0 type veth peer name eth0 netns ${this.manager}`);
    ip(`-n ${this.lan} link set port0 master br0 up`);
    ip(`-n ${this.lan} addr add 10.77.0.254/24 dev br0`);
    ip(`-n ${this.lan} link set br0 up`);
    ip(`-n ${this.manager} link set lo up`);
    ip(`-n ${this.manager} addr add ${OWN}/24 dev eth0`);
    ip(`-n ${this.manager} link set eth0 up`);
    this.inManager("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0");
  }

  /** One more machine at the switch. */
  addHost(address: string): string {
    const namespace = `${this.lan}${this.#others.length}`;
    const port = `port${this.#others.length + 1}`;
    this.#others.push(namespace);
    ip(`netns add ${namespace}`);
    ip(`-n ${this.lan} link add ${port} type veth peer name eth0 netns ${namespace}`);
    ip(`-n ${this.lan} link set ${port} master br0 up`);
    ip(`-n ${namespace} addr add ${address}/24 dev eth0`);
    ip(`-n ${namespace} link set eth0 up`);
    return namespace;
  }

  inManager(words: string): void {
    execFileSync("ip", ["netns", "exec", this.manager, ...words.split(" ")]);
  }

  async dnsmasq(namespace: string, interfaceName: string, words: readonly string[]): Promise<void> {
    const dnsmasq = await startDnsmasq(interfaceName, words, ["ip", "netns", "exec", namespace]);
    this.#stops.push(() => dnsmasq.stop());
  }

  router(...words: string[]): Promise<void> {
    return this.dnsmasq(this.lan, "br0", ["--dhcp-range=10.77.0.100,10.77.0.120,1h", "--no-ping", ...words]);
  }

  /** Runs until the place is removed. Resolves when it has printed something. */
  async keepRunning(namespace: string, words: readonly string[]): Promise<void> {
    const child = spawn("ip", ["netns", "exec", namespace, ...words], { stdio: ["ignore", "pipe", "inherit"] });
    this.#children.push(child);
    await once(child.stdout, "data");
  }

  words(manifest: string): string[] {
    writeFileSync(join(this.folder, "bramble.yaml"), manifest);
    return [BRAMBLE, "--manifest", join(this.folder, "bramble.yaml"), "--state", join(this.folder, "state")];
  }

  /** An empty file system in memory where the state would be. */
  stateInMemory(size: string): string[] {
    const state = join(this.folder, "state");
    mkdirSync(state);
    return ["unshare", "-m", "sh", "-c", `mount -t tmpfs -o size=${size} none ${state} && exec "$@"`, "sh"];
  }

  async doctor(
    manifest: string,
    { prefix = [] as readonly string[], options = [] as string[], found = "" } = {},
  ): Promise<Doctored> {
    const words = [
      ...this.words(manifest),
      "--json",
      "doctor",
      `--ignore=${OF_THIS_MACHINE.filter((each) => !found.includes(each))}`,
      ...options,
    ];
    const all = ["netns", "exec", this.manager, ...prefix, process.execPath, ...words];
    const child = spawn("ip", all, { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
    const [code] = await once(child, "close");
    return { code, ...(JSON.parse(text) as Examination) };
  }

  async remove(): Promise<void> {
    for (const stop of this.#stops) await stop();
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const gone = once(child, "exit");
      child.kill();
      await gone;
    }
    for (const namespace of [this.manager, this.lan, ...this.#others]) ip(`netns delete ${namespace}`);
  }
}

function ip(words: string): void {
  execFileSync("ip", words.split(" "));
}

interface Fault {
  /** What the manifest says of the network, after the interface. */
  network?: string;
  /** Of addresses, where the manifest says something of the network. */
  range?: string;
  /** Empty: none. */
  interfaceName?: string;
  plant(place: Place): Promise<void>;
  /** `severity id`, in their order. */
  found: string[];
  /** What all the evidence together must say. */
  evidence?: RegExp;
  /** What runs the doctor. `faults`: a library that makes the C library lie. */
  prefix?(place: Place, faults: string): string[];
}

/** Before the fault, nothing is wrong with a router there. */
const beside = (plant: (place: Place) => void | Promise<void>) => async (place: Place) => {
  await place.router();
  await plant(place);
};
const ipOf = (place: Place, words: string) => ip(`-n ${place.manager} ${words}`);
const addSecondInterface = (place: Place, address: string) => {
  ipOf(place, "link add eth1 type veth peer name nowhere");
  ipOf(place, `addr add ${address}/24 dev eth1`);
  for (const name of ["nowhere", "eth1"]) ipOf(place, `link set ${name} up`);
};
const listener = (port: number) =>
  `require("net").createServer().listen(${port}, "0.0.0.0", () => console.log("listening"))`;
const datagramListener = (port: number) =>
  `require("dgram").createSocket("udp4").bind(${port}, "0.0.0.0", () => console.log("listening"))`;

/** What the C library says of the clock, of the disk and of its file system, otherwise than the kernel. */
const FAULTS_OF_LIBRARY = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/statfs.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>
static long setting(const char *name) { const char *text = getenv(name); return text ? atol(text) : 0; }
int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = (int (*)(clockid_t, struct timespec *)) dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(clock, now);
  if (clock == CLOCK_REALTIME) now->tv_sec -= setting("CLOCK_BEHIND_S");
  return result;
}
int gettimeofday(struct timeval *now, void *zone) {
  struct timespec precise;
  (void) zone;
  clock_gettime(CLOCK_REALTIME, &precise);
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return 0;
}
int adjtimex(struct timex *timex) { timex->status = setting("CLOCK_UNSYNCHRONISED") ? STA_UNSYNC : 0; return TIME_OK; }
int statfs(const char *path, struct statfs *found) {
  static int (*real)(const char *, struct statfs *);
  if (!real) real = (int (*)(const char *, struct statfs *)) dlsym(RTLD_NEXT, "statfs");
  int result = real(path, found);
  if (setting("FILE_SYSTEM")) found->f_type = setting("FILE_SYSTEM");
  return result;
}
int statfs64(const char *path, struct statfs64 *found) { return statfs(path, (struct statfs *) found); }
int fdatasync(int fd) { (void) fd; usleep(1000 * setting("SYNC_MS")); return 0; }
`;
const NFS_MAGIC = 0x6969;
/** In the program that is started with it, as if an older Node ran it. */
const OLD_NODE = `Object.defineProperty(process, "versions", { value: { ...process.versions, node: "18.19.0" } });`;
const withFault = (setting: string) => (_: Place, faults: string) => ["env", `LD_PRELOAD=${faults}`, setting];

const FAULTS: Record<string, Fault> = {
  "nothing is wrong": { plant: beside(() => {}), found: [] },
  "a second DHCP server": {
    plant: beside((place) =>
      place.dnsmasq(place.addHost("10.77.0.253"), "eth0", ["--dhcp-range=10.77.0.150,10.77.0.160,1h", "--no-ping"]),
    ),
    found: ["error dhcp-several-servers"],
    evidence: /10\.77\.0\.25[34] .*10\.77\.0\.25[34] /,
  },
  "a boot server beside the router": {
    plant: beside((place) =>
      place.dnsmasq(place.addHost("10.77.0.253"), "eth0", [
        "--dhcp-range=10.77.0.0,proxy",
        "--pxe-service=0,Raspberry Pi Boot",
      ]),
    ),
    found: ["error dhcp-other-boot-server"],
    evidence: /10\.77\.0\.253 offers option 43/,
  },
  "a router that boots PCs": {
    plant: (place) => place.router("--dhcp-boot=undionly.kpxe"),
    found: ["warning dhcp-x86-boot-options"],
    evidence: /undionly\.kpxe/,
  },
  "a router of another network": {
    async plant(place) {
      ip(`-n ${place.lan} addr add 192.168.7.1/24 dev br0`);
      await place.dnsmasq(place.lan, "br0", ["--dhcp-range=192.168.7.10,192.168.7.20,1h", "--no-ping"]);
    },
    found: ["error dhcp-other-subnet"],
    evidence: /192\.168\.7\.1/,
  },
  "nobody gives addresses": { plant: async () => {}, found: ["error dhcp-from-nobody"] },
  "server: a router": { network: "dhcp: server", plant: beside(() => {}), found: ["error dhcp-several-servers"] },
  "external: a server without boot options": {
    network: "dhcp: external",
    plant: beside(() => {}),
    found: ["error dhcp-without-boot-options"],
    evidence: /asked for node1/,
  },
  "external: option 66 that names another": {
    network: "dhcp: external",
    plant: (place) => place.router("--dhcp-option-force=66,10.77.0.30"),
    found: ["error dhcp-unusable-boot-options"],
    evidence: /names 10\.77\.0\.30/,
  },
  "external: option 43 as bare words": {
    network: "dhcp: external",
    plant: (place) => place.router("--dhcp-option-force=43,Raspberry Pi Boot   "),
    found: ["error dhcp-unusable-boot-options"],
    evidence: /bare words/,
  },
  "external: option 66 as it should be": {
    network: "dhcp: external",
    plant: (place) => place.router(`--dhcp-option-force=66,${OWN}`),
    found: [],
  },
  "BPDUs of a switch": {
    plant: beside((place) => {
      const program = `
        const { openRawFrames } = await import(${JSON.stringify(RAW_FRAMES)});
        const frames = openRawFrames("port0", { udpPort: 1, groups: [] }, () => {});
        const send = () => { frames.send(Buffer.from("${BPDU}", "hex")); console.log("sent"); };
        setInterval(send, 1000);
        send();`;
      return place.keepRunning(place.lan, [process.execPath, "--input-type=module", "-e", program]);
    }),
    found: ["warning spanning-tree"],
    evidence: /RSTP from bridge 0c:d9:96:11:a0:00 port 3, root 00:1c:0e:87:78:aa: forward delay 15 s/,
  },
  "the kernel's own spanning tree": {
    plant: beside(async (place) => {
      ip(`-n ${place.lan} link set br0 type bridge stp_state 1 forward_delay 200`);
      // The port listens for 2 s, then learns for 2 s: until then the router is out of reach.
      await new Promise((done) => setTimeout(done, 4500));
    }),
    found: ["warning spanning-tree"],
    evidence: /STP from bridge .*: forward delay 2 s, hello 2 s/,
  },
  "ports that others have": {
    plant: beside(async (place) => {
      await place.dnsmasq(place.manager, "eth0", ["--enable-tftp", `--tftp-root=${place.folder}`]);
      for (const program of [datagramListener(67), listener(2049), listener(111), datagramListener(6666)]) {
        await place.keepRunning(place.manager, [process.execPath, "-e", program]);
      }
    }),
    found: [
      ...["error port-taken", "error port-taken", "error port-taken"],
      ...["warning port-taken", "warning port-taken"],
    ],
    evidence: /node \(process \d+\).*dnsmasq \(process \d+\).*node \(process \d+\)/s,
  },
  "nftables that let in ssh alone": {
    plant: beside((place) => {
      place.inManager("nft add table inet filter");
      place.inManager("nft add chain inet filter input { type filter hook input priority 0 ; policy drop ; }");
      place.inManager("nft add rule inet filter input ct state established,related accept");
      place.inManager("nft add rule inet filter input tcp dport 22 accept");
    }),
    found: ["error firewall-blocks"],
    evidence: /^the policy of chain input in table inet filter: DHCP questions .*TFTP requests .*NFS .*MOUNT/,
  },
  "nftables that let in what is needed": {
    plant: beside((place) => {
      place.inManager("nft add table inet filter");
      place.inManager("nft add chain inet filter input { type filter hook input priority 0 ; policy drop ; }");
      place.inManager("nft add rule inet filter input ct state vmap { established : accept, related : accept }");
      place.inManager("nft add rule inet filter input iifname eth0 udp dport { 67, 69, 111 } accept");
      place.inManager(
        "nft add rule inet filter input ip saddr 10.77.0.0/24 tcp dport { 111, 2049, 20000-21000 } accept",
      );
    }),
    found: [],
  },
  "iptables that drop TFTP": {
    plant: beside((place) => place.inManager("iptables-legacy -A INPUT -p udp --dport 69 -j DROP")),
    found: ["error firewall-blocks"],
    evidence: /-A INPUT -p udp -m udp --dport 69 -j DROP/,
  },
  "an MTU for jumbo frames": {
    plant: beside((place) => ipOf(place, "link set eth0 mtu 9000")),
    found: ["warning mtu-large"],
  },
  "an MTU of a tunnel": {
    plant: beside((place) => ipOf(place, "link set eth0 mtu 1400")),
    found: ["error mtu-small"],
  },
  "a strict reverse path filter, with two interfaces": {
    plant: beside((place) => {
      addSecondInterface(place, "192.0.2.1");
      place.inManager("sysctl -qw net.ipv4.conf.eth0.rp_filter=1");
    }),
    found: ["warning reverse-path-filter"],
    evidence: /eth1/,
  },
  "two interfaces in one network": {
    plant: beside((place) => addSecondInterface(place, "10.77.0.2")),
    found: ["warning subnet-twice"],
  },
  "a cable that is not plugged in": {
    plant: async ({ lan }) => ip(`-n ${lan} link set port0 down`),
    found: ["error interface-without-carrier"],
  },
  "an interface that is off": {
    plant: async (place) => ipOf(place, "link set eth0 down"),
    found: ["error interface-down"],
  },
  "an interface without address": {
    plant: async (place) => ipOf(place, "addr flush dev eth0"),
    found: ["error interface-without-address"],
  },
  "an interface that is not there": {
    interfaceName: "eth7",
    plant: async () => {},
    found: ["error interface-missing"],
  },
  "a Podman container with a network of its own": {
    plant: beside(() => {}),
    prefix: () => ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /run && : >/run/.containerenv && exec "$@"', "sh"],
    found: ["error container-network"],
  },
  "a virtual machine behind NAT": {
    async plant(place) {
      ip(`-n ${place.lan} addr add 10.0.2.2/24 dev br0`);
      ipOf(place, "addr flush dev eth0");
      ipOf(place, "addr add 10.0.2.15/24 dev eth0");
      ipOf(place, "route add default via 10.0.2.2");
      await place.dnsmasq(place.lan, "br0", ["--dhcp-range=10.0.2.100,10.0.2.120,1h", "--no-ping"]);
    },
    found: ["error nat-network"],
    evidence: /10\.0\.2\.15.*10\.0\.2\.2/,
  },
  "the manager as a router that forwards nothing": {
    network: `dhcp: server, router: ${OWN}`,
    plant: async (place) => place.inManager("sysctl -qw net.ipv4.ip_forward=0"),
    found: ["warning router-does-not-forward"],
  },
  "an address that the interface does not have": {
    network: "address: 10.77.0.9",
    plant: beside(() => {}),
    // NFS, MOUNT and the port mapper would be there.
    found: ["error address-not-here", "error port-unusable", "error port-unusable", "error port-unusable"],
    evidence: /eth0 has 10\.77\.0\.1/,
  },
  "a network that the interface is not in": {
    network: "subnet: 10.78.0.0/24",
    range: "",
    plant: beside(() => {}),
    found: ["error address-outside-subnet"],
    evidence: /10\.78\.0\.0\/24/,
  },
  "two interfaces, and a manifest that names none": {
    interfaceName: "",
    plant: beside((place) => addSecondInterface(place, "192.0.2.1")),
    found: ["error network-unclear"],
    evidence: /eth0 \(10\.77\.0\.1\), eth1 \(192\.0\.2\.1\)/,
  },
  "a firewall that goes by marks": {
    plant: beside((place) => {
      place.inManager("nft add table inet filter");
      place.inManager("nft add chain inet filter input { type filter hook input priority 0 ; }");
      place.inManager("nft add rule inet filter input udp dport 69 meta mark 5 drop");
    }),
    found: ["note firewall-unclear"],
  },
  "a clock of long ago": {
    plant: beside(() => {}),
    prefix: withFault("CLOCK_BEHIND_S=200000000"),
    found: ["error clock-wrong"],
  },
  "a clock that nobody keeps": {
    plant: beside(() => {}),
    prefix: withFault("CLOCK_UNSYNCHRONISED=1"),
    found: ["note clock-unsynchronised"],
  },
  "a disk that takes long": {
    plant: beside(() => {}),
    prefix: withFault("SYNC_MS=60"),
    found: ["warning disk-slow"],
    evidence: /takes \d{2,} ms/,
  },
  "a disk of another machine": {
    plant: beside(() => {}),
    prefix: withFault(`FILE_SYSTEM=${NFS_MAGIC}`),
    found: ["error disk-network"],
    evidence: /state is on nfs/,
  },
  "an old Node": {
    plant: beside((place) => writeFileSync(join(place.folder, "old.cjs"), OLD_NODE)),
    prefix: (place) => ["env", `NODE_OPTIONS=--require ${join(place.folder, "old.cjs")}`],
    found: ["error node-old"],
    evidence: /18\.19\.0/,
  },
  "a full disk, that of a memory": {
    plant: beside(() => {}),
    prefix: (place) => place.stateInMemory("100m"),
    found: ["error disk-full", "warning disk-volatile"],
    evidence: /100 MiB are free.*tmpfs/s,
  },
  "a small disk": {
    plant: beside(() => {}),
    prefix: (place) => place.stateInMemory("1g"),
    found: ["warning disk-small", "warning disk-volatile"],
  },
};

describe.skipIf(skipped).concurrent("bramble doctor finds", () => {
  const root = mkdtempSync(join(tmpdir(), "bramble-doctor-"));
  const places: Place[] = [];
  const faults = join(root, "faults.so");
  let image: string;

  beforeAll(() => {
    image = demoImage();
    const source = join(root, "faults.c");
    writeFileSync(source, FAULTS_OF_LIBRARY);
    execFileSync("gcc", ["-shared", "-fPIC", "-o", faults, source, "-ldl"]);
  }, 300_000);

  afterAll(async () => {
    for (const place of places) await place.remove();
    rmSync(root, { recursive: true, force: true });
  });

  const RANGE = "range: { from: 10.77.0.50, to: 10.77.0.90 }";
  const manifestOf = (interfaceName: string, network = "", range = network && RANGE) => `cluster: attic
network: { ${[interfaceName && `interface: ${interfaceName}`, network, range].filter(Boolean).join(", ")} }
image: ${JSON.stringify(image)}
nodes: [{ name: node1, mac: "dc:a6:32:00:00:01" }]
`;
  const newPlace = () => {
    const place = new Place(root);
    places.push(place);
    return place;
  };

  it.each(Object.entries(FAULTS))(
    "%s",
    async (_, { network, range, interfaceName = "eth0", plant, found, evidence, prefix }) => {
      const place = newPlace();
      await plant(place);
      const { findings, skipped, code } = await place.doctor(manifestOf(interfaceName, network, range), {
        prefix: prefix?.(place, faults) ?? [],
        found: found.join(),
      });
      expect(findings.map(({ severity, id }) => `${severity} ${id}`)).toEqual(found);
      if (evidence) expect(findings.map((each) => each.evidence).join("\n")).toMatch(evidence);
      const has = (severity: string) => found.some((each) => each.startsWith(severity));
      expect(code).toBe(has("error") ? 2 : has("warning") ? 1 : 0);
      const hasNoLan = found.some((each) => / interface-| network-unclear/.test(each));
      expect(hasNoLan || skipped.length === 0, JSON.stringify(skipped)).toBe(true);
    },
    60_000,
  );

  it("that a manager of this cluster runs, and does not call its ports taken", async ({ expect }) => {
    const place = newPlace();
    await place.router();
    const manifest = manifestOf("eth0");
    await place.keepRunning(place.manager, [process.execPath, ...place.words(manifest), "--json", "up"]);
    await expect
      .poll(async () => (await place.doctor(manifest, { options: ["--offline"] })).findings.map(({ id }) => id), {
        timeout: 30_000,
      })
      .toEqual(["manager-running"]);
  }, 60_000);

  it("that a manager of another cluster runs, which has the ports", async ({ expect }) => {
    const place = newPlace();
    await place.router();
    const manifest = manifestOf("eth0");
    const words = [...place.words(manifest).slice(0, -1), join(place.folder, "other"), "--json", "up"];
    await place.keepRunning(place.manager, [process.execPath, ...words]);
    await expect
      .poll(async () => (await place.doctor(manifest, { options: ["--offline"] })).findings.map(({ id }) => id), {
        timeout: 30_000,
      })
      .toContain("manager-elsewhere");
  }, 60_000);

  it("what it may without privileges, and says what it skipped", async () => {
    const place = newPlace();
    await place.router();
    const prefix = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    const { findings, skipped, code } = await place.doctor(manifestOf("eth0"), { prefix });
    expect(findings.map(({ severity, id }) => `${severity} ${id}`)).toEqual([
      "warning low-ports-forbidden",
      "warning raw-sockets-forbidden",
    ]);
    expect(skipped.map(({ what }) => what)).toEqual(["other DHCP servers", "spanning tree", "the firewall"]);
    expect(code).toBe(1);
  }, 60_000);
});
