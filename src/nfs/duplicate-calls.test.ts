import { describe, expect, it } from "vitest";
import { ipv4FromNumber, parseIpv4 } from "../bytes/addresses.ts";
import { NFS_DUPLICATE_CALLS_PER_CLIENT_MAX, NFS_DUPLICATE_CLIENTS_MAX } from "../limits.ts";
import { DuplicateCalls } from "./duplicate-calls.ts";
import type { RpcCall } from "./rpc.ts";
import { XdrReader } from "./xdr.ts";

const CLIENT = parseIpv4("192.0.2.1");
const ARGS = Uint8Array.of(1, 2, 3, 4);

function callWith(xid: number): RpcCall {
  const credentials = { flavor: "AUTH_SYS", uid: 0, gid: 0, groups: [] } as const;
  const args = new XdrReader(ARGS, "args");
  return { xid, program: 100003, version: 3, procedure: 12, credentials, args, argumentBytes: ARGS };
}

/** Counts how often calls are really run. */
function counted() {
  const duplicates = new DuplicateCalls();
  let runs = 0;
  const ask = (xid: number, client = CLIENT) => duplicates.answer(callWith(xid), client, () => Uint8Array.of(++runs));
  return { ask, runs: () => runs };
}

describe("DuplicateCalls", () => {
  it("forgets the oldest call of a client that makes many", () => {
    const { ask, runs } = counted();
    for (let xid = 0; xid <= NFS_DUPLICATE_CALLS_PER_CLIENT_MAX; xid++) ask(xid);
    const before = runs();
    expect(ask(1)).toEqual(Uint8Array.of(2));
    expect(runs()).toBe(before);
    ask(0);
    expect(runs()).toBe(before + 1);
  });

  it("forgets the client seen first when there are many", () => {
    const { ask, runs } = counted();
    const addresses = Array.from({ length: NFS_DUPLICATE_CLIENTS_MAX + 1 }, (_, index) => ipv4FromNumber(index));
    for (const address of addresses) ask(1, address);
    const before = runs();
    ask(1, addresses.at(-1));
    expect(runs()).toBe(before);
    ask(1, addresses[0]);
    expect(runs()).toBe(before + 1);
  });

  it("does not remember a call that failed to be answered at all", async () => {
    const duplicates = new DuplicateCalls();
    const failing = duplicates.answer(callWith(1), CLIENT, () => Promise.reject(new Error("broken")));
    await expect(failing).rejects.toThrow("broken");
    expect(duplicates.answer(callWith(1), CLIENT, () => ARGS)).toBe(ARGS);
  });
});
