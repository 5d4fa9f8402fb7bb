/** `bramble report` beside a running manager and without one: what is in it, and that no secret is. */
import { execFileSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BootPlanJson } from "../../src/cluster/plan-json.ts";
import { requireTools } from "../lab/required-tools.ts";
import { CLUSTER_TOOLS, LoopbackCluster } from "./loopback-cluster.ts";

/** Everything that the manifest has of a secret kind. */
const MANIFEST_SECRETS = {
  hash: "$6$saltsalt$Qm9vbVN0aWNrL1NlY3JldEhhc2g.0123456789abcdefghij",
  key: "AAAAC3NzaC1lZDI1NTE5AAAAIJcWlOzEYyoShmNMfEYYVQ0pXkLD9pPHyVMa9nQn8RsE",
  wireless: "attic wireless pass phrase",
  token: "node1 join word 4711",
  comment: "swordfish-in-a-comment",
};
const { hash, key, wireless, token, comment } = MANIFEST_SECRETS;

const cluster = new LoopbackCluster([
  `{ name: node1, mac: "dc:a6:32:00:00:01", address: 127.0.0.11, files: [{ path: /etc/join, content: "${token}" }] }`,
  '{ name: node2, mac: "dc:a6:32:00:00:02" }',
]);
const { work } = cluster;

/** Every text in the files of the state folder's secrets, and what the manifest has. */
function allSecrets(): string[] {
  const files = execFileSync("find", [work.path("state/secrets"), "-type", "f"], { encoding: "utf8" })
    .trim()
    .split("\n");
  const texts = files.flatMap((path) => {
    const text = readFileSync(path, "utf8");
    return path.endsWith(".json") ? textsIn(JSON.parse(text)) : [text];
  });
  const lines = texts.flatMap((text) => text.split("\n")).filter((line) => line.length >= 12 && !/^-----/.test(line));
  return [...Object.values(MANIFEST_SECRETS), ...lines];
}

function textsIn(value: unknown): string[] {
  if (typeof value === "string") return [value];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(textsIn) : [];
}

describe.skipIf(requireTools([...CLUSTER_TOOLS, "curl", "tar", "tcpdump"]))("bramble report", () => {
  beforeAll(() =>
    cluster.start({
      cluster: [
        `# ${comment}`,
        `access: { user: pi, passwordHash: "${hash}", authorizedKeys: ["ssh-ed25519 ${key} me@home"] }`,
        `files: [{ path: /etc/wireless.conf, content: "${wireless}" }]`,
      ],
    }),
  );
  afterAll(() => cluster.remove());

  /** Makes a report and unpacks it; its files by name. */
  async function report(name: string): Promise<{ stdout: string; files: Map<string, Buffer> }> {
    const { stdout, stderr, code } = await cluster.ask("report", "node1", "--output", name);
    expect([stderr, code]).toEqual(["", 0]);
    const folder = work.path(`unpacked-${name}`);
    mkdirSync(folder);
    execFileSync("tar", ["-xf", work.path(name), "-C", folder]);
    expect(readdirSync(folder)).toEqual(["bramble-report-node1"]);
    const inside = join(folder, "bramble-report-node1");
    return { stdout, files: new Map(readdirSync(inside).map((file) => [file, readFileSync(join(inside, file))])) };
  }

  it("has what is known of a node, and no secret of the manifest or the state folder", async () => {
    const url = `tftp://127.0.0.1:${cluster.port("tftp")}/cmdline.txt`;
    execFileSync("curl", ["-sS", "--max-time", "20", "--interface", "127.0.0.11", url]);
    const secrets = allSecrets();
    expect(secrets.length).toBeGreaterThan(8);
    // Nobody can know what a comment has meant once it is out of the manifest.
    const printed = secrets.filter((secret) => secret !== comment);
    for (const secret of printed) await print(`[  1.0] ${secret}\n`);
    await print("[  2.0] supplicant: psk=hunter2hunter2 up\n");
    await new Promise((done) => setTimeout(done, 800));

    const { stdout, files } = await report("report.tar.gz");
    expect([...files.keys()].sort()).toEqual([
      "README.txt",
      "activity.json",
      "capture.pcap",
      "capture.txt",
      "events.ndjson",
      "explanation.json",
      "explanation.txt",
      "log.txt",
      "manifest.yaml",
      "plan.json",
      "status.json",
      "versions.json",
    ]);
    for (const [name, content] of files) {
      const found = [...secrets, "hunter2hunter2"].filter((secret) => content.includes(secret));
      expect([name, found]).toEqual([name, []]);
    }
    const text = (name: string) => files.get(name)!.toString();
    expect(text("log.txt").split("cons  [  1.0] [redacted]").length - 1).toBeGreaterThan(printed.length - 2);
    expect(text("log.txt")).toContain("psk=[redacted] up\n");
    expect(text("log.txt")).toMatch(/tftp {2}cmdline\.txt {2}\d+ B in/);
    expect(text("explanation.txt")).toMatch(/^node1: .*\n(Seen {6}.*\n)+Cause {5}/);
    expect(text("capture.txt")).toContain('TFTP read "cmdline.txt" octet');
    expect(text("manifest.yaml")).toContain('passwordHash: "[redacted]"');
    expect(JSON.parse(text("status.json"))).toMatchObject({ cluster: "attic", nodes: [{ name: "node1" }] });
    const plan = JSON.parse(text("plan.json")) as BootPlanJson;
    const contentOf = (path: string) => plan.files.find((file) => file.path === path)?.text;
    expect(contentOf("/cmdline.txt") ?? contentOf("cmdline.txt")).toContain("nfsroot=");
    expect(contentOf("/etc/wireless.conf")).toBe("[redacted]");
    expect(JSON.parse(text("versions.json"))).toMatchObject({ node: process.version });
    for (const line of text("events.ndjson").trim().split("\n")) expect(JSON.parse(line)).toHaveProperty("sequence");
    expect(stdout).toContain("look through it before you publish it");
    const packets = execFileSync("tcpdump", ["-r", "-", "-n"], {
      input: files.get("capture.pcap")!,
      stdio: ["pipe", "pipe", "ignore"],
    });
    expect(packets.toString()).toMatch(/RRQ|UDP/);
  });

  it("is refused for a node that there is not", async () => {
    expect(await cluster.ask("report", "node7")).toEqual({
      code: 1,
      stdout: "",
      stderr: "bramble: Cannot report on node7: the manifest has no node of that name\n",
    });
    expect((await cluster.ask("report", "node1", "--output", "no/such/folder.tar")).stderr).toMatch(
      /^bramble: Cannot write the report no\/such\/folder\.tar: /,
    );
  });

  it("has what is left on disk when no manager runs, and says what is missing", async () => {
    const secrets = allSecrets();
    await cluster.manager.stop();
    const { stdout, files } = await report("later.tar");
    expect(stdout).toContain("missing: status, plan, activity and packets. Cannot reach the manager");
    expect(files.get("explanation.txt")!.toString()).toContain("cause");
    expect(files.get("README.txt")!.toString()).toContain("Missing:\n- status, plan");
    expect(files.get("log.txt")!.toString()).toMatch(/tftp {2}cmdline\.txt {2}\d+ B[\s\S]*manager stops/);
    expect(files.get("log.txt")!.toString()).toContain("cons  [  2.0] supplicant");
    for (const [name, content] of files) {
      expect([name, secrets.filter((secret) => content.includes(secret))]).toEqual([name, []]);
    }
  });

  async function print(text: string): Promise<void> {
    const socket = createSocket("udp4");
    await new Promise<void>((done) => socket.bind(0, "127.0.0.11", done));
    await new Promise((done) => socket.send(text, cluster.port("netconsole"), "127.0.0.1", done));
    socket.close();
  }
});
