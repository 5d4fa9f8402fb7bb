import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryClock, MemorySockets } from "../../test/memory-network.ts";
import { parseIpv4 } from "../bytes/addresses.ts";
import type { UdpBinding } from "../ports.ts";
import type { TftpObservation } from "./observation.ts";
import { decodePacket, encodePacket, type TftpPacket } from "./packet.ts";
import { startTftpServer, type TftpAnswer, type TftpRequest, type TftpServerOptions } from "./server.ts";

const server = parseIpv4("192.0.2.1");
const pi = { address: parseIpv4("192.0.2.10"), port: 40084 };

async function start(
  overrides: Partial<TftpServerOptions> & { open?: (request: TftpRequest) => TftpAnswer | Promise<TftpAnswer> } = {},
) {
  const sockets = new MemorySockets();
  const clock = new MemoryClock();
  const observed: TftpObservation[] = [];
  const opened: TftpRequest[] = [];
  const state = { closed: 0 };
  const file = (sizeBytes: number): TftpAnswer => ({
    kind: "file",
    sizeBytes,
    read: (target) => target.fill(7).length,
    close: () => void state.closed++,
  });
  const { open = () => file(3000), ...options } = overrides;
  const service = await startTftpServer({
    sockets,
    clock,
    observe: (observation) => observed.push(observation),
    handler: {
      open: (request) => {
        opened.push(request);
        return open(request);
      },
    },
    binding: { address: parseIpv4("0.0.0.0"), port: 69 },
    ...options,
  });
  const request = (path: string, options: Record<string, string> = {}, from = pi, mode = "octet") =>
    sockets.deliver(
      69,
      encodePacket({ kind: "readRequest", path, mode, options: new Map(Object.entries(options)) }),
      from,
      server,
    );
  const say = (port: number, packet: TftpPacket, from = pi) =>
    sockets.deliver(port, encodePacket(packet), from, server);
  const kinds = () => observed.splice(0).map(({ kind }) => kind);
  return { service, sockets, clock, observed, opened, state, request, say, kinds };
}

const acknowledge = (block: number): TftpPacket => ({ kind: "acknowledge", block });

describe("the TFTP server", () => {
  it("closes a file that is found only after it was stopped, and starts nothing", async () => {
    let found = (_: TftpAnswer) => {};
    const opening = new Promise<TftpAnswer>((resolve) => {
      found = resolve;
    });
    const { service, sockets, clock, request } = await start({ open: () => opening });
    request("start4.elf");
    service.close();
    let isClosed = false;
    const close = () => {
      isClosed = true;
    };
    found({ kind: "file", sizeBytes: 3000, read: (target) => target.length, close });
    await new Promise(setImmediate);
    expect({ isClosed, transfers: service.transferCount, timers: clock.timerCount }).toEqual({
      isClosed: true,
      transfers: 0,
      timers: 0,
    });
    expect(sockets.sent()).toEqual([]);
  });

  it("gives its port back when it cannot have the others", async () => {
    const sockets = new MemorySockets();
    const closed: number[] = [];
    const bind = async (binding: UdpBinding) => {
      if (binding.port === 0 && sockets.bindings.length > 1) throw new Error("EMFILE");
      const socket = await sockets.bind(binding);
      return { ...socket, close: () => void closed.push(socket.localPort) };
    };
    await expect(start({ sockets: { bind } })).rejects.toThrow("EMFILE");
    expect(closed.toSorted()).toEqual(sockets.bindings.map(({ port }, index) => port || 40000 + index).toSorted());
  });

  it("serves a file from a port of its own, from the address that was asked", async () => {
    const { sockets, request, say, observed, clock, state, service } = await start();
    request("/91cdf03d//config.txt", { tsize: "0", blksize: "1468" });
    const [offer] = sockets.sent();
    expect(offer).toMatchObject({ to: pi, options: { localAddress: server } });
    expect(offer!.fromPort).not.toBe(69);
    expect(Buffer.from(offer!.bytes).toString("latin1")).toBe("\0\x06tsize\x003000\0blksize\x001468\0");
    for (const [block, sizeBytes] of [
      [0, 1468],
      [1, 1468],
      [2, 64],
    ] as const) {
      clock.pass(10);
      say(offer!.fromPort, acknowledge(block));
      expect(sockets.sent().map(({ bytes }) => bytes.length - 4)).toEqual([sizeBytes]);
    }
    say(offer!.fromPort, acknowledge(3));
    const path = "91cdf03d/config.txt";
    expect(observed).toEqual([
      { kind: "request", path, client: pi, blockBytes: 1468 },
      { kind: "complete", path, client: pi, sizeBytes: 3000, durationMs: 30, retransmits: 0 },
    ]);
    expect(state.closed).toBe(1);
    expect(service.transferCount).toBe(0);
    clock.pass(1000);
    expect(clock.timerCount).toBe(0);
  });

  it("takes a probe for what it is", async () => {
    const { sockets, request, say, observed } = await start();
    request("start4.elf", { tsize: "0" });
    say(sockets.sent()[0]!.fromPort, { kind: "error", code: 0, message: "Early terminate" });
    expect(observed[1]).toEqual({ kind: "probed", path: "start4.elf", client: pi, sizeBytes: 3000 });
    expect(sockets.sent()).toEqual([]);
  });

  const answers: [string, TftpAnswer | Error, string, string[]][] = [
    ["a missing file", { kind: "missing", reason: "not in the image" }, "1 File not found", ["request", "missing"]],
    ["a refusal", { kind: "refused", reason: "not your file" }, "2 not your file", ["request", "refused"]],
    ["a handler that fails", new Error("EIO"), "0 EIO", ["request", "failed"]],
  ];
  it.each(answers)("answers %s at once with an error", async (_, answer, error, kinds) => {
    for (const isLate of [false, true]) {
      const open = () => {
        if (answer instanceof Error) {
          if (!isLate) throw answer;
          return Promise.reject(answer);
        }
        return isLate ? Promise.resolve(answer as TftpAnswer) : (answer as TftpAnswer);
      };
      const context = await start({ open });
      context.request("x");
      await new Promise(setImmediate);
      const [sent] = context.sockets.sent();
      const packet = decodePacket(sent!.bytes);
      expect(packet.kind === "error" && `${packet.code} ${packet.message}`).toBe(error);
      expect(context.kinds()).toEqual(kinds);
    }
  });

  it.each([
    ["a path that leads out", (c: Awaited<ReturnType<typeof start>>) => c.request("../x")],
    ["the text mode", (c: Awaited<ReturnType<typeof start>>) => c.request("x", {}, pi, "netascii")],
    [
      "writing",
      (c: Awaited<ReturnType<typeof start>>) =>
        c.say(69, { kind: "writeRequest", path: "x", mode: "octet", options: new Map() }),
    ],
  ])("refuses %s without asking for the file", async (_, act) => {
    const context = await start();
    act(context);
    expect(decodePacket(context.sockets.sent()[0]!.bytes)).toMatchObject({ kind: "error", code: 2 });
    expect(context.kinds()).toEqual(["refused"]);
    expect(context.opened).toEqual([]);
  });

  it("answers a repeated request within the running transfer", async () => {
    const { sockets, request, opened } = await start();
    request("start4.elf", { tsize: "0" });
    request("start4.elf", { tsize: "0" });
    const ports = sockets.sent().map(({ fromPort }) => fromPort);
    expect(ports).toHaveLength(2);
    expect(new Set(ports).size).toBe(1);
    expect(opened).toHaveLength(1);
  });

  it("ignores a repeated request while the file is being opened", async () => {
    const { sockets, request, opened } = await start({ open: () => new Promise(() => {}) });
    request("start4.elf");
    request("start4.elf");
    expect(opened).toHaveLength(1);
    expect(sockets.sent()).toEqual([]);
  });

  it("takes a new request from the same port for the end of the last one, and moves to another port", async () => {
    const { sockets, request, kinds, state } = await start();
    request("a", { tsize: "0" });
    const [first] = sockets.sent();
    request("b", { tsize: "0" });
    const [second] = sockets.sent();
    expect(second!.fromPort).not.toBe(first!.fromPort);
    expect(kinds()).toEqual(["request", "probed", "request"]);
    expect(state.closed).toBe(1);
  });

  it("runs several transfers of one client beside each other", async () => {
    const { sockets, request, service } = await start();
    request("a");
    request("b", {}, { ...pi, port: 40085 });
    expect(sockets.sent().map(({ to }) => to.port)).toEqual([40084, 40085]);
    expect(service.transferCount).toBe(2);
  });

  it("says nothing to strangers, so that late packets of the last file do not disturb the next", async () => {
    const { sockets, say } = await start();
    say(40000, acknowledge(1));
    say(40000, { kind: "error", code: 0, message: "" });
    expect(sockets.sent()).toEqual([]);
  });

  it("reports progress four times a second at most", async () => {
    const { sockets, request, say, clock, observed } = await start({
      open: () => ({ kind: "file", sizeBytes: 512 * 1000, read: (target) => target.length, close: () => {} }),
    });
    request("big");
    const port = sockets.sent()[0]!.fromPort;
    for (let block = 1; block <= 100; block++) {
      clock.pass(10);
      say(port, acknowledge(block));
    }
    const progress = observed.filter(({ kind }) => kind === "progress");
    expect(progress).toHaveLength(4);
    expect(progress[0]).toMatchObject({ sentBytes: 25 * 512, sizeBytes: 512_000 });
  });

  it("repeats by itself what is lost, and lets a silent client go", async () => {
    const { sockets, request, clock, observed, service } = await start();
    request("a");
    clock.pass(16_000);
    expect(sockets.sent().length).toBeGreaterThan(5);
    expect(observed.at(-1)).toMatchObject({ kind: "failed", reason: "no answer to block 1 for 15 s" });
    expect(service.transferCount).toBe(0);
  });

  it.each([
    ["in all", { transfersMax: 2 }, "too many transfers are running"],
    ["for one client", { transfersPerClientMax: 2 }, "2 transfers of this client are running"],
  ])("has a limit of transfers %s, and goes on below it", async (_, limits, reason) => {
    const { sockets, request, say, observed } = await start(limits);
    for (const port of [1, 2, 3]) request("a", { tsize: "0" }, { ...pi, port });
    expect(observed.at(-1)).toMatchObject({ kind: "failed", reason, cause: "too-many-transfers" });
    const [first, , third] = sockets.sent();
    expect(decodePacket(third!.bytes)).toEqual({ kind: "error", code: 0, message: reason });
    say(first!.fromPort, { kind: "error", code: 0, message: "" }, { ...pi, port: 1 });
    request("a", { tsize: "0" }, { ...pi, port: 4 });
    expect(decodePacket(sockets.sent()[0]!.bytes).kind).toBe("optionAcknowledge");
  });

  it("runs four thousand transfers beside each other, with memory for as many", async () => {
    const sizeBytes = 10_000;
    const heldBytes: number[] = [];
    const { sockets, request, say, kinds, service, state } = await start({
      open: () => ({
        kind: "file",
        sizeBytes,
        read(target) {
          heldBytes.push(target.length);
          return target.fill(7).length;
        },
        close: () => void state.closed++,
      }),
    });
    const clients = Array.from({ length: 4000 }, (_, i) => ({
      address: parseIpv4(`10.0.${i >> 8}.${i & 255}`),
      port: 40084,
    }));
    for (const client of clients) request("kernel8.img", { blksize: "1468" }, client);
    expect(service.transferCount).toBe(4000);
    const { fromPort } = sockets.sent()[0]!;
    for (const client of clients) say(fromPort, acknowledge(0), client);
    // 512 read all of the file, the others a block.
    expect(heldBytes.filter((each) => each === sizeBytes)).toHaveLength(512);
    expect(Math.max(...heldBytes.slice(512))).toBe(1468);
    for (let block = 1; block <= 7; block++) for (const client of clients) say(fromPort, acknowledge(block), client);
    expect(new Set(sockets.sent().map(({ to }) => to.address)).size).toBe(4000);
    expect(kinds().filter((kind) => kind === "complete")).toHaveLength(4000);
    expect([service.transferCount, state.closed]).toEqual([0, 4000]);
  });

  it("tells of malformed packets", async () => {
    const { sockets, kinds } = await start();
    sockets.deliver(69, Uint8Array.of(0, 9), pi);
    expect(kinds()).toEqual(["malformed"]);
  });

  it("tells its clients when it stops, and frees everything", async () => {
    const { service, sockets, request, state, clock } = await start();
    request("a");
    sockets.sent();
    service.close();
    expect(decodePacket(sockets.sent()[0]!.bytes)).toEqual({
      kind: "error",
      code: 0,
      message: "The server is stopping",
    });
    expect([sockets.openCount, state.closed, clock.timerCount]).toEqual([0, 1, 0]);
  });

  it("survives every packet, at every port", async () => {
    const { sockets, service, clock, opened } = await start();
    const packet = fc
      .tuple(fc.nat(7), fc.uint8Array({ maxLength: 40 }))
      .map(([code, rest]) => Uint8Array.of(0, code, ...rest));
    const asked = fc.constantFrom("", "tsize\x000\0", "blksize\x008\0windowsize\x0065535\0", "timeout\x001\0", "tsize");
    const request = fc
      .tuple(fc.string({ maxLength: 20 }), fc.constantFrom("octet", "netascii"), asked)
      .map(([path, mode, options]) => Buffer.from(`\0\x01${path}\0${mode}\0${options}`));
    const port = fc.constantFrom(69, 40000, 40001);
    fc.assert(
      fc.property(port, fc.oneof(packet, request), fc.integer({ min: 1, max: 9 }), (to, bytes, from) => {
        sockets.deliver(to, bytes, { ...pi, port: from });
        for (const sent of sockets.sent()) decodePacket(sent.bytes);
      }),
      { numRuns: 20_000 },
    );
    expect(opened.length).toBeGreaterThan(1000);
    clock.pass(60_000);
    expect([service.transferCount, clock.timerCount]).toEqual([0, 0]);
  }, 60_000);
});
