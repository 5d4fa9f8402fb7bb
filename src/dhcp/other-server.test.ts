import { describe, expect, it } from "vitest";
import { type Ipv4, parseMac } from "../bytes/addresses.ts";
import { type DhcpOption, makeOption, OPTIONS } from "./options.ts";
import { readOtherServer } from "./other-server.ts";
import { makePacket } from "./packet.ts";
import { pxeMenu } from "./pxe.ts";

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");
const TEXT = "Raspberry Pi Boot";
const TINKERBELL = "060108 0914 0000 11 5261737062657272792050692042 6f6f74 0a04 00 505845";
/** With three spaces. */
const MENU_ITEM = "0917 0000 14 5261737062657272792050692042 6f6f74 202020";
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
    [
      "what ISC dhcpd is told to send: the text alone, and option 66",
      [menu(Buffer.from("Raspberry Pi Boot")), option66(Buffer.from("10.77.0.1"))],
      "address",
    ],
    ["option 66 of RouterOS, given as 0x31302e31302e392e31", [option66(hex("31302e31302e392e31"))], "address"],
    [
      "the menu without the spaces, and option 66",
      [menu(pxeMenu(TEXT)), option66(Buffer.from("10.77.0.1"))],
      "address",
    ],
    ["the menu, and option 66 as four bytes", [menu(pxeMenu()), option66(Uint8Array.of(10, 77, 0, 1))], "menu"],
    ["the menu of Tinkerbell, without an end", [menu(hex(TINKERBELL))], "menu-bare"],
    ["a list of boot servers before the menu", [menu(hex(`0807 0000 01 0a4d0001 ${MENU_ITEM} ff`))], "menu"],
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

  const PC = "0000 02 5043";
  const PI = "0000 14 5261737062657272792050692042 6f6f74 202020";
  it.each([
    ["first", `091c ${PI} ${PC}`, undefined],
    ["second", `091c ${PC} ${PI}`, true],
    ["first of the second menu", `0905 ${PC} 0917 ${PI}`, true],
  ])("whose menu has the Pi's entry as the %s tells its place", (_, sent, isLaterEntry) => {
    expect(readOtherServer(offer([menu(hex(`060103 ${sent} ff`))]), ROUTER)).toMatchObject({ boot: "menu" });
    expect(readOtherServer(offer([menu(hex(`060103 ${sent} ff`))]), ROUTER)?.isLaterEntry).toBe(isLaterEntry);
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
