/** A whole boot of a virtual Pi 4 on loopback, as `bramble logs` and `bramble capture` have it afterwards. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Ipv4 } from "../../src/bytes/addresses.ts";
import { bootOverNetwork } from "../../src/simulator/firmware.ts";
import { type LoopbackNetwork, openLoopbackNetwork } from "../../src/simulator/loopback-network.ts";
import { findVirtualModel, makeBoard } from "../../src/simulator/models.ts";
import { seededRandom } from "../../src/simulator/seed.ts";
import { systemClock } from "../../src/system/clock.ts";
import { createUdpSockets } from "../../src/system/udp.ts";
import { requireTools } from "../lab/required-tools.ts";
import { CLUSTER_TOOLS, LoopbackCluster } from "./loopback-cluster.ts";

const board = makeBoard(findVirtualModel("4")!, {}, seededRandom(1));
const { mac, serial } = board;

describe.skipIf(requireTools(CLUSTER_TOOLS))("what is kept of a boot", () => {
  const cluster = new LoopbackCluster([`{ name: node1, mac: "${mac}", serial: "${serial}", address: 127.0.0.11 }`]);
  let loopback: LoopbackNetwork;

  beforeAll(async () => {
    await cluster.start({ network: ["interface: lo", "dhcp: server", "subnet: 127.0.0.0/24"] });
    const manager = { address: "127.0.0.1" as Ipv4, dhcpPort: cluster.port("dhcp"), tftpPort: cluster.port("tftp") };
    loopback = await openLoopbackNetwork({
      sockets: await createUdpSockets(),
      clock: systemClock,
      manager,
      onWarning: (message) => expect(message).toBe(""),
    });
    const world = { port: loopback.plug(), clock: systemClock, random: seededRandom(9), report: () => {} };
    // At most 32 characters.
    const netconsole = `@127.0.0.11/,${cluster.port("netconsole")}@127.0.0.1/`;
    await bootOverNetwork(board, world, { linkUpMs: 1, dhcpTimeoutMs: 8000, eeprom: { netconsole } });
  });
  afterAll(async () => {
    loopback?.close();
    await cluster.remove();
  });

  it("is all of its packets, of files the beginning and the end", async () => {
    const { stdout } = await cluster.ask("capture", "node1");
    const messages = Array.from(
      stdout.matchAll(/(->|<-) .*DHCP (?:request|reply) (\S+) .*\n +53 message type: (\w+)/g),
    );
    expect(messages.map(([, arrow, client, message]) => `${arrow} ${client} ${message}`)).toEqual([
      `-> ${mac} DISCOVER`,
      `<- ${mac} OFFER`,
      `-> ${mac} REQUEST`,
      `<- ${mac} ACK`,
    ]);
    expect(stdout).toContain(`MAC …:${mac.slice(6)}, serial ${serial})`);
    const asked = Array.from(stdout.matchAll(/-> .*TFTP read "([^"]+)"/g), ([, path]) => path);
    expect(asked).toContain(`${serial}/config.txt`);
    // Most of what firmware asks for is not there, or only looked at.
    expect(stdout).toMatch(/<- .*TFTP error 1 /);
    expect(stdout).toMatch(/<- .*TFTP option acknowledge tsize=\d+ blksize=\d+\n/);
    const blocks = Array.from(stdout.matchAll(/<- .*TFTP data block (\d+), (\d+) bytes/g));
    const firsts = blocks.filter(([, block]) => block === "1");
    const lasts = blocks.filter(([, , size]) => Number(size) < 1024);
    expect(firsts.length).toBeGreaterThan(3);
    expect(lasts.length).toBeGreaterThanOrEqual(3);
  });

  it("is a log with each file that it asked for and what came of it", async () => {
    const { stdout } = await cluster.ask("logs", "node1");
    for (const word of [
      "dhcp  DISCOVER from",
      "dhcp  OFFER by server",
      `asks for ${serial}/config.txt`,
      "is not there",
    ]) {
      expect(stdout).toContain(word);
    }
    expect(stdout).toMatch(/tftp {2}\S*config\.txt {2}\d+ B in /);
    expect(stdout).toMatch(/node1 {7}cons {2}\S.*\n/);
  });
});
