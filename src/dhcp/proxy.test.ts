import { describe, expect, it } from "vitest";
import { parseIpv4, parseMac } from "../bytes/addresses.ts";
import { type MessageType, makeOption, OPTIONS, readOption } from "./options.ts";
import { type DhcpPacket, decodePacket, encodePacket, makePacket } from "./packet.ts";
import { type DhcpClient, readClientFacts } from "./policy.ts";
import { proxyResponder } from "./proxy.ts";
import { pxeMenu } from "./pxe.ts";

const server = parseIpv4("10.77.0.1");
const respond = proxyResponder({ mode: "proxy", serverAddress: server });
const node: DhcpClient = { kind: "pi", node: "node1" };
const guid = Buffer.from("00525069341131a000322ef8ed1045155b", "hex");

function request(message: MessageType, options: DhcpPacket["options"] = []): DhcpPacket {
  return makePacket({
    op: "request",
    transactionId: 0x0263d70c,
    mac: parseMac("dc:a6:32:2e:f8:ed"),
    options: [makeOption(OPTIONS.messageType, message), ...options],
  });
}
const pxe = [makeOption(OPTIONS.vendorClass, "PXEClient:Arch:00000:UNDI:002001"), makeOption(OPTIONS.clientGuid, guid)];
const ask = (packet: DhcpPacket, message: MessageType, client: DhcpClient) =>
  respond(packet, readClientFacts(packet, message), client, 0);

describe("option 43", () => {
  it("is the list that dnsmasq sends, byte for byte", () => {
    expect(Buffer.from(pxeMenu("Raspberry Pi Boot")).toString("hex")).toBe(
      "0601030a0400505845091400001152617370626572727920506920426f6f74ff",
    );
  });

  it("has the three spaces of the Pi 3B boot ROM and 35 bytes", () => {
    const menu = Buffer.from(pxeMenu());
    expect(menu.length).toBe(35);
    expect(menu.toString("hex")).toBe("0601030a0400505845091700001452617370626572727920506920426f6f74202020ff");
  });
});

describe("dnsmasq's answer to a Pi 4, as captured", () => {
  it("is read, and written back byte for byte", () => {
    const captured = Buffer.concat([
      encodePacket(
        makePacket({ op: "reply", transactionId: 1, mac: parseMac("dc:a6:32:2e:f8:ed"), flags: 0x8000 }),
      ).subarray(0, 236),
      Buffer.from("6382536335010236040a4d00013c09505845436c69656e746111", "hex"),
      guid,
      Buffer.from("2b200601030a0400505845091400001152617370626572727920506920426f6f74ffff", "hex"),
    ]);
    // 314 bytes on the wire: dnsmasq ends there, and so do we.
    expect(captured.length).toBe(314);
    const packet = decodePacket(captured);
    expect(packet.options.map(({ code }) => code)).toEqual([53, 54, 60, 97, 43]);
    expect(readOption(packet.options, OPTIONS.serverIdentifier)).toBe(server);
    expect(readOption(packet.options, OPTIONS.vendorSpecific)).toEqual(Buffer.from(pxeMenu("Raspberry Pi Boot")));
    expect(Buffer.from(encodePacket(packet)).toString("hex")).toBe(captured.toString("hex"));
  });
});

describe("the proxy", () => {
  it("answers the DISCOVER of a node with the boot server and no address", () => {
    const decision = ask(request("DISCOVER", pxe), "DISCOVER", node);
    if (decision.kind !== "reply") throw new Error(decision.reason);
    const bytes = Buffer.from(encodePacket(decision.reply));
    // op 2, xid, secs 0, flags 8000, ciaddr 0, yiaddr 0, siaddr ours, giaddr 0, chaddr
    expect(bytes.subarray(0, 34).toString("hex")).toBe(
      "020106000263d70c00008000000000000000000" + "00a4d000100000000dca6322ef8ed",
    );
    const options = Buffer.concat([
      Buffer.from("63825363350102", "hex"),
      Buffer.from("36040a4d0001", "hex"),
      Buffer.from("3c09505845436c69656e74", "hex"),
      Buffer.from("6111", "hex"),
      guid,
      Buffer.from("2b23", "hex"),
      pxeMenu(),
      Buffer.from("420931302e37372e302e31ff", "hex"),
    ]);
    expect(bytes.subarray(236, 236 + options.length).toString("hex")).toBe(options.toString("hex"));
  });

  const silences: [string, DhcpPacket, MessageType, DhcpClient, string][] = [
    ["a REQUEST, which names the router", request("REQUEST", pxe), "REQUEST", node, "only a DISCOVER"],
    ["what is no Raspberry Pi", request("DISCOVER", pxe), "DISCOVER", { kind: "other" }, "not a Raspberry Pi"],
    ["a Pi that no node names", request("DISCOVER", pxe), "DISCOVER", { kind: "unknown-pi" }, "no node has"],
    ["the operating system of a node", request("DISCOVER"), "DISCOVER", node, "not a network boot request"],
  ];
  it.each(silences)("is silent on %s", (_, packet, message, client, reason) => {
    const decision = ask(packet, message, client);
    expect(decision).toMatchObject({ kind: "ignore", reason: expect.stringContaining(reason) });
  });
});
