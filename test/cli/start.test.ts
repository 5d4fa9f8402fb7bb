/** What keeps `bramble up` from starting, as a person sees it: in a network of its own, with real ports. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync } from "node:fs";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { acceptedBody, encodeRecord } from "../../src/nfs/test-client.ts";
import { enterNetworkNamespace } from "../lab/network-namespace.ts";
import { requireRoot, requireTools } from "../lab/required-tools.ts";
import { Workplace } from "./command-line.ts";
import { makeSmallImage, SMALL_IMAGE_COMMANDS } from "./small-image.ts";

const work = new Workplace();
const ADDRESS = "10.5.0.1";

interface Settings {
  network?: string;
  stateDir?: string;
  dhcp?: string;
}

function writeManifest({ network = "interface: lan0", stateDir = "state", dhcp = "proxy" }: Settings = {}): void {
  work.write(
    "bramble.yaml",
    [
      "cluster: attic",
      `network: { ${network}, dhcp: ${dhcp} }`,
      "image: good.img",
      `stateDir: ${stateDir}`,
      'nodes: [{ name: node1, mac: "dc:a6:32:00:00:01" }]',
      "",
    ].join("\n"),
  );
}

/** A program that has a port, until it is killed. */
async function holdPort(protocol: "udp" | "tcp", port: number): Promise<ChildProcess> {
  const code =
    protocol === "udp"
      ? `require("dgram").createSocket("udp4").bind(${port}, () => console.log("ready"))`
      : `require("net").createServer().listen(${port}, () => console.log("ready"))`;
  const child = spawn(process.execPath, ["-e", code], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout!, "data");
  return child;
}

const TOOLS = [...SMALL_IMAGE_COMMANDS, "flock", "ip", "setpriv"];

describe.skipIf(requireRoot() || requireTools(TOOLS))("bramble up", () => {
  beforeAll(() => {
    enterNetworkNamespace();
    for (const command of [
      "link set lo up",
      "link add lan0 type bridge",
      "link add lan1 type bridge",
      `addr add ${ADDRESS}/24 dev lan0`,
      "link set lan0 up",
    ]) {
      execFileSync("ip", command.split(" "));
    }
    makeSmallImage(work.path("good.img"));
  });
  afterAll(() => work.remove());

  it.each([
    { protocol: "udp", port: 67, where: "UDP port 67 on lan0" },
    { protocol: "udp", port: 69, where: "UDP port 69 on lan0" },
    { protocol: "tcp", port: 2049, where: `TCP port 2049 of ${ADDRESS}` },
  ] as const)("names the program that has $where", async ({ protocol, port, where }) => {
    writeManifest();
    const owner = await holdPort(protocol, port);
    try {
      const { code, stderr } = await work.bramble(["up"]);
      expect(stderr).toBe(
        `bramble: Cannot use ${where}: node (process ${owner.pid}) has it; stop that, or choose another port\n`,
      );
      expect(code).toBe(1);
    } finally {
      owner.kill();
    }
  });

  it("starts without the port mapper's port, and warns who has it", async () => {
    writeManifest();
    const owner = await holdPort("tcp", 111);
    try {
      const manager = work.start(["up"]);
      await manager.waitFor(/serving 1 node on lan0 10\.5\.0\.1, DHCP proxy/);
      await manager.waitFor(
        new RegExp(`warning: Cannot use TCP port 111 of ${ADDRESS}: node \\(process ${owner.pid}\\) has it`),
      );
      expect((await manager.stop()).code).toBe(0);
    } finally {
      owner.kill();
    }
  });

  it.each([
    {
      who: "the NFS server",
      network: "interface: lan0, ports: { nfs: 204, mount: 20048 }",
      where: `TCP port 204 of ${ADDRESS}`,
    },
    {
      who: "TFTP",
      network: "interface: lan0, ports: { nfs: 21049, mount: 21048, portmap: 0 }",
      where: "UDP port 69 on lan0",
    },
  ])("names the capability that an ordinary user lacks for $who", async ({ network, where }) => {
    writeManifest({ network, stateDir: "nobody-state" });
    const { code, stderr } = await work.bramble(["up"], { asNobody: true });
    expect(stderr).toBe(
      `bramble: Cannot use ${where}: ports below 1024 need the capability CAP_NET_BIND_SERVICE; ` +
        `run as root, or: sudo setcap cap_net_bind_service,cap_net_raw+ep ${process.execPath}\n`,
    );
    expect(code).toBe(1);
  });

  const present = `lo (127.0.0.1), lan0 (${ADDRESS})`;
  it.each([
    {
      what: "an interface that does not exist",
      network: "interface: eth9",
      message: `Cannot use network interface "eth9": it does not exist; set network.interface in the manifest. Interfaces with an address: ${present}`,
    },
    {
      what: "an interface without an address",
      network: "interface: lan1",
      message: `Cannot use network interface "lan1": it has no IPv4 address; give it one. Interfaces with an address: ${present}`,
    },
    {
      what: "an address that no interface has",
      network: "address: 10.9.8.7",
      message: `Cannot serve on 10.9.8.7: no interface has that address; there are ${present}`,
    },
    {
      what: "a state folder whose socket would have too long a path",
      stateDir: "s".repeat(100),
      message: () =>
        `Cannot keep the manager's socket in ${work.path("s".repeat(100))}: its path would have ` +
        `${work.path("s".repeat(100)).length + "/manager.sock".length} bytes, and Linux takes 107; ` +
        "set stateDir in the manifest, or --state, to a folder with a shorter path",
    },
    {
      what: "a state folder where nothing can be made",
      stateDir: "/proc/bramble",
      message:
        "Cannot keep state in /proc/bramble: no folder can be made there; set stateDir in the manifest, or --state, to another folder",
    },
    {
      what: "a state folder that is a file",
      stateDir: "good.img",
      message: () =>
        `Cannot keep state in ${work.path("good.img")}: it is not a folder; set stateDir in the manifest, or --state, to another folder`,
    },
  ])("refuses $what", async ({ message, ...settings }) => {
    writeManifest(settings);
    expect(await work.bramble(["up"])).toEqual({
      code: 1,
      stdout: "",
      stderr: `bramble: ${typeof message === "function" ? message() : message}\n`,
    });
  });

  it("refuses a state folder that it may not write to", async () => {
    mkdirSync(work.path("roots-own"));
    chmodSync(work.path("roots-own"), 0o755);
    writeManifest({ stateDir: "roots-own" });
    const { code, stderr } = await work.bramble(["up"], { asNobody: true });
    expect(stderr).toBe(
      `bramble: Cannot keep state in ${work.path("roots-own")}: this user may not write there; ` +
        "set stateDir in the manifest, or --state, to another folder\n",
    );
    expect(code).toBe(1);
  });

  it("takes a connection before it can serve, and answers by it then", async () => {
    writeManifest({ stateDir: "early" });
    mkdirSync(work.path("early"));
    // As a worker of an earlier manager that has not ended yet.
    const holder = spawn("flock", [work.path("early/workers.lock"), "sh", "-c", "echo held; read line"], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    await once(holder.stdout!, "data");
    const manager = work.start(["up"]);
    await manager.waitFor(/manager \S+ started/);
    const socket = connect(2049, ADDRESS);
    await once(socket, "connect");
    const answered = once(socket, "data");
    socket.write(encodeRecord(0, () => {}));
    await new Promise((done) => setTimeout(done, 200));
    expect(manager.stderr).not.toContain("serving");
    holder.stdin!.end("go on\n");
    const [reply] = await answered;
    expect(acceptedBody((reply as Buffer).subarray(4)).remainingBytes).toBe(0);
    socket.destroy();
    expect((await manager.stop()).code).toBe(0);
  });

  it("runs only once in a state folder, and the second leaves no trace in the first one's journal", async () => {
    writeManifest({ stateDir: "once" });
    const first = work.start(["up"]);
    await first.waitFor(/serving/);
    const { code, stderr } = await work.bramble(["up"]);
    expect(stderr).toBe(
      `bramble: Cannot start: a manager already runs on ${work.path("once/manager.sock")}; ` +
        "use it, stop it, or set another stateDir\n",
    );
    expect(code).toBe(1);
    expect((await first.stop()).code).toBe(0);
    expect(work.read("once/events.ndjson").match(/"manager-stopping"/g)).toHaveLength(1);
  });
});
