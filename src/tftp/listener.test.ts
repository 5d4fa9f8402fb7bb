import { describe, expect, it } from "vitest";
import { MemorySockets } from "../../test/memory-network.ts";
import { parseIpv4 } from "../bytes/addresses.ts";
import type { Awaitable } from "../ports.ts";
import type { TftpReadRequest, TftpRefusal } from "./handler.ts";
import { startTftpListener } from "./listener.ts";
import type { TftpObservation } from "./observation.ts";
import { decodePacket, encodePacket } from "./packet.ts";

const address = parseIpv4("192.0.2.1");
const client = { address: parseIpv4("192.0.2.10"), port: 40084 };

async function start(accept: (request: TftpReadRequest) => Awaitable<TftpRefusal | undefined>) {
  const sockets = new MemorySockets();
  const observed: TftpObservation[] = [];
  const accepted: TftpReadRequest[] = [];
  const listener = await startTftpListener({
    sockets,
    binding: { address: parseIpv4("0.0.0.0"), port: 69 },
    accept(request) {
      accepted.push(request);
      return accept(request);
    },
    observe: (observation) => void observed.push(observation),
  });
  const ask = (path: string) => {
    const packet = encodePacket({ kind: "readRequest", path, mode: "octet", options: new Map([["tsize", "0"]]) });
    sockets.deliver(69, packet, client, address);
    return packet;
  };
  const answers = () => sockets.sent().map(({ bytes, options }) => ({ ...decodePacket(bytes), ...options }));
  return { listener, sockets, observed, accepted, ask, answers };
}

describe("the port of TFTP requests", () => {
  it("hands on all that a transfer elsewhere needs, and answers nothing itself", async () => {
    const { accepted, ask, answers, observed } = await start(() => undefined);
    const bytes = ask("/start4.elf");
    const options = new Map([["tsize", "0"]]);
    expect(accepted).toEqual([{ path: "start4.elf", client, localAddress: address, options, bytes }]);
    expect([answers(), observed]).toEqual([[], []]);
  });

  it.each<[string, TftpRefusal, object]>([
    ["missing", { kind: "missing", reason: "no such node" }, { code: 1, message: "File not found" }],
    ["refused", { kind: "refused", reason: "not yours" }, { code: 2, message: "not yours" }],
    ["failed", { kind: "failed", reason: "the disk is gone" }, { code: 0, message: "the disk is gone" }],
  ])("tells a client why its file is %s, from the address that was asked", async (kind, refusal, told) => {
    const { ask, answers, observed } = await start(() => refusal);
    ask("start4.elf");
    expect(answers()).toEqual([{ kind: "error", ...told, localAddress: address }]);
    expect(observed).toEqual([{ kind, path: "start4.elf", client, reason: refusal.reason }]);
  });

  it("asks once about a client that repeats itself meanwhile, and again when it is decided", async () => {
    const decide: ((refusal?: TftpRefusal) => void)[] = [];
    const { accepted, ask } = await start(() => new Promise((resolve) => void decide.push(resolve)));
    ask("start4.elf");
    ask("start4.elf");
    expect(accepted.length).toBe(1);
    decide[0]!(undefined);
    await new Promise(setImmediate);
    ask("config.txt");
    expect(accepted.map(({ path }) => path)).toEqual(["start4.elf", "config.txt"]);
  });

  it("tells a client at once when the decision fails, and nobody when it was closed meanwhile", async () => {
    const { listener, ask, answers } = await start(() => Promise.reject(new Error("no worker answers")));
    ask("start4.elf");
    await new Promise(setImmediate);
    expect(answers()).toMatchObject([{ code: 0, message: "no worker answers" }]);
    ask("start4.elf");
    listener.close();
    await new Promise(setImmediate);
    expect(answers()).toEqual([]);
  });
});
