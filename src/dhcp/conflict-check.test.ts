/** Addresses that somebody uses without having asked us: what is offered, when, and what is told of it. */
import { describe, expect, it } from "vitest";
import { MemoryClock, MemorySockets } from "../../test/memory-network.ts";
import { IPV4_ANY, type Ipv4, type Mac, parseIpv4, parseMac } from "../bytes/addresses.ts";
import { DHCP_CHECKED_ADDRESSES_MAX } from "../limits.ts";
import { ConflictCheck } from "./conflict-check.ts";
import type { DhcpObservation } from "./observation.ts";
import { type DhcpOption, type MessageType, makeOption, OPTIONS, readOption } from "./options.ts";
import { decodePacket, encodePacket, makePacket } from "./packet.ts";
import { startDhcpServer } from "./server.ts";

const ip = (last: number) => parseIpv4(`10.0.0.${last}`);
const mac = (last: number) => parseMac(`02:00:00:00:00:0${last}`);
const STRANGER = mac(9);
const NODE = mac(1);
const turn = () => new Promise<void>((done) => setImmediate(done));

/** Somebody who is asked who has an address, and answers when the test says so. */
class Neighbourhood {
  readonly holders = new Map<Ipv4, Mac>();
  readonly asked: Ipv4[] = [];
  #waiting: (() => void)[] = [];
  isClosed = false;

  holderOf(address: Ipv4): Promise<Mac | undefined> {
    this.asked.push(address);
    return new Promise((resolve) => this.#waiting.push(() => resolve(this.holders.get(address))));
  }
  close() {
    this.isClosed = true;
  }
  async answer() {
    for (const each of this.#waiting.splice(0)) each();
    await turn();
  }
}

async function start() {
  const sockets = new MemorySockets();
  const clock = new MemoryClock();
  const probe = new Neighbourhood();
  const observed: DhcpObservation[] = [];
  const server = await startDhcpServer({
    sockets,
    clock,
    probe,
    settings: {
      mode: "server",
      serverAddress: ip(1),
      subnetMask: parseIpv4("255.255.255.0"),
      routers: [],
      dnsServers: [],
      leaseTimeS: 600,
      range: { first: ip(100), last: ip(106) },
    },
    policy: {
      classify: ({ mac: who }) =>
        who === NODE ? { kind: "pi", node: "node1", reservedAddress: ip(10) } : { kind: "other" },
      isReserved: (address) => address === ip(10),
      isNode: (who) => who === NODE,
    },
    observe: (observation) => observed.push(observation),
  });
  const say = (who: Mac, message: MessageType, options: DhcpOption[] = [], relayAddress = IPV4_ANY) => {
    const all = [makeOption(OPTIONS.messageType, message), ...options];
    const packet = makePacket({ op: "request", transactionId: 1, mac: who, relayAddress, options: all });
    sockets.deliver(67, encodePacket(packet), { address: IPV4_ANY, port: 68 });
  };
  /** `OFFER 10.0.0.100 to 02:…` */
  const answers = () =>
    sockets.sent().map(({ bytes }) => {
      const { options, yourAddress, mac: to } = decodePacket(bytes);
      return `${readOption(options, OPTIONS.messageType)} ${yourAddress} to ${to}`;
    });
  const conflicts = () => observed.flatMap((each) => (each.kind === "address-conflict" ? [each] : []));
  return { say, answers, probe, clock, observed, conflicts, server };
}

describe("an address of the range", () => {
  it("is offered when the network was asked and nobody has it", async () => {
    const { say, answers, probe } = await start();
    say(mac(2), "DISCOVER");
    expect(answers()).toEqual([]);
    await probe.answer();
    const [offered] = probe.asked;
    expect(answers()).toEqual([`OFFER ${offered} to ${mac(2)}`]);
  });

  it("is passed over when somebody has it, for long enough, and that is told", async () => {
    const { say, answers, probe, clock, conflicts } = await start();
    say(mac(2), "DISCOVER");
    const taken = probe.asked[0]!;
    probe.holders.set(taken, STRANGER);
    await probe.answer();
    await probe.answer();
    const [first] = answers();
    expect(first).toMatch(/^OFFER/);
    expect(first).not.toContain(taken);
    expect(conflicts()).toMatchObject([{ address: taken, mac: mac(2), holder: STRANGER }]);
    // Later clients are not even considered for it, until there is a chance that it is free.
    const given = [];
    for (const last of [3, 4, 5, 6, 7]) {
      say(mac(last), "DISCOVER");
      await probe.answer();
      given.push(...answers());
    }
    expect(given).toHaveLength(5);
    expect(given.join()).not.toContain(taken);
    say(mac(8), "DISCOVER");
    await probe.answer();
    expect(answers()).toEqual([]);
    probe.holders.clear();
    clock.pass(10 * 60_000);
    say(mac(8), "DISCOVER");
    await probe.answer();
    expect(answers()).toHaveLength(1);
  });

  it("is offered at once when the client holds it already, asked about it a moment ago, or is its user", async () => {
    const { say, answers, probe, clock } = await start();
    say(mac(2), "DISCOVER");
    const address = probe.asked[0]!;
    probe.holders.set(address, mac(2));
    await probe.answer();
    expect(answers()).toEqual([`OFFER ${address} to ${mac(2)}`]);
    say(mac(2), "DISCOVER");
    expect(answers()).toEqual([`OFFER ${address} to ${mac(2)}`]);
    const requested = makeOption(OPTIONS.requestedAddress, address);
    say(mac(2), "REQUEST", [requested]);
    expect(answers()).toEqual([`ACK ${address} to ${mac(2)}`]);
    // What was heard is forgotten, but now the address is its own.
    clock.pass(60_000);
    say(mac(2), "DISCOVER");
    expect(answers()).toEqual([`OFFER ${address} to ${mac(2)}`]);
    expect(probe.asked).toEqual([address]);
  });

  it("is asked about once for a client that repeats its DISCOVER meanwhile", async () => {
    const { say, answers, probe } = await start();
    say(mac(2), "DISCOVER");
    say(mac(2), "DISCOVER");
    await probe.answer();
    expect(probe.asked).toHaveLength(1);
    expect(answers()).toHaveLength(2);
  });

  it("is given up after four that others have; the next DISCOVER goes on from there", async () => {
    const { say, answers, probe, observed } = await start();
    for (let last = 100; last <= 106; last++) probe.holders.set(ip(last), STRANGER);
    say(mac(2), "DISCOVER");
    for (let i = 0; i < 6; i++) await probe.answer();
    expect(new Set(probe.asked).size).toBe(4);
    expect(answers()).toEqual([]);
    expect(observed.at(-1)).toMatchObject({ kind: "ignored", cause: "address-in-use" });
    for (const address of [...probe.holders.keys()]) if (!probe.asked.includes(address)) probe.holders.delete(address);
    say(mac(2), "DISCOVER");
    await probe.answer();
    expect(probe.asked).toHaveLength(5);
    expect(answers()).toEqual([`OFFER ${probe.asked[4]} to ${mac(2)}`]);
  });

  it("is offered through a relay agent without asking: ARP does not reach there", async () => {
    const { say, answers, probe } = await start();
    say(mac(2), "DISCOVER", [], ip(200));
    expect(answers()).toHaveLength(1);
    expect(probe.asked).toEqual([]);
  });
});

describe("a node's own address", () => {
  it("is offered at once, and whoever has it is told of", async () => {
    const { say, answers, probe, conflicts } = await start();
    probe.holders.set(ip(10), STRANGER);
    say(NODE, "DISCOVER");
    expect(answers()).toEqual([`OFFER 10.0.0.10 to ${NODE}`]);
    await probe.answer();
    expect(conflicts()).toMatchObject([{ address: ip(10), mac: NODE, holder: STRANGER, client: { node: "node1" } }]);
    expect(answers()).toEqual([]);
  });
});

describe("the check", () => {
  it("ends with the server", async () => {
    const { server, probe } = await start();
    server.close();
    expect(probe.isClosed).toBe(true);
  });

  it("asks about no more addresses at once than the limit, and remembers no more", async () => {
    const probe = new Neighbourhood();
    const clock = new MemoryClock();
    const check = new ConflictCheck(probe, clock);
    const address = (at: number) => parseIpv4(`10.1.${at >> 8}.${at & 255}`);
    for (let at = 0; at < DHCP_CHECKED_ADDRESSES_MAX; at++) expect(check.holderOf(address(at))).toBeInstanceOf(Promise);
    expect(check.holderOf(address(DHCP_CHECKED_ADDRESSES_MAX))).toBeUndefined();
    await probe.answer();
    expect(check.holderOf(address(0))).toBeUndefined();
    const one = check.holderOf(address(DHCP_CHECKED_ADDRESSES_MAX));
    await probe.answer();
    await one;
    // The oldest made room for it.
    expect(check.holderOf(address(0))).toBeInstanceOf(Promise);
    expect(check.holderOf(address(DHCP_CHECKED_ADDRESSES_MAX))).toBeUndefined();
    clock.pass(30_000);
    expect(check.holderOf(address(DHCP_CHECKED_ADDRESSES_MAX))).toBeInstanceOf(Promise);
  });
});
