import { describe, expect, it } from "vitest";
import { parseRoutes } from "./host-kind.ts";

const HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
const LAN = "eth0\t004D0A0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";

describe("the default gateway in /proc/net/route", () => {
  it.each([
    [
      "is the one of the default route",
      `${HEAD}${LAN}eth0\t00000000\tFE4D0A0A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n`,
      "10.10.77.254",
    ],
    ["is none without such a route", `${HEAD}${LAN}`, undefined],
    [
      "is none where packets leave without a router",
      `${HEAD}ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n`,
      undefined,
    ],
    ["is none in an empty table", "", undefined],
  ])("%s", (_, text, expected) => {
    expect(parseRoutes(text)).toBe(expected);
  });
});
