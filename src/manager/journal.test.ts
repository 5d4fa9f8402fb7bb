import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MemoryClock } from "../../test/memory-network.ts";
import { Journal } from "./journal.ts";

describe("the journal", () => {
  let folder: string;
  let path: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-journal-"));
    path = join(folder, "events.ndjson");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  async function open(): Promise<Journal> {
    const journal = new Journal(path, new MemoryClock());
    await journal.load();
    return journal;
  }

  it("gives what it kept back after a restart, and leaves out what is only worth showing live", async () => {
    const first = await open();
    first.record({ kind: "up", bootId: "a" }, "node1");
    first.record({ kind: "root-activity", operations: 1, readBytes: 0, writtenBytes: 0, failures: 0 }, "node1");
    first.record({ kind: "shutdown-seen" }, "node1");
    await first.close();
    expect((await open()).events.map(({ kind, node }) => `${node} ${kind}`)).toEqual([
      "node1 up",
      "node1 shutdown-seen",
    ]);
  });

  it("gives no number twice, though a killed run told numbers that it did not write", async () => {
    const killed = await open();
    killed.record({ kind: "manager-started", version: "1" });
    await killed.flush();
    let lastTold = 0;
    killed.listen(({ sequence }) => {
      lastTold = sequence;
    });
    // More than the file holds a line for, as over a long quiet night.
    for (let count = 0; count < 35_000; count++) {
      killed.record({ kind: "root-activity", operations: 1, readBytes: 0, writtenBytes: 0, failures: 0 }, "node1");
    }
    await killed.flush();
    killed.record({ kind: "up", bootId: "not written" }, "node1");

    const next = await open();
    expect(next.events.map(({ kind }) => kind)).not.toContain("up");
    expect(next.record({ kind: "manager-started", version: "1" }).sequence).toBeGreaterThan(lastTold);
  });

  it("loses nothing after a line that a kill cut short", async () => {
    const first = await open();
    first.record({ kind: "up", bootId: "a" }, "node1");
    await first.close();
    appendFileSync(path, '{"kind":"up","seq');
    const second = await open();
    second.record({ kind: "up", bootId: "b" }, "node1");
    await second.close();
    expect((await open()).events.map((event) => (event.kind === "up" ? event.bootId : event.kind))).toEqual(["a", "b"]);
  });
});
