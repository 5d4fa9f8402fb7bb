/** Boards that ask for an address and do not get on: virtual Pis on a network with the fault. */
import { describe } from "vitest";
import { type Ipv4, parseMac } from "../../src/bytes/addresses.ts";
import { type OtherServerAnswer, startOtherDhcpServer } from "../../src/simulator/faults/other-dhcp-server.ts";
import { NETMASK } from "../virtual-network.ts";
import { makeTestBoard } from "./diagnosed-network.ts";
import { LinuxClient } from "./linux-client.ts";
import { boot, type Scenario, scenarios } from "./scenario.ts";

const OTHER = "10.77.0.253" as Ipv4;
const dhcpBlocked = [{ name: "firewall", protocol: "udp", ports: [[68, 68]] }] as const;

const boards = (model: string, count: number) =>
  Array.from({ length: count }, (_, index) => makeTestBoard(model, index + 1));

/** A board that asks beside a server of somebody else, which Bramble does not answer beside. */
function besideOtherServer(cause: string, answers: OtherServerAnswer, model = "4", released?: string): Scenario {
  return {
    cause,
    bySeconds: 22,
    settings: { mode: "external", model, router: false },
    async run(network) {
      const { clock, lan } = network;
      const firstGiven = "10.77.0.100" as Ipv4;
      startOtherDhcpServer({
        port: lan.plug(),
        clock,
        address: OTHER,
        netmask: NETMASK,
        firstGiven,
        answers,
        bootServer: "10.77.0.1" as Ipv4,
        broadcasts: true,
      });
      network.powerOn(network.boards[0], released === undefined ? {} : { firmware: { released } });
      await network.pass(25_000);
    },
  };
}

const TABLE: Scenario[] = [
  {
    cause: "address-pool-empty",
    bySeconds: 12,
    settings: { reserved: false, dhcp: { range: { first: "10.77.0.50" as Ipv4, last: "10.77.0.50" as Ipv4 } } },
    async run(network) {
      const other = new LinuxClient(parseMac("02:00:00:00:00:77"), network.lan.plug());
      await network.clock.runUntilSettled(other.address());
      network.powerOn();
      await network.pass(30_000);
    },
  },
  boot("no-address-set-aside", { reserved: false, bySeconds: 12 }),
  boot("dhcp-answer-failed", {
    beforeReply: () => Promise.reject(new Error("ENOSPC: no space left on device")),
    bySeconds: 12,
  }),
  {
    cause: "address-in-use",
    bySeconds: 12,
    settings: {},
    async run(network) {
      new LinuxClient(network.boards[0]!.mac, network.lan.plug()).decline("10.77.0.11" as Ipv4);
      await network.pass(20_000);
    },
  },
  {
    cause: "address-refused",
    bySeconds: 20,
    settings: {},
    async run(network) {
      network.powerOn(network.boards[0], { cable: dhcpBlocked.map((fault) => ({ ...fault, ports: [[69, 69]] })) });
      const linux = new LinuxClient(network.boards[0]!.mac, network.lan.plug());
      await network.pass(3_000);
      for (let times = 0; times < 2; times++) linux.request("10.77.0.99" as Ipv4, "10.77.0.1" as Ipv4);
      await network.pass(3_000);
    },
  },
  {
    cause: "rom-offers-cross",
    bySeconds: 30,
    settings: { boards: boards("3b", 2), faults: dhcpBlocked },
    nodes: ["node1", "node2"],
    async run(network) {
      for (const board of network.boards) network.powerOn(board);
      await network.pass(24_000);
    },
  },
  boot("rom-takes-no-offer", { model: "3b", faults: dhcpBlocked, forMs: 26_000, bySeconds: 30 }),
  boot("rom-gave-up", {
    model: "3b",
    faults: dhcpBlocked,
    forMs: 90_000,
    bySeconds: 55,
    after: ["rom-takes-no-offer"],
  }),
  boot("proxy-no-address", { mode: "proxy", router: false, forMs: 60_000, bySeconds: 30 }),
  boot("offer-not-taken", { faults: dhcpBlocked, forMs: 60_000, bySeconds: 30 }),
  boot("no-file-request", { tftp: "closed", forMs: 28_000, bySeconds: 20 }),
  boot("rom-no-file-request", { model: "3b+", tftp: "closed", offMs: 8_000, forMs: 25_000, bySeconds: 30 }),
  boot("rom-asks-again", { model: "3b+", tftp: "closed", bySeconds: 40 }),
  boot("silent-after-offer", { faults: dhcpBlocked, offMs: 2_000, forMs: 60_000, bySeconds: 45 }),
  boot("tries-over", {
    faults: dhcpBlocked,
    firmware: { eeprom: { networkTries: 1 } },
    forMs: 200_000,
    bySeconds: 130,
    after: ["offer-not-taken"],
  }),
  besideOtherServer("offer-without-boot-server", "address-only"),
  besideOtherServer("next-server-only", "next-server"),
  besideOtherServer("boot-server-as-bytes", "binary-option-66"),
  besideOtherServer("boot-file-for-pcs", "x86-bootfile"),
  besideOtherServer("menu-without-spaces", "menu-without-spaces", "3b"),
  besideOtherServer("menu-without-structure", "raw-option-43"),
  besideOtherServer("menu-entry-not-first", "second-menu-entry", "4", "2019-10-16"),
];

describe("a board that asks for an address", () => {
  scenarios(TABLE);
});
