import { describe, expect, it } from "vitest";
import { type Ipv4, parseMac } from "../bytes/addresses.ts";
import { type DhcpOption, makeOption, OPTIONS } from "./options.ts";
import { readOtherServer } from "./other-server.ts";
import { makePacket } from "./packet.ts";
import { pxeMenu } from "./pxe.ts";

const ROUTER = "10.77.0.254" as Ipv4;
const mac = parseMac("dc:a6:32:70:da:b0");

function offer(options: DhcpOption[], fields = {}) {
  return makePacket({
    op: "reply",
    transactionId: 1,
    mac,
    yourAddress: "10.77.0.20" as Ipv4,
    options: [makeOption(OPTIONS.messageType, "OFFER"), ...options],
    ...fields,
  });
}
const menu = (value: Uint8Array) => ({ code: OPTIONS.vendorSpecific.code, value });
const option66 = (value: Uint8Array) => ({ code: OPTIONS.tftpServerName.code, value });

describe("another DHCP server's answer", () => {
  it.each([
    ["nothing about booting", [], "none"],
    ["option 66 as text", [option66(Buffer.from("10.77.0.1"))], "address"],
    ["option 66 as four bytes", [option66(Uint8Array.of(10, 77, 0, 1))], "binary-address"],
    ["option 66 as text with a NUL behind it", [option66(Buffer.from("10.77.0.1\0"))], "name"],
    ["option 66 as a host name", [option66(Buffer.from("boot.lan"))], "name"],
    ["the menu with its three spaces", [menu(pxeMenu())], "menu"],
    ["the menu without them", [menu(pxeMenu("Raspberry Pi Boot"))], "menu-bare"],
    ["the text alone", [menu(Buffer.from("Raspberry Pi Boot   "))], "menu-text"],
    ["a menu of somebody else's", [menu(pxeMenu("Install Windows"))], "none"],
    ["a menu cut short", [menu(pxeMenu().subarray(0, 30))], "none"],
  ] as const)("has %s", (_, options, boot) => {
    expect(readOtherServer(offer([...options]), ROUTER)).toMatchObject({
      message: "OFFER",
      server: ROUTER,
      address: "10.77.0.20",
      boot,
    });
  });

  it("is known by option 54, and tells what firmware does not read", () => {
    const identifier = makeOption(OPTIONS.serverIdentifier, "10.77.0.253" as Ipv4);
    const packet = offer([identifier], { nextServer: "10.77.0.1" as Ipv4, bootFile: "undionly.kpxe" });
    expect(readOtherServer(packet, ROUTER)).toEqual({
      message: "OFFER",
      server: "10.77.0.253",
      address: "10.77.0.20",
      boot: "none",
      nextServer: "10.77.0.1",
      bootFile: "undionly.kpxe",
    });
  });

  it("is no client's request", () => {
    expect(readOtherServer({ ...offer([]), op: "request" }, ROUTER)).toBeUndefined();
  });
});
