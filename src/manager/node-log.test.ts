import { appendFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MemoryClock } from "../../test/memory-network.ts";
import { NodeDirectory } from "../boot/node-directory.ts";
import type { Ipv4, Mac } from "../bytes/addresses.ts";
import type { BootEvent } from "../cluster/event.ts";
import { Journal } from "./journal.ts";
import { NodeRecords } from "./node-records.ts";

const MAC = "dc:a6:32:00:00:01" as Mac;
const CLIENT = "10.77.0.20" as Ipv4;

describe("the log of a node", () => {
  let stateFolder: string;
  beforeEach(() => {
    stateFolder = mkdtempSync(join(tmpdir(), "bramble-log-"));
  });
  afterEach(() => rmSync(stateFolder, { recursive: true }));

  async function open() {
    const clock = new MemoryClock();
    const journal = new Journal(join(stateFolder, "events.ndjson"), clock);
    await journal.load();
    const directory = new NodeDirectory([{ name: "node1", mac: MAC }, { name: "node2" }]);
    const packetsOfWorker = async () => ({ packets: [], last: 0 });
    const records = new NodeRecords({ journal, directory, clock, stateFolder, ownAddresses: [], packetsOfWorker });
    const close = async () => {
      await records.close();
      await journal.close();
    };
    const say = (text: string, node?: string) => journal.record({ kind: "console-line", client: CLIENT, text }, node);
    return { journal, records, close, say };
  }
  const shown = (events: readonly BootEvent[]) =>
    events.map((event) => (event.kind === "console-line" ? event.text : event.kind));

  it("has boot packets, files and console lines of one node in one order, across a restart", async () => {
    const first = await open();
    first.journal.record({ kind: "unknown-pi", mac: MAC });
    first.journal.record({ kind: "unknown-pi", mac: "dc:a6:32:00:00:09" as Mac });
    first.journal.record({ kind: "dhcp-request", message: "DISCOVER", mac: MAC }, "node1");
    first.say("TFTP_GET start4.elf", "node1");
    first.say("not of node1", "node2");
    first.say("of nobody");
    first.journal.record({ kind: "tftp-request", path: "start4.elf", client: CLIENT }, "node1");
    await first.close();

    const second = await open();
    second.journal.record({ kind: "manager-started", version: "1" });
    second.say("[0.0] Linux", "node1");
    second.journal.record({ kind: "up", bootId: "a" }, "node2");
    second.journal.record({ kind: "mount", tree: "root", client: CLIENT }, "node1");
    expect(shown(await second.records.log("node1"))).toEqual([
      "unknown-pi",
      "dhcp-request",
      "TFTP_GET start4.elf",
      "tftp-request",
      "manager-started",
      "[0.0] Linux",
      "mount",
    ]);
    await second.close();
  });

  it("keeps console lines out of the journal, where they would push out what boots are told by", async () => {
    const { journal, say, close } = await open();
    for (let line = 0; line < 30_000; line++) say(`line ${line}`, "node1");
    journal.record({ kind: "up", bootId: "a" }, "node1");
    await close();
    expect(journal.events.map(({ kind }) => kind)).toEqual(["up"]);
    // One in 10,000 tells the next run how far this one has counted.
    const lines = readFileSync(join(stateFolder, "events.ndjson"), "utf8").trim().split("\n");
    expect(lines.length).toBe(4);
    const next = await open();
    expect(next.journal.events.map(({ kind }) => kind)).toEqual(["up"]);
    expect(next.say("of the next run").sequence).toBeGreaterThan(30_001);
    await next.close();
  });

  it("loses only the line that a power cut left short", async () => {
    const first = await open();
    first.say("one", "node1");
    await first.close();
    appendFileSync(join(stateFolder, "console.ndjson"), '{"kind":"console-li');
    const second = await open();
    second.say("two", "node1");
    expect(shown(await second.records.log("node1"))).toEqual(["one", "two"]);
    await second.close();
  });

  it("follows without a gap and without a line twice", async () => {
    const { say, records, close } = await open();
    say("kept", "node1");
    const heard: BootEvent[] = [];
    const following = records.followLog("node1", (event) => heard.push(event));
    say("while the file is read", "node1");
    const stop = await following;
    say("live", "node1");
    say("another's", "node2");
    expect(shown(heard)).toEqual(["kept", "while the file is read", "live"]);
    stop();
    say("after the end", "node1");
    expect(heard).toHaveLength(3);
    await close();
  });

  it("refuses a node that there is not", async () => {
    const { records, close } = await open();
    await expect(records.log("nobody")).rejects.toThrow("Cannot show the log of nobody: the manifest has no node");
    expect(() => records.capture("nobody", false)).toThrow("Cannot show the packets of nobody");
    await close();
  });
});
