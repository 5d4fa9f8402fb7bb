import { describe, expect, it } from "vitest";
import { parseIpv4, parseMac } from "../bytes/addresses.ts";
import { type MessageType, makeOption, OPTIONS, readOption } from "./options.ts";
import { type DhcpPacket, decodePacket, encodePacket, makePacket } from "./packet.ts";
import { type DhcpClient, readClientFacts } from "./policy.ts";
import { proxyResponder } from "./proxy.ts";
import { pxeMenu } from "./pxe.ts";
import type { FirmwareNeeds } from "./reply-timing.ts";

const server = parseIpv4("10.77.0.1");
const respond = proxyResponder({ mode: "proxy", serverAddress: server });
const node: DhcpClient = { kind: "pi", node: "node1" };
const PI4_MAC = parseMac("dc:a6:32:2e:f8:ed");
const guid = Buffer.from("00525069341131a000322ef8ed1045155b", "hex");

function request(message: MessageType, options: DhcpPacket["options"] = []): DhcpPacket {
  return makePacket({
    op: "request",
    transactionId: 0x0263d70c,
    mac: PI4_MAC,
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

const MENU_ONLY: FirmwareNeeds = { toMacOnly: false, menuOnly: true, nudgesAtMs: [], spacingMs: 0 };

const VENDOR_CLASS = "PXEClient:Arch:00000:UNDI:002001";

/** The 322 bytes of a Pi 4's DISCOVER, as published. */
function discoverOfPi4(): Uint8Array {
  const head = encodePacket(makePacket({ op: "request", transactionId: 0x0263d70c, mac: PI4_MAC })).subarray(0, 236);
  const options = [
    "63825363 350101 370e 0103 2b3c4243 8081828384858687 5d020000 5e03010201 6111",
    guid.toString("hex"),
    "3c20",
    Buffer.from(VENDOR_CLASS).toString("hex"),
    "ff",
  ];
  return Buffer.concat([head, Buffer.from(options.join("").replaceAll(" ", ""), "hex")]);
}

const DNSMASQ_MENU = "2b20 0601030a0400505845091400001152617370626572727920506920426f6f74ff".replace(" ", "");
const OUR_MENU = "2b23 0601030a0400505845091700001452617370626572727920506920426f6f74202020ff".replace(" ", "");

/** What dnsmasq 2.90 answered it (`dhcp-range=…,proxy`, `pxe-service=0,"Raspberry Pi Boot"`): 314 bytes. */
const CAPTURED = Buffer.concat([
  encodePacket(makePacket({ op: "reply", transactionId: 0x0263d70c, mac: PI4_MAC, flags: 0x8000 })).subarray(0, 236),
  Buffer.from("6382536335010236040a4d00013c09505845436c69656e746111", "hex"),
  guid,
  Buffer.from(`${DNSMASQ_MENU}ff`, "hex"),
]);

describe("the offer to a Pi 4, beside dnsmasq's as captured", () => {
  const discover = decodePacket(discoverOfPi4());
  const offer = (client: DhcpClient): Buffer => {
    const decision = ask(discover, "DISCOVER", client);
    if (decision.kind !== "reply") throw new Error("It is not answered");
    return Buffer.from(encodePacket(decision.reply));
  };

  it("answers the published bytes", () => {
    expect(discoverOfPi4()).toHaveLength(322);
    expect(Buffer.from(encodePacket(discover)).toString("hex")).toBe(Buffer.from(discoverOfPi4()).toString("hex"));
  });

  it("is dnsmasq's to the byte, but for siaddr and the three spaces of the menu text", () => {
    expect(CAPTURED).toHaveLength(314);
    const ours = offer({ kind: "pi", node: "node1", needs: MENU_ONLY });
    expect(ours.subarray(20, 24).toString("hex")).toBe("0a4d0001");
    ours.fill(0, 20, 24);
    expect(ours.toString("hex").replace(OUR_MENU, DNSMASQ_MENU)).toBe(CAPTURED.toString("hex"));
  });

  it("has option 66 before its end for firmware that reads it", () => {
    const menuOnly = offer({ kind: "pi", node: "node1", needs: MENU_ONLY }).toString("hex");
    const option66 = `4209${Buffer.from("10.77.0.1").toString("hex")}`;
    expect(offer(node).toString("hex")).toBe(menuOnly.replace(/ff$/, `${option66}ff`));
  });

  it("is the same for both stages of a Pi 3, which ask one after the other", () => {
    const stages = [`00${"44".repeat(16)}`, `00${"164c6cb6".repeat(4)}`].map((sent) => {
      const options = [
        makeOption(OPTIONS.vendorClass, VENDOR_CLASS),
        makeOption(OPTIONS.clientGuid, Buffer.from(sent, "hex")),
      ];
      const decision = ask(request("DISCOVER", options), "DISCOVER", { kind: "pi", node: "node1", needs: MENU_ONLY });
      if (decision.kind !== "reply") throw new Error("It is not answered");
      return Buffer.from(encodePacket(decision.reply)).toString("hex").replace(sent, "its own");
    });
    expect(stages[0]).toBe(stages[1]);
  });

  it("has the options of dnsmasq's in its order, which are read and written back byte for byte", () => {
    const packet = decodePacket(CAPTURED);
    expect(packet.options.map(({ code }) => code)).toEqual([53, 54, 60, 97, 43]);
    expect(readOption(packet.options, OPTIONS.serverIdentifier)).toBe(server);
    expect(readOption(packet.options, OPTIONS.vendorSpecific)).toEqual(Buffer.from(pxeMenu("Raspberry Pi Boot")));
    expect(Buffer.from(encodePacket(packet)).toString("hex")).toBe(CAPTURED.toString("hex"));
  });
});

describe("the proxy", () => {
  it("answers the DISCOVER of a node with the boot server and no address", () => {
    const decision = ask(request("DISCOVER", pxe), "DISCOVER", node);
    if (decision.kind !== "reply") throw new Error("It is not answered");
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
    ["what is no Raspberry Pi", request("DISCOVER", pxe), "DISCOVER", { kind: "other" }, "not a Raspberry Pi"],
    ["a Pi that no node names", request("DISCOVER", pxe), "DISCOVER", { kind: "unknown-pi" }, "no node has"],
    ["the operating system of a node", request("DISCOVER"), "DISCOVER", node, "not a network boot request"],
  ];
  it("says nothing, and tells nothing, of a REQUEST: it names the router", () => {
    expect(ask(request("REQUEST", pxe), "REQUEST", node)).toEqual({ kind: "ignore" });
  });

  const vendorClass = (text: string) => makeOption(OPTIONS.vendorClass, text);
  const architecture = (hex: string) => makeOption(OPTIONS.clientArchitecture, Buffer.from(hex, "hex"));
  it.each<[string, DhcpPacket["options"], string | undefined]>([
    ["the bootloader", [architecture("0000"), vendorClass(VENDOR_CLASS)], undefined],
    ["one that leaves option 60 out", [architecture("0000")], undefined],
    ["one that leaves option 93 out", [vendorClass(VENDOR_CLASS)], undefined],
    [
      "iPXE, by its user class",
      [architecture("0000"), vendorClass(VENDOR_CLASS), { code: 77, value: Buffer.from("iPXE") }],
      "it is iPXE",
    ],
    [
      "iPXE, by its user class with a length (RFC 3004)",
      [vendorClass(VENDOR_CLASS), { code: 77, value: Buffer.from("\x04iPXE") }],
      "it is iPXE",
    ],
    [
      "iPXE, by its own option",
      [vendorClass(VENDOR_CLASS), { code: 175, value: Uint8Array.of(0xb1, 0) }],
      "it is iPXE",
    ],
    ["iPXE on UEFI", [vendorClass("PXEClient:Arch:00011:UNDI:003010"), architecture("000b")], "architecture 11"],
    ["UEFI that lists two", [vendorClass(VENDOR_CLASS), architecture("0000000b")], "architecture 11"],
    ["UEFI by option 60 alone", [vendorClass("PXEClient:Arch:00007:UNDI:003016")], "architecture 7"],
    ["U-Boot, 64 bits", [architecture("0016"), vendorClass("U-Boot.armv8")], "it is U-Boot.armv8"],
    ["U-Boot with PXE", [architecture("0016"), vendorClass("PXEClient:Arch:00022:UNDI:003000")], "architecture 22"],
    ["U-Boot without a name", [architecture("0015")], "architecture 21"],
    ["Linux", [vendorClass("Linux ipconfig")], "not a network boot request"],
    [
      "a system that names an architecture",
      [vendorClass("dhcpcd"), architecture("0000")],
      "not a network boot request",
    ],
    ["a client that says nothing", [], "not a network boot request"],
  ])("takes %s on a node's board for what it is", (_, options, reason) => {
    const decision = ask(request("DISCOVER", options), "DISCOVER", node);
    if (reason === undefined) expect(decision.kind).toBe("reply");
    else {
      expect(decision).toEqual({
        kind: "ignore",
        reason: expect.stringContaining(reason),
        cause: "not-network-boot",
      });
    }
  });

  it.each(silences)("is silent on %s", (_, packet, message, client, reason) => {
    const decision = ask(packet, message, client);
    expect(decision).toMatchObject({ kind: "ignore", reason: expect.stringContaining(reason) });
  });
});
