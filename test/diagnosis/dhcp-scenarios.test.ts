/** Boards that ask for an address and do not get on: virtual Pis on a network with the fault. */
import { describe } from "vitest";
import { type Ipv4, parseMac } from "../../src/bytes/addresses.ts";
import { type OtherServerAnswer, startOtherDhcpServer } from "../../src/simulator/faults/other-dhcp-server.ts";
import { NETMASK } from "../virtual-network.ts";
import { makeTestBoard } from "./diagnosed-network.ts";
import { LinuxClient } from "./linux-client.ts";
import { type Scenario, scenarios } from "./scenario.ts";

const OTHER = "10.77.0.253" as Ipv4;
const dhcpBlocked = [{ name: "firewall", protocol: "udp", ports: [[68, 68]] }] as const;

const boards = (model: string, count: number) =>
  Array.from({ length: count }, (_, index) => makeTestBoard(model, index + 1));

/** A board that asks beside a server of somebody else, which Bramble does not answer beside. */
function besideOtherServer(cause: string, answers: OtherServerAnswer, model = "4"): Scenario {
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
      network.powerOn();
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
  {
    cause: "no-address-set-aside",
    bySeconds: 12,
    settings: { reserved: false },
    async run(network) {
      network.powerOn();
      await network.pass(30_000);
    },
  },
  {
    cause: "dhcp-answer-failed",
    bySeconds: 12,
    settings: { beforeReply: () => Promise.reject(new Error("ENOSPC: no space left on device")) },
    async run(network) {
      network.powerOn();
      await network.pass(30_000);
    },
  },
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
  {
    cause: "rom-takes-no-offer",
    bySeconds: 30,
    settings: { model: "3b", faults: dhcpBlocked },
    async run(network) {
      network.powerOn();
      await network.pass(26_000);
    },
  },
  {
    cause: "rom-gave-up",
    bySeconds: 55,
    after: ["rom-takes-no-offer"],
    settings: { model: "3b", faults: dhcpBlocked },
    async run(network) {
      network.powerOn();
      await network.pass(90_000);
    },
  },
  {
    cause: "proxy-no-address",
    bySeconds: 30,
    settings: { mode: "proxy", router: false },
    async run(network) {
      network.powerOn();
      await network.pass(60_000);
    },
  },
  {
    cause: "offer-not-taken",
    bySeconds: 30,
    settings: { faults: dhcpBlocked },
    async run(network) {
      network.powerOn();
      await network.pass(60_000);
    },
  },
  {
    cause: "no-file-request",
    bySeconds: 20,
    settings: { tftp: "closed" },
    async run(network) {
      network.powerOn();
      await network.pass(28_000);
    },
  },
  {
    cause: "rom-no-file-request",
    bySeconds: 30,
    settings: { model: "3b+", tftp: "closed" },
    async run(network) {
      const pi = network.powerOn();
      await network.pass(8_000);
      pi.powerOff();
      await network.pass(25_000);
    },
  },
  {
    cause: "rom-asks-again",
    bySeconds: 40,
    settings: { model: "3b+", tftp: "closed" },
    async run(network) {
      network.powerOn();
      await network.pass(30_000);
    },
  },
  {
    cause: "silent-after-offer",
    bySeconds: 45,
    settings: { faults: dhcpBlocked },
    async run(network) {
      const pi = network.powerOn();
      await network.pass(2_000);
      pi.powerOff();
      await network.pass(60_000);
    },
  },
  {
    cause: "tries-over",
    bySeconds: 130,
    after: ["offer-not-taken"],
    settings: { faults: dhcpBlocked },
    async run(network) {
      network.powerOn(network.boards[0], { firmware: { eeprom: { networkTries: 1 } } });
      await network.pass(200_000);
    },
  },
  besideOtherServer("offer-without-boot-server", "address-only"),
  besideOtherServer("next-server-only", "next-server"),
  besideOtherServer("boot-server-as-bytes", "binary-option-66"),
  besideOtherServer("boot-file-for-pcs", "x86-bootfile"),
  besideOtherServer("menu-without-spaces", "menu-without-spaces", "3b"),
  besideOtherServer("menu-without-structure", "raw-option-43"),
];

describe("a board that asks for an address", () => {
  scenarios(TABLE);
});
