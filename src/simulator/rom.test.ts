/** The boot ROM of the 3B: each bug is there, and gone when it is switched off. Numbers are firmware issues. */
import { beforeEach, describe, expect, it } from "vitest";
import { ALL_FILES, dhcpMessages, NETMASK, SERVER, VirtualNetwork } from "../../test/virtual-network.ts";
import { type Ipv4, type Mac, macFromBytes, parseMac } from "../bytes/addresses.ts";
import { type OtherServerSettings, startOtherDhcpServer } from "./faults/other-dhcp-server.ts";
import { startRelay } from "./faults/relay.ts";
import type { FirmwareSettings, RomBugs } from "./firmware-settings.ts";
import { MAC_BROADCAST } from "./frames.ts";
import { NetworkStack } from "./network-stack.ts";
import { VirtualLan } from "./virtual-lan.ts";

let network: VirtualNetwork;
beforeEach(() => {
  network = new VirtualNetwork();
});

const without = (bug: keyof RomBugs): Partial<FirmwareSettings> => ({ bugs: { [bug]: false } });
const QUIET = { bugs: { lateReceive: false } };

/** Somebody else's DHCP that leads to our files. */
function otherServer(settings: Partial<OtherServerSettings> = {}): void {
  const pool = { address: "10.77.0.200" as Ipv4, netmask: NETMASK, firstGiven: "10.77.0.100" as Ipv4 };
  const { clock, lan } = network;
  startOtherDhcpServer({ port: lan.plug(), clock, ...pool, answers: "option-66", bootServer: SERVER, ...settings });
}

/** What other computers say all the time. */
function chatter(everyMs: number): void {
  const stack = network.host("10.77.0.222" as Ipv4);
  const talk = () => {
    stack.sendBroadcast({ sourcePort: 9, port: 9, bytes: new Uint8Array(20) });
    network.clock.after(everyMs, talk);
  };
  talk();
}

async function bootOne(settings: Partial<FirmwareSettings> = {}) {
  const board = network.board("3b");
  await network.serve({ mode: "none", boards: [board] });
  return network.run(network.boot(board, settings));
}

describe("late receive (859, 862)", () => {
  it("an OFFER that comes at once, and silence after it, is not noticed in five tries", async () => {
    otherServer();
    const { failure, events, durationMs } = await bootOne();
    expect(failure).toMatchObject({ reason: "offer-not-noticed", isFinal: true });
    expect(dhcpMessages(events)).toEqual(new Array(5).fill(["DISCOVER", "OFFER"]).flat());
    expect(durationMs).toBe(30_000);
  });

  it("with other frames on the network it is", async () => {
    otherServer();
    chatter(400);
    expect((await bootOne()).booted).toBeDefined();
  });

  it.each([
    ["an OFFER after two seconds comes too late for a ROM that waits one second for a frame", 1000, "no-answer"],
    ["and in time for one that waits longer, as reported ones do", 2500, undefined],
  ])("%s", async (_, receiveTimeoutMs, reason) => {
    otherServer({ delayMs: 2000 });
    expect((await bootOne({ rom: { receiveTimeoutMs } })).failure?.reason).toBe(reason);
  });

  it("switched off, it takes the OFFER at once", async () => {
    otherServer();
    const { booted, events } = await bootOne(without("lateReceive"));
    expect(booted).toBeDefined();
    expect(dhcpMessages(events)).toEqual(["DISCOVER", "OFFER", "DISCOVER", "OFFER"]);
  });
});

describe("the address of another board (1067, 1303)", () => {
  async function addressesOfTwo(settings: Partial<FirmwareSettings>) {
    otherServer({ broadcasts: true });
    chatter(400);
    const boards = [network.board("3b", 1), network.board("3b", 2)];
    await network.serve({ mode: "none", boards });
    const outcomes = await network.run(Promise.all(boards.map((board) => network.boot(board, settings))));
    return outcomes.map(({ events }) => events.flatMap((event) => (event.kind === "address" ? event.address : []))[0]);
  }

  it("is taken when OFFERs are broadcast and two are switched on together", async () => {
    expect(new Set(await addressesOfTwo({})).size).toBe(1);
  });

  it("is not, with the check switched on or the transaction numbers apart", async () => {
    expect(new Set(await addressesOfTwo(without("ignoresClientAddress"))).size).toBe(2);
    network = new VirtualNetwork();
    expect(new Set(await addressesOfTwo(without("constantTransactionId"))).size).toBe(2);
  });
});

describe("giving up (825, 954)", () => {
  async function powerOnBeforeServer(model: string, settings: Partial<FirmwareSettings> = {}) {
    const board = network.board(model);
    const { clock } = network;
    const { pi, events, off } = network.powerOn(board, settings);
    await clock.runFor(40_000);
    await network.serve({ mode: "server", boards: [board] });
    await clock.runFor(120_000);
    return { pi, off, kinds: () => events.map(({ kind }) => kind) };
  }

  it("a 3B that was five times without an answer is dead until its power is cut", async () => {
    const { pi, off, kinds } = await powerOnBeforeServer("3b");
    expect(kinds()).toContain("gave-up");
    expect(kinds()).not.toContain("firmware-done");
    pi.powerCycle();
    await network.run(off);
    expect(kinds().at(-2)).toBe("firmware-done");
  });

  it.each([
    ["a 3B without the bug", "3b", without("givesUp")],
    ["a 3B+", "3b+", {}],
    ["a Pi 4", "4", {}],
  ])("%s goes on until somebody answers", async (_, model, settings) => {
    const { off, kinds } = await powerOnBeforeServer(model, settings);
    await network.run(off);
    expect(kinds()).not.toContain("gave-up");
    expect(kinds().at(-2)).toBe("firmware-done");
  });

  it("a Pi 4 stops after the tries that its EEPROM allows, a Pi 5 of September 2023 after one", async () => {
    const four = await powerOnBeforeServer("4", { eeprom: { networkTries: 1 }, dhcpTimeoutMs: 20_000 });
    expect(four.kinds().filter((kind) => /^(power-on|gave-up|firmware-done)$/.test(kind))).toEqual([
      "power-on",
      "gave-up",
    ]);
    network = new VirtualNetwork();
    const five = await powerOnBeforeServer("5", { released: "2023-09-13", dhcpTimeoutMs: 20_000 });
    expect(five.kinds()).toContain("gave-up");
  });
});

describe("the boot menu (941)", () => {
  it("without three spaces is not seen", async () => {
    otherServer({ answers: "menu-without-spaces", address: "10.77.0.201" as Ipv4 });
    chatter(400);
    expect((await bootOne()).failure?.reason).toBe("no-boot-server");
  });

  it("is seen with the bug switched off", async () => {
    otherServer({ answers: "menu-without-spaces", address: "10.77.0.201" as Ipv4 });
    const { failure, events } = await bootOne({ bugs: { ...QUIET.bugs, wantsThreeSpaces: false } });
    expect(events.find(({ kind }) => kind === "address")).toMatchObject({ tftpServer: "10.77.0.201" });
    expect(failure?.reason).toBe("file-timeout");
  });
});

describe("a relay (linux 1638)", () => {
  async function bootBehindRelay(model: string, settings: Partial<FirmwareSettings> = {}) {
    const { clock, lan } = network;
    const far = new VirtualLan(clock);
    const board = network.board(model);
    const [near, here] = ["10.88.0.254" as Ipv4, "10.77.0.253" as Ipv4];
    startRelay({
      clock,
      pis: { port: far.plug(), address: near, netmask: NETMASK },
      servers: { port: lan.plug(), address: here, netmask: NETMASK },
      dhcpServer: SERVER,
    });
    const subnet = { serverAddress: SERVER, network: "10.88.0.0" as Ipv4, subnetMask: NETMASK, routers: [near] };
    const behind = { router: here, subnet: { ...subnet, dnsServers: [], leaseTimeS: 3600 } };
    await network.serve({ mode: "server", boards: [board], behind });
    return network.run(network.boot(board, settings, () => far.plug()));
  }

  it("is no obstacle for newer boards", async () => {
    for (const model of ["3b+", "4", "5"]) {
      const { booted, failure } = await bootBehindRelay(model);
      expect(failure).toBeUndefined();
      expect(booted?.ownAddress).toBe("10.88.0.11");
      network = new VirtualNetwork();
    }
  });

  it("keeps a 3B and a Pi 4 of May 2020 from booting", async () => {
    expect((await bootBehindRelay("3b")).failure?.reason).toBe("no-answer");
    network = new VirtualNetwork();
    expect((await bootBehindRelay("4", { released: "2020-05-01" })).failure?.reason).toBe("no-answer");
  });

  it("even without that bug the 3B asks ARP for a server that is behind the router, and fails", async () => {
    const { failure, frames } = await bootBehindRelay("3b", { bugs: { ...QUIET.bugs, refusesRelayed: false } });
    expect(failure?.reason).toBe("file-timeout");
    expect(macFromBytes(frames.at(-1)!.subarray(0, 6))).toBe("aa:aa:aa:aa:aa:aa");
  });
});

describe("ARP", () => {
  const nobody = "10.77.0.99" as Ipv4;
  const targets = (frames: readonly Uint8Array[]) =>
    new Set(frames.map((frame) => macFromBytes(frame.subarray(0, 6))).filter((mac) => mac !== MAC_BROADCAST));

  it("without an answer leads to aa:aa:aa:aa:aa:aa (859, 975)", async () => {
    otherServer({ bootServer: nobody });
    const { failure, frames } = await bootOne(QUIET);
    expect(failure?.reason).toBe("file-timeout");
    expect(targets(frames)).toEqual(new Set(["aa:aa:aa:aa:aa:aa"]));
  });

  it("without an answer is the end of the try, with the bug switched off", async () => {
    otherServer({ bootServer: nobody });
    const { failure, frames } = await bootOne({ bugs: { ...QUIET.bugs, sendsToMadeUpMac: false } });
    expect(failure?.reason).toBe("no-arp-reply");
    expect(targets(frames)).toEqual(new Set());
  });

  it.each([
    ["is not answered while the ROM loads", true],
    ["is answered, with the bug switched off", false],
  ])("%s", async (_, deafToArp) => {
    otherServer();
    const { clock, lan } = network;
    const asker = new NetworkStack({
      mac: parseMac("02:00:00:00:00:aa") as Mac,
      clock,
      transmit: (frame) => port.send(frame),
    });
    const port = lan.plug();
    port.onFrame((frame) => asker.receive(frame));
    asker.configure({ address: "10.77.0.10" as Ipv4, netmask: NETMASK });
    // The ROM begins with its file at 5 s and has it in less than a tenth of a second.
    const found = new Promise(
      (resolve) => void clock.after(5020, () => resolve(asker.resolve("10.77.0.100" as Ipv4, 1))),
    );
    const board = network.board("3b");
    await network.serve({
      mode: "none",
      boards: [board],
      files: { ...ALL_FILES, "bootcode.bin": new Uint8Array(400_000) },
    });
    const booting = network.boot(board, { bugs: { ...QUIET.bugs, deafToArp } });
    expect((await network.run(found)) === undefined).toBe(deafToArp);
    await network.run(booting);
  });
});
