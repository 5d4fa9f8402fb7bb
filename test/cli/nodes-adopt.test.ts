/** Pis that ask to boot and are no nodes: seen, adopted by hand and by themselves, and put in the place of others. */
import { createSocket, type Socket } from "node:dgram";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Mac, macToBytes, parseMac } from "../../src/bytes/addresses.ts";
import { ApiClient } from "../../src/cli/api-client.ts";
import type { BootEvent } from "../../src/cluster/event.ts";
import type { UnknownPi } from "../../src/cluster/unknown-pis.ts";
import { makeOption, OPTIONS } from "../../src/dhcp/options.ts";
import { encodePacket, makePacket } from "../../src/dhcp/packet.ts";
import { requireTools } from "../lab/required-tools.ts";
import { CLUSTER_TOOLS, LoopbackCluster } from "./loopback-cluster.ts";

const PI4 = { mac: parseMac("e4:5f:01:09:02:f7"), serial: "91cdf03d", model: "4" };
const OTHER = { mac: parseMac("dc:a6:32:2e:f8:ed"), serial: "5b154510", model: "4" };
const FIRMWARE = "PXEClient:Arch:00000:UNDI:002001";
const LINE = '{ name: node1, mac: "dc:a6:32:00:00:01", model: "5" }   # top shelf';

/** A Pi 4's, with option 97 as its bootloader fills it. */
function discover({ mac, serial }: Board, vendorClass = FIRMWARE): Uint8Array {
  const serialBytes = Buffer.from(serial, "hex").reverse();
  const guid = Buffer.concat([Buffer.from("00346950521431d000", "hex"), macToBytes(mac).subarray(2), serialBytes]);
  const options = [
    makeOption(OPTIONS.messageType, "DISCOVER"),
    makeOption(OPTIONS.clientArchitecture, Uint8Array.of(0, 0)),
    makeOption(OPTIONS.clientGuid, guid),
    makeOption(OPTIONS.vendorClass, vendorClass),
  ];
  return encodePacket(makePacket({ op: "request", transactionId: 0x0263d70c, mac, options }));
}

interface Board {
  mac: Mac;
  serial: string;
}

class DhcpLab {
  readonly cluster = new LoopbackCluster([LINE]);
  readonly api = new ApiClient(this.cluster.work.path("state/manager.sock"));
  readonly #socket: Socket = createSocket("udp4");

  send(packet: Uint8Array): Promise<void> {
    return new Promise((done) => this.#socket.send(packet, this.cluster.port("dhcp"), "127.0.0.1", () => done()));
  }

  async unknown(): Promise<UnknownPi[]> {
    return JSON.parse((await this.cluster.ask("nodes", "discovered", "--json")).stdout) as UnknownPi[];
  }

  manifest(): string {
    return this.cluster.work.read("bramble.yaml");
  }

  async eventsOf({ mac }: Board): Promise<BootEvent[]> {
    const found: BootEvent[] = [];
    for await (const event of this.api.lines<BootEvent>("/v1/events")) {
      if ("mac" in event && event.mac === mac) found.push(event);
    }
    return found;
  }

  /** Lets the board ask, now and again, until an event of the kind tells of it. */
  async askUntil(board: Board, kind: BootEvent["kind"]): Promise<BootEvent> {
    let found: BootEvent | undefined;
    const ask = async () => {
      await this.send(discover(board));
      found = (await this.eventsOf(board)).findLast((event) => event.kind === kind);
      return found?.kind;
    };
    await expect.poll(ask, { timeout: 20_000, interval: 100 }).toBe(kind);
    return found!;
  }

  async remove(): Promise<void> {
    this.#socket.close();
    await this.cluster.remove();
  }
}

const skipped = requireTools(CLUSTER_TOOLS);

describe.skipIf(skipped)("a Pi that asks to boot", () => {
  const lab = new DhcpLab();
  const { cluster } = lab;
  beforeAll(() => cluster.start({ network: ["dhcp: proxy"] }), 60_000);
  afterAll(() => lab.remove());

  it("is listed with serial number, MAC and model, also after a restart and without a manager; others are not", async () => {
    expect((await cluster.ask("nodes", "discovered")).stdout).toBe("No Pi has asked to boot that is no node\n");
    await lab.send(discover(OTHER, "U-Boot.armv8"));
    await lab.send(discover(OTHER, "Linux ipconfig"));
    expect(await lab.askUntil(PI4, "unknown-pi")).toMatchObject(PI4);
    expect(await lab.unknown()).toMatchObject([PI4]);
    expect((await cluster.ask("nodes", "discovered")).stdout).toMatch(
      /^SERIAL +MAC +MODEL +FIRST SEEN +LAST SEEN *\n91cdf03d +e4:5f:01:09:02:f7 +4 +\S+ .*ago *\nMake one a node with: /,
    );
    expect((await lab.eventsOf(PI4)).map(({ kind }) => kind)).toEqual(["unknown-pi"]);
    await cluster.manager.stop();
    expect(await lab.unknown()).toMatchObject([PI4]);
    await cluster.startManager();
    expect(await lab.unknown()).toMatchObject([PI4]);
  }, 60_000);

  it.each([
    [{}, ""],
    [{ mac: 7 }, ""],
    [{ serial: "1", name: "node7" }, ", not name"],
  ])("is not taken by a program that sends %j", async (board, not) => {
    const message = `Cannot replace a board: expected a JSON object of mac, serial, model as text${not}`;
    await expect(lab.api.post("/v1/nodes/node1/board", board)).rejects.toThrow(message);
  });

  it.each([
    [["adopt", "91cdf03d"], "error: required option '--name <name>' not specified", 2],
    [
      ["adopt", "12345678", "--name", "node2"],
      "Cannot adopt 12345678: no Pi with the serial number or MAC 12345678 has asked to boot and is no node; see: bramble nodes discovered",
      1,
    ],
    [["adopt", "91cdf03d", "--name", "node1"], "The name node1 is already that of nodes[0]", 1],
    [["replace", "node1"], "Cannot replace the board of node1: name the new one either by", 1],
    [["replace", "node1", "91cdf03d", "--mac", "02:00:00:00:00:01"], "name the new one either by", 1],
    [
      ["replace", "node7", "--serial", "1"],
      "Cannot replace the board of node7: the manifest has no node of that name",
      1,
    ],
    [
      ["replace", "node1", "--mac", "nothing"],
      "Cannot replace the board of node1: Expected an Ethernet address of six pairs",
      1,
    ],
  ])("is not taken by %j", async (words, why, code) => {
    const before = lab.manifest();
    const outcome = await cluster.ask("nodes", ...words);
    expect(outcome.stderr).toContain(why);
    expect(outcome).toMatchObject({ code, stdout: "" });
    expect(lab.manifest()).toBe(before);
  });

  it("is adopted: written into the manifest and answered when it asks again", async () => {
    const before = lab.manifest();
    expect(await cluster.ask("nodes", "adopt", "0x91CDF03D", "--name", "node2")).toEqual({
      code: 0,
      stdout: "node2 is in the manifest and is served when it asks again\n",
      stderr: "",
    });
    expect(lab.manifest()).toBe(`${before}  - { name: node2, serial: 91cdf03d, model: "4" }\n`);
    expect(await lab.unknown()).toEqual([]);
    expect(await lab.askUntil(PI4, "dhcp-reply")).toMatchObject({ node: "node2", responder: "proxy" });
  });

  it("takes the place of a broken board: same node, and the old board is nobody", async () => {
    const old = { mac: parseMac("dc:a6:32:00:00:01"), serial: "00000001" };
    expect(await lab.askUntil(old, "dhcp-reply")).toMatchObject({ node: "node1" });
    await lab.askUntil(OTHER, "unknown-pi");
    expect(await cluster.ask("nodes", "replace", "node1", "dc-a6-32-2e-f8-ed")).toEqual({
      code: 0,
      stdout: "node1 is another board now, with the files that it had; the old one is served no more\n",
      stderr: "",
    });
    expect(lab.manifest()).toContain('  - { name: node1, serial: 5b154510, model: "4" }   # top shelf\n');
    expect(await lab.askUntil(OTHER, "dhcp-reply")).toMatchObject({ node: "node1" });
    expect(await lab.askUntil(old, "unknown-pi")).toMatchObject({ mac: old.mac });
    expect(await lab.unknown()).toMatchObject([{ mac: old.mac }]);
    expect((await lab.eventsOf(old)).at(-1)?.kind).toBe("unknown-pi");
  });

  it("can do so while no manager runs, and by what is printed on it", async () => {
    await cluster.manager.stop();
    const words = ["nodes", "replace", "node1", "--mac", "DC-A6-32-00-00-01", "--model", "5"];
    expect(await cluster.ask(...words)).toMatchObject({ code: 0, stderr: "" });
    expect(lab.manifest()).toContain('  - { name: node1, mac: DC-A6-32-00-00-01, model: "5" }   # top shelf\n');
    await cluster.startManager();
    await lab.send(discover(OTHER));
    await expect
      .poll(async () => (await lab.unknown()).map(({ mac }) => mac), { timeout: 20_000 })
      .toEqual([OTHER.mac]);
  }, 60_000);
});

describe.skipIf(skipped)("adopt: auto", () => {
  const lab = new DhcpLab();
  const { cluster } = lab;
  beforeAll(
    () => cluster.start({ network: ["dhcp: proxy"], cluster: ['adopt: { mode: auto, name: "rack-%02d" }'] }),
    60_000,
  );
  afterAll(() => lab.remove());

  it("makes nodes of Pis that ask, names them, writes them down and answers them when they ask again", async () => {
    expect(await lab.askUntil(PI4, "adopted")).toMatchObject({ ...PI4, node: "rack-01" });
    expect(lab.manifest()).toMatch(/\n {2}- \{ name: rack-01, serial: 91cdf03d, model: "4" \}\n$/);
    expect(await lab.askUntil(PI4, "dhcp-reply")).toMatchObject({ node: "rack-01" });
    expect(await lab.askUntil(OTHER, "dhcp-reply")).toMatchObject({ node: "rack-02" });
    expect(lab.manifest().match(/name: rack-/g)).toHaveLength(2);
    expect(await lab.unknown()).toEqual([]);
  });

  it("goes on while nodes are added and taken out by hand: none of it is lost", async () => {
    const boards = Array.from({ length: 40 }, (_, index) => ({
      mac: parseMac(`e4:5f:01:aa:00:${(16 + index).toString(16)}`),
      serial: (0xaa000000 + index).toString(16),
    }));
    const byHand = ["hand1", "hand2", "hand3"];
    const namesInFile = () => [...lab.manifest().matchAll(/name: ([a-z0-9-]+)/g)].map(([, name]) => name!);
    const serialsInFile = () => [...lab.manifest().matchAll(/serial: "?([0-9a-f]+)/g)].map(([, serial]) => serial!);
    for (const name of byHand) await cluster.ask("nodes", "add", name, "--mac", `02:00:00:00:00:0${name.at(-1)}`);
    const removals = byHand.map((name) => cluster.ask("nodes", "remove", name));
    const addition = cluster.ask("nodes", "add", "hand4", "--mac", "02:00:00:00:00:04");
    let isOver = false;
    const commands = Promise.all([...removals, addition]).finally(() => {
      isOver = true;
    });
    // New ones all the time until the commands have ended.
    for (let at = 0; at < boards.length || !isOver; at += 1) {
      await lab.send(discover(boards[at % boards.length]!));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(await commands).toEqual([
      ...byHand.map((name) => ({ code: 0, stdout: `${name} is no longer in the manifest\n`, stderr: "" })),
      expect.objectContaining({ code: 0, stdout: expect.stringMatching(/^hand4 is in the manifest and is served;/) }),
    ]);
    // One that was written over would be adopted twice.
    for (const board of boards) {
      await lab.askUntil(board, "adopted");
      expect((await lab.eventsOf(board)).filter(({ kind }) => kind === "adopted")).toHaveLength(1);
    }
    expect(serialsInFile()).toEqual(expect.arrayContaining(boards.map(({ serial }) => serial)));
    const names = namesInFile();
    expect(names.filter((name) => name.startsWith("hand"))).toEqual(["hand4"]);
    expect(new Set(names).size).toBe(names.length);
  }, 60_000);
});
