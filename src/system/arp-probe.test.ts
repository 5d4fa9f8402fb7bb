import { expect, it } from "vitest";
import { openArpProbe } from "./arp-probe.ts";
import { systemClock } from "./clock.ts";

it("says what stands in the way of asking, and leaves nothing open", () => {
  const reason = process.getuid?.() === 0 ? "the system says ENODEV" : "this needs the capability CAP_NET_RAW";
  for (let count = 0; count < 3; count++) {
    expect(() => openArpProbe("nowhere0", systemClock)).toThrow(`Cannot ask nowhere0 who has an address: ${reason}`);
  }
});
