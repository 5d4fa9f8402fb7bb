import { expect, it } from "vitest";
import { MemorySockets } from "../../test/memory-network.ts";
import { IPV4_BROADCAST, type Ipv4, parseMac } from "../bytes/addresses.ts";
import { makeOption, OPTIONS } from "./options.ts";
import { listenToOtherServers } from "./other-servers.ts";
import { encodePacket, makePacket } from "./packet.ts";

const OURS = "10.77.0.1" as Ipv4;
const ROUTER = "10.77.0.254" as Ipv4;
const mac = parseMac("dc:a6:32:70:da:b0");

function offerOf(server: Ipv4): Uint8Array {
  return encodePacket(
    makePacket({
      op: "reply",
      transactionId: 1,
      mac,
      yourAddress: "10.77.0.20" as Ipv4,
      options: [makeOption(OPTIONS.messageType, "OFFER"), makeOption(OPTIONS.serverIdentifier, server)],
    }),
  );
}

it("tells of others' answers, and neither of ours nor of what is damaged", async () => {
  const sockets = new MemorySockets();
  const told: unknown[] = [];
  const stop = await listenToOtherServers({
    sockets,
    interfaceName: "eth1",
    ownAddress: OURS,
    port: 68,
    onAnswer: (to, answer) => told.push([to, answer.server, answer.message]),
  });
  // Nothing but broadcasts, and beside this machine's own DHCP client.
  const where = { address: IPV4_BROADCAST, port: 68, shared: true, interfaceName: "eth1" };
  expect(sockets.bindings).toEqual([where]);
  sockets.deliver(68, offerOf(ROUTER), { address: ROUTER, port: 67 });
  sockets.deliver(68, offerOf(OURS), { address: OURS, port: 67 });
  sockets.deliver(68, offerOf(ROUTER), { address: OURS, port: 67 });
  sockets.deliver(68, Buffer.from("damaged"), { address: ROUTER, port: 67 });
  expect(told).toEqual([[mac, ROUTER, "OFFER"]]);
  stop();
  expect(sockets.openCount).toBe(0);
});
