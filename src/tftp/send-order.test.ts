import { describe, expect, it } from "vitest";
import { type Sender, SendOrder } from "./send-order.ts";

/** A network that takes `room` blocks, and senders that have some to send; what left, by name. */
function network(room: number) {
  const state = { room, nowMs: 0 };
  const left: string[] = [];
  const port = {
    get isFull() {
      return state.room === 0;
    },
  };
  const order = new SendOrder(port);
  const sender = (name: string, blocks: number, startedAtMs = 0): Sender => ({
    startedAtMs,
    sendNext() {
      if (blocks === 0) return false;
      state.room--;
      left.push(name);
      return --blocks > 0;
    },
  });
  const add = (each: Sender) => order.add(each, state.nowMs);
  const takeMore = (more: number) => {
    state.room += more;
    order.goOn(state.nowMs);
  };
  return { state, order, sender, add, takeMore, left: () => left.splice(0).join("") };
}

describe("the order of sending", () => {
  it("lets everything leave at once while the network takes it", () => {
    const { sender, add, left, order } = network(100);
    add(sender("a", 3));
    add(sender("b", 1));
    expect(left()).toBe("aaab");
    expect(order.waitingCount).toBe(0);
  });

  it("gives each one block in turn when it does not, however many they want", () => {
    const { sender, add, takeMore, left } = network(2);
    add(sender("a", 64));
    add(sender("b", 1));
    add(sender("c", 3));
    expect(left()).toBe("aa");
    takeMore(4);
    expect(left()).toBe("abca");
    takeMore(5);
    expect(left()).toBe("cacaa");
  });

  it("lets nobody past those who wait", () => {
    const { sender, add, takeMore, left, state } = network(0);
    add(sender("a", 1));
    state.room = 1;
    add(sender("b", 1));
    expect(left()).toBe("");
    takeMore(0);
    expect(left()).toBe("a");
    takeMore(1);
    expect(left()).toBe("b");
  });

  it("knows a sender that asks twice as one", () => {
    const { sender, add, takeMore, left, order } = network(0);
    const [a, b] = [sender("a", 5), sender("b", 1)];
    for (const each of [a, a, b, a]) add(each);
    expect(order.waitingCount).toBe(2);
    takeMore(3);
    expect(left()).toBe("aba");
  });

  it("gives three turns of four to those that have taken ten seconds, the oldest first", () => {
    const { sender, add, takeMore, left, state } = network(0);
    state.nowMs = 20_000;
    add(sender("n", 9, 15_000));
    add(sender("y", 4, 9_000));
    add(sender("o", 4, 8_000));
    takeMore(12);
    expect(left()).toBe("ooonoyynyynn");
  });

  it("forgets whose transfer is over", () => {
    const { sender, add, takeMore, left, order } = network(0);
    const [a, b] = [sender("a", 1), sender("b", 1)];
    add(a);
    add(b);
    order.remove(a);
    takeMore(5);
    expect(left()).toBe("b");
  });

  /**
   * Nodes that load the same file at the same time over a network that takes `blocksPerMs`: how many have it within the 30 s
   * that the EEPROM bootloader gives a file.
   */
  function loadedInTime(nodes: number, blocks: number, blocksPerMs: number): number {
    const { state, order, add, takeMore } = network(0);
    let done = 0;
    for (let node = 0; node < nodes; node++) {
      let left = blocks;
      const each: Sender = {
        startedAtMs: node,
        sendNext() {
          state.room--;
          if (--left > 0) acknowledgements.push(each);
          else if (state.nowMs - node <= 30_000) done++;
          return false;
        },
      };
      add(each);
    }
    let acknowledgements: Sender[] = [];
    for (; state.nowMs < 30_000 + nodes; state.nowMs++) {
      const heard = acknowledgements;
      acknowledgements = [];
      for (const each of heard) add(each);
      state.room = 0;
      takeMore(blocksPerMs);
    }
    expect(order.waitingCount).toBeLessThanOrEqual(nodes);
    return done;
  }

  // A tenth of 300 nodes on a tenth of 1 Gbit/s.
  it("lets all nodes load a file in time if the network can", () => {
    expect(loadedInTime(30, 7500, 8)).toBe(30);
  });

  it("lets some come through if the network is too slow for all", () => {
    // Taking turns, each would have four fifths of its file when the time is over, and none all of it.
    expect(loadedInTime(30, 10_000, 8)).toBeGreaterThan(15);
  });
});
