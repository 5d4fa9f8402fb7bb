import { describe, expect, it } from "vitest";
import { VirtualNetwork } from "../../test/virtual-network.ts";
import { type Ipv4, macFromBytes } from "../bytes/addresses.ts";
import { parseNetconsole } from "./boot-console.ts";

describe("NETCONSOLE", () => {
  const MANAGER = { address: "10.77.0.1", port: 6666 };
  it.each([
    ["the short form broadcasts", "6665@169.254.1.1/,6666@/", { address: "255.255.255.255", port: 6666 }],
    ["ports may be left out", "@169.254.1.1/,@10.77.0.1/", MANAGER],
    ["a server may be named, and an interface", "6665@10.0.0.2/eth0,@10.77.0.1/", MANAGER],
    ["all separators are needed", "6665@169.254.1.1,6666@", undefined],
    ["the source address is needed", "6665@/,6666@10.77.0.1/", undefined],
    ["more than 32 characters are ignored", "6665@169.254.1.1/,6666@10.77.0.1/dc:a6:32:00:00:01", undefined],
    ["an address has to be one", "6665@169.254.1.999/,6666@/", undefined],
  ])("%s", (_, key, to) => {
    expect(parseNetconsole(key)?.to).toEqual(to);
  });

  it.each([
    ["to the MAC that is set", "2022-09-02", "02:00:00:00:00:09"],
    ["before September 2022 by broadcast", "2022-04-26", "ff:ff:ff:ff:ff:ff"],
  ])("goes %s", async (_, released, expected) => {
    const network = new VirtualNetwork();
    const netconsole = "@1.1.1.1/,@/02:00:00:00:00:09";
    const { frames } = await network.run(
      network.boot(network.board("4"), { released, dhcpTimeoutMs: 10, eeprom: { netconsole } }),
    );
    const consoles = frames.filter((frame) => Buffer.from(frame).readUInt16BE(36) === 6666);
    expect(consoles.length).toBeGreaterThan(0);
    expect(new Set(consoles.map((frame) => macFromBytes(frame.subarray(0, 6))))).toEqual(new Set([expected]));
  });

  it("brings a boot's log to whoever listens, from before the Pi has an address", async () => {
    const network = new VirtualNetwork();
    const board = network.board("4");
    await network.serve({ mode: "server", boards: [board] });
    const heard: string[] = [];
    const stack = network.host("10.77.0.9" as Ipv4);
    stack.listen(
      6666,
      ({ bytes, from }) => void heard.push(`${from.address} ${Buffer.from(bytes).toString("latin1")}`),
    );
    const { events } = await network.run(network.boot(board, { eeprom: { netconsole: "6665@169.254.1.1/,6666@/" } }));
    await network.clock.runFor(1);
    const logged = events.flatMap((event) => (event.kind === "firmware-log" ? [event.text] : []));
    // What is said before the link is up waits for nobody.
    expect(heard).toEqual(logged.slice(1).map((line) => `169.254.1.1 ${line}\n`));
    expect(heard.at(-1)).toContain("Stopping network");
  });
});
