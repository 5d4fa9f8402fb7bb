/** What no source tells of the firmware must not matter: our services boot it either way. */
import { describe, expect, it } from "vitest";
import { ALL_FILES, type DhcpMode, VirtualNetwork } from "../../test/virtual-network.ts";
import type { FirmwareSettings } from "./firmware-settings.ts";

async function boot(model: string, mode: DhcpMode, settings: Partial<FirmwareSettings>, files = ALL_FILES) {
  const network = new VirtualNetwork();
  const board = network.board(model);
  if (mode === "proxy") await network.startRouter();
  await network.serve({ mode, boards: [board], files });
  return { network, ...(await network.run(network.boot(board, settings))) };
}

const VARIANTS: [string, string[], Partial<FirmwareSettings>][] = [
  ["asks again after 250 ms", ["4", "5"], { assumed: { askAgainMs: 250 } }],
  ["asks again after 4 s", ["4", "5"], { assumed: { askAgainMs: 4000 } }],
  ["begins at another port", ["4", "5"], { assumed: { firstLocalPort: 61785 } }],
  ["asks for the same in its REQUEST as in its DISCOVER", ["4", "5"], { assumed: { requestHasParameters: true } }],
  ["takes a menu only beside option 60", ["4", "5"], { assumed: { needsVendorClass: true } }],
  ["boots from the source of an OFFER instead of option 54", ["4", "5"], { assumed: { menuServer: "source" } }],
  ["sends with TTL 64 and a UDP checksum", ["4", "5"], { assumed: { timeToLive: 64, hasUdpChecksum: true } }],
  ["asks at one pace instead of doubling it", ["4", "5"], { dhcpBackoff: 1 }],
  ["sends the serial four times in option 97", ["4", "5"], { eeprom: { identifierMagic: 0 } }],
  ["has a number of its own in option 97", ["4", "5"], { eeprom: { identifierMagic: 0x12345678 } }],
  ["asks for blocks of 1468 bytes in its second stage", ["3b", "3b+"], { assumed: { secondStageBlockBytes: 1468 } }],
  ["waits 3 s for a frame in its ROM", ["3b"], { rom: { receiveTimeoutMs: 3000 } }],
  ["waits 700 ms for a frame in its ROM", ["3b"], { rom: { receiveTimeoutMs: 700 } }],
  ["goes on 1.15 s after its DISCOVER", ["3b"], { rom: { transactionMs: 1150 } }],
  ["answers no ARP in its second stage either", ["3b", "3b+"], { deafSecondStage: true }],
  ["comes up after 15 s", ["3b", "4"], { linkUpMs: 15_000 }],
];

describe.each<DhcpMode>(["server", "proxy"])("with dhcp: %s", (mode) => {
  it.each(VARIANTS.flatMap(([what, models, settings]) => models.map((model) => [model, what, settings] as const)))(
    "a Pi %s that %s boots",
    async (model, _, settings) => {
      const { booted, failure } = await boot(model, mode, settings);
      expect(failure).toBeUndefined();
      expect(booted?.kernel.sizeBytes).toBe(8000);
    },
  );
});

it.each(["3b+", "4"])(
  "a Pi %s whose probes end at a wrong port boots, and no transfer of it stays for long",
  async (model) => {
    const { network, booted } = await boot(model, "server", { endsProbesAtWrongPort: true });
    expect(booted).toBeDefined();
    expect(network.transferCount).toBeGreaterThan(0);
    await network.clock.runFor(20_000);
    expect(network.transferCount).toBe(0);
  },
);

it("the packets of a Pi 4 with checksums have right ones, and the TTL that was set", async () => {
  const { frames } = await boot("4", "server", { assumed: { timeToLive: 64, hasUdpChecksum: true } });
  const udp = frames.map((frame) => Buffer.from(frame)).filter((frame) => frame.readUInt16BE(12) === 0x0800);
  expect(new Set(udp.map((frame) => frame[22]))).toEqual(new Set([64]));
  expect(udp.every((frame) => frame.readUInt16BE(40) !== 0)).toBe(true);
});
