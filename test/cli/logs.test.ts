/** `bramble logs` and `bramble capture` beside a running manager, with a real TFTP client and lines sent as netconsole does. */
import { execFileSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BootEvent } from "../../src/cluster/event.ts";
import { requireTools } from "../lab/required-tools.ts";
import { CLUSTER_TOOLS, LoopbackCluster } from "./loopback-cluster.ts";

const cluster = new LoopbackCluster([
  '{ name: node1, mac: "dc:a6:32:00:00:01", serial: "10000001", address: 127.0.0.11 }',
  '{ name: node2, mac: "dc:a6:32:00:00:02", address: 127.0.0.12 }',
]);
const { work } = cluster;

describe.skipIf(requireTools([...CLUSTER_TOOLS, "curl", "tcpdump"]))("what is kept of a node", () => {
  beforeAll(() => cluster.start());
  afterAll(() => cluster.remove());

  const ask = (...words: string[]) => cluster.ask(...words);

  const fetchConfig = () => {
    const url = `tftp://127.0.0.1:${cluster.port("tftp")}/config.txt`;
    execFileSync("curl", ["-sS", "--max-time", "20", "--interface", "127.0.0.11", url]);
  };

  /** Sends text from a node's address to the port of netconsole. */
  async function print(text: string, address = "127.0.0.11"): Promise<void> {
    const socket = createSocket("udp4");
    await new Promise<void>((done) => socket.bind(0, address, done));
    await new Promise((done) => socket.send(text, cluster.port("netconsole"), "127.0.0.1", done));
    socket.close();
  }

  async function logUntil(pattern: RegExp): Promise<string> {
    for (let attempt = 0; ; attempt++) {
      const { stdout } = await ask("logs", "node1");
      if (pattern.test(stdout)) return stdout;
      if (attempt === 20) throw new Error(`The log has no ${pattern}:\n${stdout}`);
    }
  }

  it("is shown as one log: files, and the lines that it printed", async () => {
    fetchConfig();
    // The last acknowledgement may still be on its way when curl is done.
    await logUntil(/ B in /);
    await print("[    0.000000] Booting Linux on physical CPU 0x0\n[    0.1] caf\xe9\x07\n");
    await print("not of node1\n", "127.0.0.12");
    const log = await logUntil(/caf/);
    const lines = log.split("\n");
    expect(lines[0]).toMatch(/^\d{4}-\d\d-\d\d UTC$/);
    const shown = lines.slice(1).map((line) => line.slice(14).trim());
    expect(shown.filter((line) => !line.includes("warning: "))).toEqual([
      "-           manager 0.1.0 started",
      "node1       tftp  asks for config.txt in blocks of 512",
      expect.stringMatching(/^node1 {7}tftp {2}config\.txt {2}\d+ B in \d+ ms$/),
      "node1       cons  [    0.000000] Booting Linux on physical CPU 0x0",
      // UTF-8 of what was sent, byte by byte.
      "node1       cons  [    0.1] caf\\xc3\\xa9\\x07",
      "",
    ]);
  });

  it("is the same log after a restart, and goes on", async () => {
    await cluster.restartManager();
    const following = cluster.run("logs", "node1", "--follow", "--json");
    await following.waitFor(/"manager-started".*\n[\s\S]*"manager-started"/);
    await print("printed later\n");
    await following.waitFor(/printed later/);
    const { stdout } = await following.stop();
    const events = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as BootEvent);
    const isOfPlan = ({ kind }: BootEvent) => kind === "planned" || kind === "warning";
    expect(events.filter((event) => !isOfPlan(event)).map(({ kind }) => kind)).toEqual([
      "manager-started",
      "tftp-request",
      "tftp-complete",
      "console-line",
      "console-line",
      "manager-stopping",
      "manager-started",
      "console-line",
    ]);
    const last = await ask("logs", "node1", "--lines", "1");
    expect(last.stdout).toMatch(/^\S+ UTC\n\S+ {2}node1 {7}cons {2}printed later\n$/);
  });

  it("is shown as packets, which tcpdump reads too", async () => {
    fetchConfig();
    const { stdout } = await ask("capture", "node1");
    expect(stdout).toMatch(
      /-> {2}127\.0\.0\.11:\d+ > 127\.0\.0\.1:\d+ {2}TFTP read "config\.txt" octet tsize=0 blksize=512/,
    );
    expect(stdout).toMatch(/<- {2}\S+ > \S+ {2}TFTP data block 1, \d+ bytes\n/);
    expect(stdout).toMatch(/-> {2}\S+ > \S+ {2}TFTP acknowledge block \d+\n/);
    expect(stdout).toMatch(/console printed later\n/);
    expect((await ask("capture", "node1", "--output", "node1.pcap")).stderr).toMatch(/^\d+ packets in node1\.pcap\n$/);
    const read = execFileSync("tcpdump", ["-r", work.path("node1.pcap"), "-n"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    expect(read.trim().split("\n")).toHaveLength(stdout.trim().split("\n").length);
    expect((await ask("capture", "node2")).stdout).toBe("");
  });

  it("is shown as packets while they come", async () => {
    const following = cluster.run("capture", "node2", "--follow");
    await print("now\n", "127.0.0.12");
    await following.waitFor(/-> {2}127\.0\.0\.12:\d+ > 127\.0\.0\.1:\d+ {2}console now\n/);
    await following.stop();
  });

  it("is refused for a node that there is not, and nothing is written then", async () => {
    expect((await ask("logs", "node7")).stderr).toBe(
      "bramble: Cannot show the log of node7: the manifest has no node of that name\n",
    );
    expect(await ask("capture", "node7", "--output", "none.pcap")).toEqual({
      code: 1,
      stdout: "",
      stderr: "bramble: Cannot show the packets of node7: the manifest has no node of that name\n",
    });
    expect(() => work.read("none.pcap")).toThrow();
    expect((await ask("capture", "node1", "--output", "no/such/folder.pcap")).stderr).toMatch(
      /^bramble: Cannot write the capture no\/such\/folder\.pcap: ENOENT/,
    );
    expect(await ask("logs", "node1", "--lines", "many")).toMatchObject({ code: 2 });
  });

  it("can be read while no manager runs", async () => {
    await cluster.manager.stop();
    const { stdout, stderr, code } = await ask("logs", "node1", "--lines", "2");
    expect(stdout).toMatch(/^\S+ UTC\n.*\n.*manager stops\n$/);
    expect([stderr, code]).toEqual(["No manager runs: this is what the last one left\n", 0]);
    expect((await ask("logs", "node7")).stderr).toMatch(/^bramble: Cannot reach the manager: none listens/);
    expect((await ask("logs", "node1", "--follow")).stderr).toMatch(/^bramble: Cannot reach the manager: none listens/);
  });
});
