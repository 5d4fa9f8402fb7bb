import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { agree } from "./options.ts";
import { decodePacket } from "./packet.ts";
import { ReadAheadMemory } from "./read-ahead.ts";
import { Transfer, type TransferOutcome } from "./transfer.ts";

/** A transfer, its clock, and what it said, as short words: `OACK`, `1:512` (block and bytes), `ERROR 0 …`. */
function conversation(
  sizeBytes: number,
  asked: Record<string, string>,
  read?: (target: Uint8Array, offset: number) => number | Promise<number>,
) {
  const content = Uint8Array.from({ length: sizeBytes }, (_, i) => i % 251);
  const said: string[] = [];
  const saidAtMs: number[] = [];
  const state = { nowMs: 1000, closed: 0, outcome: undefined as TransferOutcome | undefined };
  const fill = (target: Uint8Array, offset: number) => {
    target.set(content.subarray(offset, offset + target.length));
    return Math.min(target.length, sizeBytes - offset);
  };
  const agreement = agree(new Map(Object.entries(asked)), sizeBytes, 65464);
  const transfer: Transfer = new Transfer(
    { sizeBytes, read: read ?? fill, close: () => void state.closed++ },
    agreement,
    {
      clock: { monotonicMs: () => state.nowMs },
      memory: new ReadAheadMemory(),
      send(bytes) {
        const packet = decodePacket(bytes);
        if (packet.kind === "error") said.push(`ERROR ${packet.code} ${packet.message}`);
        else said.push("OACK");
        saidAtMs.push(state.nowMs - 1000);
      },
      sendBlock(head, body) {
        const packet = decodePacket(Buffer.concat([head, body]));
        if (packet.kind !== "data") throw new Error("not data");
        const at = (packet.block - 1) * agreement.blockBytes;
        if (!read) expect(Buffer.compare(packet.data, content.subarray(at, at + packet.data.length))).toBe(0);
        said.push(`${packet.block}:${packet.data.length}`);
        saidAtMs.push(state.nowMs - 1000);
      },
      flush: () => {},
      askForTurn() {
        while (transfer.sendNext(state.nowMs));
      },
      onEnd: (outcome) => {
        expect(state.outcome).toBeUndefined();
        state.outcome = outcome;
      },
    },
  );
  /** What was said since the last look. */
  const heard = () => said.splice(0);
  /** And when, in milliseconds from the beginning. */
  const sentAt = () => saidAtMs.splice(0);
  const wait = (untilMs: number) => {
    while (!state.outcome && transfer.deadlineMs <= untilMs) {
      state.nowMs = transfer.deadlineMs;
      transfer.onTimer();
    }
    state.nowMs = untilMs;
  };
  const acknowledge = (block: number) => transfer.onAcknowledge(block, state.nowMs);
  return { transfer, acknowledge, state, heard, sentAt, wait };
}

describe("a transfer", () => {
  it("without options starts with block 1 and ends with the short block", () => {
    const { transfer, acknowledge, heard, state } = conversation(700, {});
    transfer.start();
    expect(heard()).toEqual(["1:512"]);
    acknowledge(1);
    expect(heard()).toEqual(["2:188"]);
    acknowledge(2);
    expect(heard()).toEqual([]);
    expect(state).toMatchObject({ outcome: { kind: "complete" }, closed: 1 });
  });

  it.each([
    [0, ["1:0"]],
    [511, ["1:511"]],
    [512, ["1:512", "2:0"]],
    [513, ["1:512", "2:1"]],
    [1024, ["1:512", "2:512", "3:0"]],
  ])("of %i bytes sends %j", (sizeBytes, blocks) => {
    const { transfer, acknowledge, heard, state } = conversation(sizeBytes, {});
    transfer.start();
    for (let block = 1; block <= blocks.length; block++) acknowledge(block);
    expect(heard()).toEqual(blocks);
    expect(state.outcome).toEqual({ kind: "complete" });
  });

  it("with options waits for the acknowledgement of block 0", () => {
    const { transfer, acknowledge, heard } = conversation(3000, { tsize: "0", blksize: "1468" });
    transfer.start();
    expect(heard()).toEqual(["OACK"]);
    acknowledge(7);
    expect(heard()).toEqual([]);
    acknowledge(0);
    expect(heard()).toEqual(["1:1468"]);
  });

  it.each([
    ["after the OACK", { tsize: "0" }],
    ["after the first block", {}],
  ])("ended by the client %s was a probe", (_, asked) => {
    const { transfer, state } = conversation(3000, asked);
    transfer.start();
    transfer.onError(0, "Early terminate");
    expect(state).toMatchObject({ outcome: { kind: "probed" }, closed: 1 });
  });

  it("ended by the client in the middle has failed, with its words", () => {
    const { transfer, acknowledge, state } = conversation(3000, {});
    transfer.start();
    acknowledge(1);
    transfer.onError(3, "Disk full");
    expect(state.outcome).toEqual({
      kind: "failed",
      reason: 'the client stopped it: "Disk full" (error 3)',
      cause: "stopped",
    });
  });

  it("repeats a lost block every 200 ms for a second, for bootcode.bin has no more patience, then ever later, up to 15 s", () => {
    const { transfer, sentAt, wait, state } = conversation(3000, {});
    transfer.start();
    wait(15_999);
    expect(sentAt()).toEqual([0, 200, 400, 600, 800, 1000, 1400, 2200, 3800, 6200, 8600, 11_000, 13_400]);
    expect(state.outcome).toBeUndefined();
    wait(16_000);
    expect(state.outcome).toEqual({ kind: "failed", reason: "no answer to block 1 for 15 s", cause: "silence" });
    expect(transfer.retransmits).toBe(12);
  });

  it("repeats sooner once it knows how fast the client answers", () => {
    const { transfer, acknowledge, sentAt, wait, state } = conversation(100_000, {});
    transfer.start();
    for (let block = 1; block <= 20; block++) {
      wait(state.nowMs + 2);
      acknowledge(block);
    }
    const lastMs = sentAt().at(-1)!;
    wait(state.nowMs + 300);
    expect(sentAt().map((atMs) => atMs - lastMs)).toEqual([20, 60, 140, 300]);
  });

  it("is as patient as the client is slow", () => {
    const { transfer, acknowledge, sentAt, wait, state } = conversation(100_000, {});
    transfer.start();
    for (let block = 1; block <= 40; block++) {
      wait(state.nowMs + (block % 2 ? 60 : 80));
      acknowledge(block);
    }
    expect(transfer.retransmits).toBe(0);
    sentAt();
    wait(state.nowMs + 90);
    expect(sentAt()).toEqual([]);
  });

  it.each([
    ["early, and not again after a second, when the client is a stage of the Pi 3", { tsize: "0" }, [0, 250, 750]],
    ["late when it can ask again itself", { tsize: "0", blksize: "1468" }, [0, 1000, 3000]],
  ])("repeats an OACK %s: the abort of a probe may have gone astray", (_, asked, offeredAt) => {
    const { transfer, heard, sentAt, wait, state } = conversation(3000, asked);
    transfer.start();
    wait(10_000);
    expect(heard()).toEqual(["OACK", "OACK", "OACK"]);
    expect(sentAt()).toEqual(offeredAt);
    expect(state.outcome).toEqual({
      kind: "failed",
      reason: "no answer to the option acknowledgement for 5 s",
      cause: "silence",
    });
  });

  it("keeps to the interval that the client asked for", () => {
    const { transfer, acknowledge, heard, wait } = conversation(3000, { timeout: "2" });
    transfer.start();
    acknowledge(0);
    heard();
    wait(1000 + 8000);
    expect(heard()).toEqual(["1:512", "1:512", "1:512", "1:512"]);
  });

  it("does not answer a repeated acknowledgement, which would double every packet", () => {
    const { transfer, acknowledge, heard } = conversation(3000, {});
    transfer.start();
    acknowledge(1);
    heard();
    acknowledge(1);
    acknowledge(0);
    expect(heard()).toEqual([]);
  });

  it("answers a repeated request with what it said, until the client has data", () => {
    const { transfer, acknowledge, heard, state } = conversation(3000, { tsize: "0" });
    transfer.start();
    expect(transfer.onRepeatedRequest()).toBe(true);
    expect(heard()).toEqual(["OACK", "OACK"]);
    acknowledge(0);
    expect(transfer.onRepeatedRequest()).toBe(true);
    expect(heard()).toEqual(["1:512", "1:512"]);
    acknowledge(1);
    heard();
    expect(transfer.onRepeatedRequest()).toBe(true);
    expect(heard()).toEqual([]);
    // A second of silence, and the same request from the same port: a boot ROM after a power cut.
    state.nowMs += 1000;
    expect(transfer.onRepeatedRequest()).toBe(false);
  });

  it("rolls block numbers over from 65535 to 0", () => {
    const { transfer, acknowledge, heard, state } = conversation(
      8 * 65540 + 3,
      { blksize: "8" },
      (target) => target.length,
    );
    transfer.start();
    acknowledge(0);
    for (let block = 1; block <= 65540; block++) {
      const [said] = heard().slice(-1);
      if (block >= 65534) expect(said).toBe(`${block & 0xffff}:8`);
      acknowledge(block & 0xffff);
    }
    expect(heard()).toEqual(["5:3"]);
    acknowledge(5);
    expect(state.outcome).toEqual({ kind: "complete" });
    expect(transfer.sentBytes).toBe(8 * 65540 + 3);
  });

  it("with a window sends it whole, and again from where it broke", () => {
    const { transfer, acknowledge, heard } = conversation(5000, { windowsize: "4" });
    transfer.start();
    acknowledge(0);
    expect(heard()).toEqual(["OACK", "1:512", "2:512", "3:512", "4:512"]);
    acknowledge(2);
    expect(heard()).toEqual(["3:512", "4:512", "5:512", "6:512"]);
    // One for each block that came after the gap.
    acknowledge(2);
    expect(heard()).toEqual([]);
    acknowledge(6);
    expect(heard()).toEqual(["7:512", "8:512", "9:512", "10:392"]);
  });

  it("with a window takes a repeated acknowledgement for the loss of its first block", () => {
    const { transfer, acknowledge, heard } = conversation(5000, { windowsize: "4" });
    transfer.start();
    acknowledge(0);
    acknowledge(4);
    heard();
    acknowledge(4);
    expect(heard()).toEqual(["5:512", "6:512", "7:512", "8:512"]);
    acknowledge(4);
    expect(heard()).toEqual([]);
  });

  it("with a window does not answer what its own retransmission brought about", () => {
    const { transfer, acknowledge, heard, wait } = conversation(9000, { windowsize: "4" });
    transfer.start();
    acknowledge(0);
    heard();
    wait(1200);
    expect(heard()).toEqual(["1:512", "2:512", "3:512", "4:512"]);
    // The client was only slow, and acknowledges what it has again for each block that it has twice.
    acknowledge(4);
    expect(heard()).toEqual(["5:512", "6:512", "7:512", "8:512"]);
    for (let copy = 0; copy < 4; copy++) acknowledge(4);
    expect(heard()).toEqual([]);
    acknowledge(8);
    expect(heard()).toEqual(["9:512", "10:512", "11:512", "12:512"]);
  });

  it("waits for a slow disk, reads for many blocks at a time, and closes the file after the last read", async () => {
    const pending: (() => void)[] = [];
    const slow = (target: Uint8Array) => new Promise<number>((resolve) => pending.push(() => resolve(target.length)));
    const { transfer, acknowledge, heard, state } = conversation(40_000, { blksize: "1024", windowsize: "2" }, slow);
    transfer.start();
    acknowledge(0);
    expect(heard()).toEqual(["OACK"]);
    pending.shift()!();
    await new Promise(setImmediate);
    expect(heard()).toEqual(["1:1024", "2:1024"]);
    for (let block = 2; block <= 30; block += 2) acknowledge(block);
    expect(heard()).toHaveLength(30);
    acknowledge(32);
    expect(heard()).toEqual([]);
    transfer.onError(0, "enough");
    expect(state.closed).toBe(0);
    pending.shift()!();
    await new Promise(setImmediate);
    expect(heard()).toEqual([]);
    expect(state.closed).toBe(1);
  });

  it.each([
    [
      "throws",
      () => {
        throw new Error("EIO");
      },
      "Cannot read the file: EIO",
    ],
    [
      "rejects",
      async () => {
        throw new Error("EIO");
      },
      "Cannot read the file: EIO",
    ],
    ["ends early", () => 3, "Cannot read the file: it ends before its 1000 bytes"],
  ])("whose file %s tells the client", async (_, read, reason) => {
    const { transfer, heard, state } = conversation(1000, {}, read);
    transfer.start();
    await new Promise(setImmediate);
    expect(heard()).toEqual([`ERROR 0 ${reason}`]);
    expect(state).toMatchObject({ outcome: { kind: "failed", reason, cause: "unreadable" }, closed: 1 });
  });

  it("always completes on a lossy, doubling network, whatever is lost", () => {
    fc.assert(
      fc.property(
        fc.nat(6000),
        fc.integer({ min: 1, max: 5 }),
        fc.infiniteStream(fc.constantFrom("pass", "pass", "pass", "lose", "double")),
        (sizeBytes, window, fates) => {
          const queue: number[] = [];
          let expected = 1;
          let received = 0;
          const content = Buffer.alloc(sizeBytes, 1);
          const state = { nowMs: 0, outcome: undefined as TransferOutcome | undefined };
          const transfer: Transfer = new Transfer(
            { sizeBytes, read: (target) => target.fill(1).length, close: () => {} },
            agree(new Map([["windowsize", String(window)]]), content.length, 1468),
            {
              clock: { monotonicMs: () => state.nowMs },
              memory: new ReadAheadMemory(),
              onEnd: (outcome) => Object.assign(state, { outcome }),
              flush: () => {},
              askForTurn() {
                while (transfer.sendNext(state.nowMs));
              },
              send: (bytes) => carry(bytes),
              sendBlock: (head, body) => carry(Buffer.concat([head, body])),
            },
          );
          function carry(bytes: Uint8Array) {
            const fate = fates.next().value;
            const packet = decodePacket(bytes);
            if (fate === "lose") return;
            for (let copy = 0; copy < (fate === "double" ? 2 : 1); copy++) {
              if (packet.kind === "optionAcknowledge") queue.push(0);
              if (packet.kind !== "data") continue;
              if (packet.block === expected) {
                expected++;
                received += packet.data.length;
              }
              queue.push(expected - 1);
            }
          }
          transfer.start();
          for (let step = 0; step < 20_000 && !state.outcome; step++) {
            const block = queue.shift();
            if (block === undefined) {
              state.nowMs = transfer.deadlineMs;
              transfer.onTimer();
            } else if (fates.next().value !== "lose") transfer.onAcknowledge(block, state.nowMs);
          }
          // Giving up is allowed only when everything was lost for a long time; never a wrong end.
          if (state.outcome?.kind === "complete") expect(received).toBe(sizeBytes);
          else expect(state.outcome).toMatchObject({ kind: "failed", reason: expect.stringContaining("no answer") });
        },
      ),
      { numRuns: 500 },
    );
  });
});
