/** Why a node does not get on, asked of a running manager: a boot loader whose prefix lacks its slash asks for a file. */
import { createSocket } from "node:dgram";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Explanation } from "../../src/cluster/diagnosis/explanation.ts";
import type { BootEvent } from "../../src/cluster/event.ts";
import { encodePacket } from "../../src/tftp/packet.ts";
import { requireTools } from "../lab/required-tools.ts";
import { CLUSTER_TOOLS, LoopbackCluster } from "./loopback-cluster.ts";

const cluster = new LoopbackCluster([
  '{ name: node1, mac: "dc:a6:32:00:00:01", address: 127.0.0.1, model: "4" }',
  '{ name: node2, mac: "dc:a6:32:00:00:02", address: 127.0.0.2 }',
]);
/** What is promised: ten seconds. */
const NAMED_MS = 10_000;

async function askForFile(path: string): Promise<void> {
  const socket = createSocket("udp4");
  const bytes = encodePacket({ kind: "readRequest", path, mode: "octet", options: new Map() });
  await new Promise<void>((done, fail) =>
    socket.send(bytes, cluster.port("tftp"), "127.0.0.1", (error) => (error ? fail(error) : done())),
  );
  await new Promise((done) => socket.once("message", done));
  socket.close();
}

describe.skipIf(requireTools(CLUSTER_TOOLS))("bramble explain", () => {
  beforeAll(() => cluster.start());
  afterAll(() => cluster.remove());

  const ask = (...words: string[]) => cluster.ask(...words);

  it("says of a node that was never heard of what its model must be told once", async () => {
    const { stdout } = await ask("explain", "node1");
    expect(stdout).toContain("Cause     none");
    expect(stdout).toContain("BOOT_ORDER=0xf21");
  });

  it("names the cause within ten seconds, in the feed, in status and in itself", async () => {
    const watch = cluster.run("watch", "--json");
    await watch.waitFor(/"kind":"manifest-loaded"/);
    await askForFile("rack1start4.elf");
    await watch.waitFor(/"kind":"diagnosis"[^\n]*\n/);
    const events = watch.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as BootEvent);
    const asked = events.find(({ kind }) => kind === "tftp-missing")!;
    const told = events.find(({ kind }) => kind === "diagnosis")!;
    expect(told).toMatchObject({ node: "node1", cause: "prefix-without-slash" });
    expect(told.unixMs - asked.unixMs).toBeLessThanOrEqual(NAMED_MS);
    await watch.stop();

    const [{ stdout: status }, { stdout: json }, { stdout: text }] = await Promise.all([
      ask("status"),
      ask("explain", "node1", "--json"),
      ask("explain", "node1"),
    ]);
    expect(status).toMatch(/node1: .* \(prefix-without-slash\): it asked for rack1start4\.elf/);
    const explanation = JSON.parse(json) as Explanation;
    expect(explanation).toMatchObject({ node: "node1", diagnosis: { cause: "prefix-without-slash" } });
    expect(explanation.seen).toContain("This boot: not there: rack1start4.elf");
    expect(text).toMatch(/^Remedy {4}Add \/ to the end of TFTP_PREFIX_STR/m);
  });

  it("knows no other node", async () => {
    const { code, stderr } = await ask("explain", "nobody");
    expect([code, stderr]).toEqual([1, "bramble: Cannot explain nobody: the manifest has no node of that name\n"]);
  });
});
