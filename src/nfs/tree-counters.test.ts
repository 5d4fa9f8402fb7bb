import { describe, expect, it } from "vitest";
import { fileNameFromText } from "../bytes/file-name.ts";
import { latencyQuantileMs } from "./latency-histogram.ts";
import { NFS_PROCEDURES } from "./procedures/table.ts";
import { createBench, newAttributes, TREE_ID } from "./test-client.ts";
import { CallSampling, TreeCounters } from "./tree-counters.ts";
import type { Encode } from "./xdr.ts";

const numberOf = (procedure: string) => NFS_PROCEDURES.findIndex(({ name }) => name === procedure);

/** A service whose every call takes 3 ms, by the clock. */
function slowBench() {
  let nowMs = 0;
  const clock = { monotonicMs: () => (nowMs += 3), after: () => ({ cancel: () => {} }) };
  const bench = createBench({ clock });
  const counters = bench.service.counters(TREE_ID);
  const lookup = (name: string) => bench.nfs("LOOKUP", (args) => args.opaque(bench.root).name(fileNameFromText(name)));
  const create = (name: string) => {
    const { body } = bench.nfs("CREATE", (args) => {
      args.opaque(bench.root).name(fileNameFromText(name)).u32(0);
      newAttributes(0o644)(args);
    });
    body.bool("handle follows");
    return body.opaque(64, "handle").slice();
  };
  const write = (file: Uint8Array, bytes: number, uid = 0) => {
    const args: Encode = (args) => args.opaque(file).hyper(0).u32(bytes).u32(2).opaque(new Uint8Array(bytes));
    return bench.nfs("WRITE", args, { uid });
  };
  const read = (file: Uint8Array, bytes: number) => bench.nfs("READ", (args) => args.opaque(file).hyper(0).u32(bytes));
  return { ...bench, counters, lookup, create, write, read };
}

describe("what a tree's clients do is counted:", () => {
  it("calls by procedure with the time of each that changes something, and bytes", () => {
    const { counters, create, write, read } = slowBench();
    const file = create("log");
    write(file, 1000);
    write(file, 500);
    read(file, 200);
    const activity = counters.takeActivity()!;
    expect(activity).toMatchObject({ operations: 4, readBytes: 200, writtenBytes: 1500, refusals: [] });
    const calls = activity.procedures.map(({ procedure, calls }) => [NFS_PROCEDURES[procedure]!.name, calls]);
    expect(calls).toEqual([
      ["READ", 1],
      ["WRITE", 2],
      ["CREATE", 1],
    ]);
    const { latency } = activity.procedures.find(({ procedure }) => procedure === numberOf("WRITE"))!;
    expect(latency).toEqual([expect.any(Number), 2]);
    expect(latencyQuantileMs(latency, 0.5)).toBeCloseTo(3, 0);
  });

  it("only what is new since it was last told, and nothing when nothing is", () => {
    const { counters, create, write } = slowBench();
    const file = create("log");
    expect(counters.takeActivity()).toMatchObject({ operations: 1, writtenBytes: 0 });
    expect(counters.takeActivity()).toBeUndefined();
    write(file, 70);
    expect(counters.takeActivity()).toMatchObject({ operations: 1, writtenBytes: 70 });
    expect(counters).toMatchObject({ operations: 2, writtenBytes: 70 });
  });

  it("refusals by what was answered; a call without a tree is nobody's", () => {
    const { counters, lookup, nfs } = slowBench();
    lookup("nothing");
    lookup("no more");
    nfs("GETATTR", (args) => args.opaque(Uint8Array.of(1, 2, 3)));
    expect(counters.takeActivity()).toMatchObject({ operations: 2, refusals: [["NFS3ERR_NOENT", 2]] });
  });

  it("the files most written and who wrote them, with the name that a client looked each up by", () => {
    const { counters, create, write, lookup, volume } = slowBench();
    const [log, mail] = [create("log"), create("mail")];
    write(log, 3000);
    write(mail, 9000, 0);
    lookup("mail");
    const { written, writers, called } = counters.takeHitters(1000);
    const names = written.map(({ key }) => counters.nameOf(key));
    expect(names).toEqual([
      { directoryId: volume.rootId, name: "mail" },
      { directoryId: volume.rootId, name: "log" },
    ]);
    expect(written[0]!.perSecond / written[1]!.perSecond).toBeCloseTo(3);
    expect(writers).toEqual([{ key: 0, perSecond: written[0]!.perSecond + written[1]!.perSecond }]);
    // Both CREATEs were of the directory.
    expect(called[0]!.key).toBe(volume.rootId);
  });

  it("a stale handle, which a person must hear of", () => {
    const bench = slowBench();
    bench.create("f");
    const root = bench.root.slice();
    Object.defineProperty(bench.volume, "epoch", { value: 99 });
    expect(bench.nfs("GETATTR", (args) => args.opaque(root)).status).toBe("NFS3ERR_STALE");
    expect(bench.counters.takeActivity()!.refusals).toEqual([["NFS3ERR_STALE", 1]]);
  });
});

it("times every call that changes something, and about one in four of the others whatever their pattern", () => {
  const sampling = new CallSampling();
  expect(Array.from({ length: 100 }, () => sampling.weightOf(true))).toEqual(new Array(100).fill(1));
  for (const period of [1, 2, 3, 4, 5, 8]) {
    const weights = new Array<number>(period).fill(0);
    for (let call = 0; call < 4000 * period; call++) weights[call % period]! += sampling.weightOf(false);
    for (const weight of weights) {
      expect(weight).toBeGreaterThan(3500);
      expect(weight).toBeLessThan(4500);
    }
  }
});

it("keeps calls of a tree apart from those of another", () => {
  const [one, other] = [new TreeCounters(), new TreeCounters()];
  one.answered(1, "NFS3_OK", 5, 4, 1);
  expect(other.takeActivity()).toBeUndefined();
  expect(one.takeActivity()).toMatchObject({ operations: 1 });
});

it("tells of the first call since what was done was taken", () => {
  let told = 0;
  const counters = new TreeCounters(() => {
    told += 1;
  });
  const answer = () => counters.answered(1, "NFS3_OK", 2, 0, 0);
  for (const expected of [1, 1, 1]) {
    answer();
    expect(told).toBe(expected);
  }
  counters.takeActivity();
  expect(told).toBe(1);
  answer();
  expect(told).toBe(2);
});
