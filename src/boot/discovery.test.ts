import { describe, expect, it } from "vitest";
import { MemoryClock } from "../../test/memory-network.ts";
import { parseMac } from "../bytes/addresses.ts";
import type { SeenPi } from "../cluster/adoption.ts";
import type { BootOccurrence } from "../cluster/event.ts";
import { UNKNOWN_PIS_MAX } from "../limits.ts";
import { Discovery, TOLD_AGAIN_MS } from "./discovery.ts";

function start() {
  const clock = new MemoryClock();
  const told: BootOccurrence[] = [];
  const discovery = new Discovery(clock, (occurrence) => told.push(occurrence));
  return { clock, discovery, told: () => told.splice(0) };
}

const pi = (index: number, more: Omit<SeenPi, "mac"> = {}): SeenPi => ({
  mac: parseMac(
    `dc:a6:32:00:${Buffer.from([index >> 8, index & 255])
      .toString("hex")
      .replace(/(..)(?=.)/, "$1:")}`,
  ),
  ...more,
});

describe("a Pi that is no node", () => {
  it("is told with its model, serial number and MAC, once, and then now and then while it asks", () => {
    const { clock, discovery, told } = start();
    const asking = pi(1, { serial: "91cdf03d", model: "4" });
    discovery.seen(asking);
    expect(told()).toEqual([{ kind: "unknown-pi", mac: asking.mac, serial: "91cdf03d", model: "4" }]);
    for (let waitedMs = 0; waitedMs < TOLD_AGAIN_MS - 8000; waitedMs += 8000) {
      clock.pass(8000);
      discovery.seen(asking);
    }
    expect(told()).toEqual([]);
    clock.pass(8000);
    discovery.seen(asking);
    expect(told()).toHaveLength(1);
  });

  it("is told again when more is known of it", () => {
    const { discovery, told } = start();
    for (const more of [{}, { serial: "b66c4c16" }, {}, { serial: "b66c4c16" }]) discovery.seen(pi(1, more));
    expect(told()).toMatchObject([{}, { serial: "b66c4c16" }]);
  });

  it("cannot fill the journal by making up addresses, and is heard again later", () => {
    const { clock, discovery, told } = start();
    for (let index = 0; index < 3 * UNKNOWN_PIS_MAX; index++) discovery.seen(pi(index));
    expect(told()).toHaveLength(UNKNOWN_PIS_MAX);
    clock.pass(TOLD_AGAIN_MS);
    discovery.seen(pi(3 * UNKNOWN_PIS_MAX));
    expect(told()).toHaveLength(1);
  });

  it("is offered for adoption each time", () => {
    const { discovery } = start();
    const seen: SeenPi[] = [];
    discovery.onSeen = (each) => seen.push(each);
    for (let time = 0; time < 3; time++) discovery.seen(pi(1));
    expect(seen).toEqual([pi(1), pi(1), pi(1)]);
  });
});
