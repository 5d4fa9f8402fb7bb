import { describe, expect, it } from "vitest";
import type { Ipv4 } from "../../bytes/addresses.ts";
import { encodePacket, type TftpPacket } from "../../tftp/packet.ts";
import { TftpSample } from "./tftp-sample.ts";

const CLIENT = { address: "10.77.0.20" as Ipv4, port: 49153 };
const OTHER = { address: "10.77.0.21" as Ipv4, port: 49153 };

const data = (block: number, sizeBytes = 512): TftpPacket => ({ kind: "data", block, data: new Uint8Array(sizeBytes) });
const ack = (block: number): TftpPacket => ({ kind: "acknowledge", block });

/** What is kept of these, as `data 1`. */
function kept(packets: TftpPacket[], sample = new TftpSample(), peer = CLIENT): string[] {
  return packets
    .filter((packet) => sample.wants(encodePacket(packet).subarray(0, 4), encodePacket(packet).length, peer))
    .map((packet) => ("block" in packet ? `${packet.kind} ${packet.block}` : packet.kind));
}

describe("what is kept of a transfer", () => {
  it("is its beginning and its end, with their acknowledgements", () => {
    const blocks = Array.from({ length: 10 }, (_, index) => [data(index + 1, index === 9 ? 100 : 512), ack(index + 1)]);
    const options = new Map([["tsize", "0"]]);
    const request: TftpPacket = { kind: "readRequest", path: "start.elf", mode: "octet", options };
    expect(kept([request, { kind: "optionAcknowledge", options }, ack(0), ...blocks.flat()])).toEqual([
      "readRequest",
      "optionAcknowledge",
      "acknowledge 0",
      "data 1",
      "acknowledge 1",
      "data 2",
      "acknowledge 2",
      "data 10",
      "acknowledge 10",
    ]);
  });

  it("is its end also when that is empty", () => {
    expect(kept([data(1), data(2), data(3), data(4, 0), ack(4)])).toEqual([
      "data 1",
      "data 2",
      "data 4",
      "acknowledge 4",
    ]);
  });

  it("is the whole of an error, whenever it comes", () => {
    expect(kept([data(1), data(3), { kind: "error", code: 0, message: "Early terminate" }])).toEqual([
      "data 1",
      "error",
    ]);
  });

  it("takes no acknowledgement of one client for another's last", () => {
    const sample = new TftpSample();
    expect(kept([data(1), data(3, 10)], sample)).toEqual(["data 1", "data 3"]);
    expect(kept([ack(3)], sample, OTHER)).toEqual([]);
    expect(kept([ack(3), ack(3)], sample)).toEqual(["acknowledge 3"]);
  });

  it("is everything that is no TFTP, and what is too short for it", () => {
    const sample = new TftpSample();
    const wants = (bytes: number[]) => sample.wants(Uint8Array.from(bytes), bytes.length, CLIENT);
    expect([wants([]), wants([0, 3]), wants([1, 1, 6, 0, 0, 0])]).toEqual([true, true, true]);
  });
});
