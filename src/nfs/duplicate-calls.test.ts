import { describe, expect, it } from "vitest";
import { type Ipv4, ipv4FromNumber, parseIpv4 } from "../bytes/addresses.ts";
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

/** A function that makes a call and says whether it was really run. */
function asker(): (xid: number, client?: Ipv4) => boolean {
  const duplicates = new DuplicateCalls();
  return (xid, client = CLIENT) => {
    let isRun = false;
    void duplicates.answer(callWith(xid), client, () => {
      isRun = true;
      return ARGS;
    });
    return isRun;
  };
}

describe("DuplicateCalls", () => {
  it("forgets the oldest call of a client that makes many", () => {
    const isRun = asker();
    for (let xid = 0; xid <= NFS_DUPLICATE_CALLS_PER_CLIENT_MAX; xid++) expect(isRun(xid)).toBe(true);
    expect([isRun(1), isRun(0)]).toEqual([false, true]);
  });

  it("forgets no call that is under way, however many come after it", async () => {
    const duplicates = new DuplicateCalls();
    let finish: (reply: Uint8Array) => void = () => {};
    const slow = duplicates.answer(callWith(1), CLIENT, () => new Promise((resolve) => (finish = resolve)));
    const ask = (xid: number) => duplicates.answer(callWith(xid), CLIENT, () => Uint8Array.of(xid));
    for (let xid = 2; xid < 2 * NFS_DUPLICATE_CALLS_PER_CLIENT_MAX; xid++) void ask(xid);
    expect(ask(1)).toBe(slow);
    finish(ARGS);
    expect(await slow).toBe(ARGS);
    expect(ask(1)).toBe(ARGS);
    for (let xid = 1000; xid < 1000 + NFS_DUPLICATE_CALLS_PER_CLIENT_MAX; xid++) void ask(xid);
    expect(ask(1)).toEqual(Uint8Array.of(1));
  });

  it("forgets the client seen first when there are many", () => {
    const isRun = asker();
    const addresses = Array.from({ length: NFS_DUPLICATE_CLIENTS_MAX + 1 }, (_, index) => ipv4FromNumber(index));
    for (const address of addresses) expect(isRun(1, address)).toBe(true);
    expect([isRun(1, addresses.at(-1)), isRun(1, addresses[0])]).toEqual([false, true]);
  });

  it("does not remember a call that failed to be answered at all", async () => {
    const duplicates = new DuplicateCalls();
    const failing = duplicates.answer(callWith(1), CLIENT, () => Promise.reject(new Error("broken")));
    await expect(failing).rejects.toThrow("broken");
    expect(duplicates.answer(callWith(1), CLIENT, () => ARGS)).toBe(ARGS);
  });
});
