/** Our Pis beside somebody else's DHCP server: which of its answers leads where. */
import { describe, expect, it } from "vitest";
import { NETMASK, SERVER, VirtualNetwork } from "../../../test/virtual-network.ts";
import type { Ipv4 } from "../../bytes/addresses.ts";
import { decodePacket, printPacket } from "../../dhcp/packet.ts";
import type { FirmwareSettings } from "../firmware-settings.ts";
import { OTHER_SERVER_ANSWERS, type OtherServerAnswer, startOtherDhcpServer } from "./other-dhcp-server.ts";

const OTHER = "10.77.0.200" as Ipv4;

interface Scene {
  model?: string;
  answers: OtherServerAnswer;
  /** Ours is there as well. */
  ours?: "proxy" | "server" | "none";
  delayMs?: number;
  bootServer?: Ipv4;
  settings?: Partial<FirmwareSettings>;
}

async function boot({ model = "4", answers, ours = "none", delayMs = 0, bootServer, settings }: Scene) {
  const network = new VirtualNetwork();
  const { clock, lan } = network;
  const board = network.board(model);
  const pool = { address: OTHER, netmask: NETMASK, firstGiven: "10.77.0.100" as Ipv4 };
  startOtherDhcpServer({ port: lan.plug(), clock, ...pool, answers, delayMs, ...(bootServer && { bootServer }) });
  await network.serve({ mode: ours, boards: [board] });
  return network.run(network.boot(board, settings));
}

describe("beside our proxy a Pi 4 boots from us when the other server says", () => {
  it.each<OtherServerAnswer>(["address-only", "next-server", "binary-option-66", "x86-bootfile", "raw-option-43"])(
    "%s",
    async (answers) => {
      const { booted } = await boot({ answers, ours: "proxy" });
      expect(booted).toMatchObject({ serverAddress: SERVER, ownAddress: "10.77.0.100" });
    },
  );

  it.each(["3b", "3b+", "5"])("a PC's menu, and so does a Pi %s", async (model) => {
    const { booted } = await boot({ model, answers: "x86-bootfile", ours: "proxy" });
    expect(booted?.serverAddress).toBe(SERVER);
  });
});

describe("a Pi 4 that only the other server answers", () => {
  it.each<[OtherServerAnswer, string]>([
    ["address-only", "no-boot-server"],
    ["next-server", "no-boot-server"],
    ["binary-option-66", "no-boot-server"],
    ["x86-bootfile", "no-boot-server"],
    ["raw-option-43", "no-boot-server"],
    ["option-66", "file-timeout"],
    ["menu-without-spaces", "file-timeout"],
    ["second-menu-entry", "file-timeout"],
  ])("with %s fails: %s", async (answers, reason) => {
    const { failure, events } = await boot({ answers });
    expect(failure?.reason).toBe(reason);
    if (reason === "file-timeout")
      expect(events.find(({ kind }) => kind === "address")).toMatchObject({ tftpServer: OTHER });
  });

  it("and of 2019 does not see the second entry of its menu", async () => {
    const settings = { released: "2019-10-16" };
    expect((await boot({ answers: "second-menu-entry", settings })).failure?.reason).toBe("no-boot-server");
  });

  it("boots from where option 66 leads", async () => {
    expect((await boot({ answers: "option-66", bootServer: SERVER })).booted?.serverAddress).toBe(SERVER);
  });
});

it("a second server that is faster than ours, and is none of a Pi's, takes it away", async () => {
  const { failure } = await boot({ answers: "option-66", ours: "server", bootServer: "10.77.0.99" as Ipv4 });
  expect(failure?.reason).toBe("no-arp-reply");
});

it("answers are well formed as their readers see them", async () => {
  for (const answers of OTHER_SERVER_ANSWERS) {
    const network = new VirtualNetwork();
    const { clock, lan } = network;
    const pool = { address: OTHER, netmask: NETMASK, firstGiven: "10.77.0.100" as Ipv4 };
    startOtherDhcpServer({ port: lan.plug(), clock, ...pool, answers, broadcasts: true });
    const heard: string[] = [];
    network.host("10.77.0.3" as Ipv4).listen(68, ({ bytes }) => void heard.push(printPacket(decodePacket(bytes))));
    await network.run(network.boot(network.board("4"), { dhcpTimeoutMs: 1000, tftpFileTimeoutMs: 1000 }));
    expect(heard[0]).toContain("OFFER");
  }
});
