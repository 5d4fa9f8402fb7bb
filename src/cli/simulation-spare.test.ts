import { describe, expect, it } from "vitest";
import type { Ipv4 } from "../bytes/addresses.ts";
import { type SpareReport, spareText } from "./simulation-spare.ts";

const board: SpareReport = {
  pi: "spare1",
  model: "4",
  mac: "dc:a6:32:00:00:01",
  serial: "10000001",
  outcome: "unfinished",
  attempts: 1,
  files: 0,
  sizeBytes: 0,
  retransmits: 0,
  offersFrom: [],
};
const router = "192.0.2.1" as Ipv4;
const address = {
  address: "192.0.2.9" as Ipv4,
  netmask: "255.255.255.0" as Ipv4,
  tftpServer: "192.0.2.5" as Ipv4,
  router,
};

describe("what is said of a spare Pi", () => {
  it("that got everything", () => {
    const got = { outcome: "booted", durationMs: 4200, files: 14, sizeBytes: 24_000_000, retransmits: 3 } as const;
    const offersFrom = [router, "192.0.2.5" as Ipv4];
    expect(spareText({ ...board, ...got, offersFrom, address })).toEqual([
      "spare1: Raspberry Pi 4, dc:a6:32:00:00:01, serial number 10000001",
      "  offers from   192.0.2.1, 192.0.2.5",
      "  address       192.0.2.9, netmask 255.255.255.0, router 192.0.2.1",
      "  boot server   192.0.2.5",
      "  files         14, 22.9 MiB, 4.2 s after power-on; asked again for 3 packets",
      "  ready: its kernel would start now",
    ]);
  });

  it("that nobody answers, and what to do about it", () => {
    const failure = { reason: "no-answer", message: "Cannot get an address within 45 s: nobody answers DHCP" } as const;
    const [, ...lines] = spareText({ ...board, failure });
    expect(lines.slice(0, 2)).toEqual([
      "  offers from   nobody",
      "  not ready: Cannot get an address within 45 s: nobody answers DHCP",
    ]);
    expect(lines[2]).toMatch(/^ {2}what to do {4}look at the cable/);
  });

  it("that was not through when time was up", () => {
    expect(spareText(board).at(-1)).toBe("  not ready: its first attempt was still under way");
  });
});
