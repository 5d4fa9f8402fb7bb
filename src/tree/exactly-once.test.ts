/**
 * Calls that a client repeats because the manager was killed after it had done them and before it had answered: they
 * are answered as done, and are not done again. NFS calls over a tree, and a store that outlives both.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DONE_CALLS_PER_LAYER_MAX } from "../limits.ts";
import { NFS_PROCEDURES } from "../nfs/procedures/table.ts";
import {
  type Bench,
  createBench,
  decodeReply,
  encodeRecord,
  MemoryConnection,
  newAttributes,
} from "../nfs/test-client.ts";
import type { Encode } from "../nfs/xdr.ts";
import { name, openTree, Storage } from "./tree-fixture.ts";
import { everything } from "./volume-comparison.ts";

/** A manager with its tree; `restart` is what a kill leaves: the store, and nothing that was in memory. */
async function startManager(storage = new Storage()) {
  const { tree, trees } = await openTree({ storage });
  const bench = createBench({ volume: tree });
  const send = async (record: Uint8Array): Promise<string> => {
    const connection = new MemoryConnection();
    bench.service.serveConnection(connection);
    connection.arrive(record);
    for (;;) {
      const [reply] = connection.takeReplies();
      if (reply !== undefined) return answerOf(reply, NFS_PROCEDURES[record[27]!]!.name);
      await new Promise((done) => setImmediate(done));
    }
  };
  return { storage, tree, trees, bench, send, restart: () => startManager(storage) };
}

const MAKERS = ["CREATE", "MKDIR", "SYMLINK", "MKNOD"];

/** Status, and the handle of what was made: what a client acts on. */
function answerOf(reply: Uint8Array, procedure: string): string {
  const { status, body } = decodeReply(reply);
  if (status !== "NFS3_OK" || !MAKERS.includes(procedure)) return status;
  body.bool("handle follows");
  return `${status} ${Buffer.from(body.opaque(64, "handle")).toString("hex")}`;
}

const GUARDED = 1;
const NAMES = ["a", "b", "c"];

type Operation = { procedure: string; first: string; second: string };

function argumentsOf({ procedure, first, second }: Operation, root: Uint8Array, fileHandle: Uint8Array): Encode {
  const place: Encode = (args) => args.opaque(root).name(name(first));
  const rest: Record<string, Encode> = {
    CREATE: (args) => newAttributes(0o644)(args.u32(GUARDED)),
    MKDIR: newAttributes(0o755),
    SYMLINK: (args) => {
      newAttributes()(args);
      args.opaque(Buffer.from("target"));
    },
    MKNOD: (args) => newAttributes(0o600)(args.u32(7)),
    RENAME: (args) => args.opaque(root).name(name(second)),
  };
  if (procedure === "LINK") return (args) => args.opaque(fileHandle).opaque(root).name(name(first));
  return (args) => {
    place(args);
    rest[procedure]?.(args);
  };
}

const numberOf = (procedure: string) => NFS_PROCEDURES.findIndex((each) => each.name === procedure);

/** The handle of /etc/hostname, a file of the image. */
function imageFile(bench: Bench): Uint8Array {
  const lookup = (directory: Uint8Array, entry: string) =>
    bench
      .nfs("LOOKUP", (args) => args.opaque(directory).name(name(entry)))
      .body.opaque(64, "handle")
      .slice();
  return lookup(lookup(bench.root, "etc"), "hostname");
}

describe("a call repeated after the manager was killed", () => {
  const operation = fc.record({
    procedure: fc.constantFrom("CREATE", "MKDIR", "SYMLINK", "MKNOD", "REMOVE", "RMDIR", "RENAME", "LINK"),
    first: fc.constantFrom(...NAMES),
    second: fc.constantFrom(...NAMES),
  });

  it("is answered as the first time, and changes nothing", async () => {
    let repeated = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(operation, { minLength: 1, maxLength: 12 }),
        fc.infiniteStream(fc.boolean()),
        async (operations, kills) => {
          let manager = await startManager();
          const file = imageFile(manager.bench);
          for (const [index, each] of operations.entries()) {
            const args = argumentsOf(each, manager.bench.root, file);
            const record = encodeRecord(numberOf(each.procedure), args, { xid: 1000 + index });
            const first = await manager.send(record);
            // What failed changed nothing, and has no record.
            if (!first.startsWith("NFS3_OK") || !kills.next().value) continue;
            const before = await everything(manager.tree);
            manager = await manager.restart();
            expect(await manager.send(record)).toBe(first);
            expect(await manager.send(record)).toBe(first);
            expect(await everything(manager.tree)).toEqual(before);
            repeated++;
          }
        },
      ),
      { numRuns: 60 },
    );
    expect(repeated).toBeGreaterThan(40);
    // Hundreds of starts: 2 s alone.
  }, 60_000);

  it.each(["other arguments", "another xid", "another user"])("is not taken for one with %s", async (what) => {
    const manager = await startManager();
    const remove = (entry: string, xid: number, uid = 0) =>
      encodeRecord(numberOf("REMOVE"), (args) => args.opaque(manager.bench.root).name(name(entry)), { xid, uid });
    const create: Operation = { procedure: "CREATE", first: "a", second: "" };
    await manager.send(encodeRecord(numberOf("CREATE"), argumentsOf(create, manager.bench.root, new Uint8Array())));
    expect(await manager.send(remove("a", 5))).toBe("NFS3_OK");
    const again = await manager.restart();
    const others = {
      "other arguments": remove("b", 5),
      "another xid": remove("a", 6),
      "another user": remove("a", 5, 9),
    };
    expect(await again.send(others[what as keyof typeof others])).not.toBe("NFS3_OK");
    expect(await again.send(remove("a", 5))).toBe("NFS3_OK");
  });

  it("is known among the last ones, and no longer when many have come after it", async () => {
    const manager = await startManager();
    const make = (entry: string, xid: number) => {
      const each = { procedure: "MKDIR", first: entry, second: "" };
      return encodeRecord(numberOf("MKDIR"), argumentsOf(each, manager.bench.root, new Uint8Array()), { xid });
    };
    for (let index = 0; index <= DONE_CALLS_PER_LAYER_MAX; index++) await manager.send(make(`d${index}`, index));
    const again = await manager.restart();
    expect(await again.send(make("d0", 0))).toBe("NFS3ERR_EXIST");
    expect(await again.send(make("d1", 1))).toMatch(/^NFS3_OK /);
    // The ring goes on where it was.
    await again.send(make("later", 9999));
    const third = await again.restart();
    expect(await third.send(make("d1", 1))).toBe("NFS3ERR_EXIST");
    expect(await third.send(make("d2", 2))).toMatch(/^NFS3_OK /);
    expect(await third.send(make("later", 9999))).toMatch(/^NFS3_OK /);
  });

  it("is known over snapshots, and the ring goes on where it was", async () => {
    let manager = await startManager();
    const { root } = manager.bench;
    const make = (entry: string, xid: number) =>
      encodeRecord(
        numberOf("MKDIR"),
        argumentsOf({ procedure: "MKDIR", first: entry, second: "" }, root, new Uint8Array()),
        { xid },
      );
    const snapshot = (snapshotName: string) =>
      manager.trees.changeStructure(["node1"], (catalog) => catalog.snapshot("node1", snapshotName));
    for (let index = 0; index < DONE_CALLS_PER_LAYER_MAX; index++) await manager.send(make(`d${index}`, index));
    await snapshot("a");
    manager = await manager.restart();
    expect(await manager.send(make("d0", 0))).toMatch(/^NFS3_OK /);
    await manager.send(make("x", 1000));
    await snapshot("b");
    await manager.send(make("y", 1001));
    await snapshot("c");
    manager = await manager.restart();
    const answers = [make("d1", 1), make("d2", 2), make("x", 1000), make("y", 1001)].map((call) => manager.send(call));
    const known = expect.stringMatching(/^NFS3_OK /);
    expect(await Promise.all(answers)).toEqual(["NFS3ERR_EXIST", known, known, known]);
  });

  it("with a guard is not refused for the time that it changed itself", async () => {
    const manager = await startManager();
    const file = imageFile(manager.bench);
    const { ctimeNs } = manager.tree.getattr(manager.tree.lookupPath("/etc/hostname")!);
    const guarded = encodeRecord(
      numberOf("SETATTR"),
      (args) => {
        newAttributes(0o600)(args.opaque(file));
        args
          .bool(true)
          .u32(Number(ctimeNs / 1_000_000_000n))
          .u32(Number(ctimeNs % 1_000_000_000n));
      },
      { xid: 3 },
    );
    expect(await manager.send(guarded)).toBe("NFS3_OK");
    const again = await manager.restart();
    expect(await again.send(guarded)).toBe("NFS3_OK");
  });

  it("is nothing to a node that was reset", async () => {
    const manager = await startManager();
    const create: Operation = { procedure: "CREATE", first: "a", second: "" };
    const record = encodeRecord(numberOf("CREATE"), argumentsOf(create, manager.bench.root, new Uint8Array()), {
      xid: 4,
    });
    expect(await manager.send(record)).toMatch(/^NFS3_OK /);
    await manager.trees.dropNodeLayer("node1");
    const again = await manager.restart();
    expect(await again.send(record)).toBe("NFS3ERR_STALE");
  });
});
