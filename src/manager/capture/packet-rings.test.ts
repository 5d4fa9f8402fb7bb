import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Ipv4 } from "../../bytes/addresses.ts";
import { PacketRings, type SeenPacket } from "./packet-rings.ts";

const LIMITS = { bytesPerOwner: 4000, bytes: 10_000, owners: 4 };
const peer = { address: "10.77.0.20" as Ipv4, port: 69 };

function packet(unixUs: number, sizeBytes = 100): SeenPacket {
  const bytes = new Uint8Array(sizeBytes);
  return { unixUs, direction: "received", from: peer, to: peer, bytes, lengthBytes: sizeBytes };
}

const timesOf = ({ packets }: { packets: SeenPacket[] }) => packets.map(({ unixUs }) => unixUs);

describe("packet rings", () => {
  it("give the packets of several owners in the order they came", () => {
    const rings = new PacketRings(LIMITS);
    rings.add("node1", packet(1));
    rings.add("10.77.0.20", packet(2));
    rings.add("node2", packet(3));
    rings.add("node1", packet(4));
    expect(timesOf(rings.since(["node1", "10.77.0.20"], 0))).toEqual([1, 2, 4]);
  });

  it("give what came after the last look, once", () => {
    const rings = new PacketRings(LIMITS);
    rings.add("node1", packet(1));
    const first = rings.since(["node1"], 0);
    rings.add("node2", packet(2));
    rings.add("node1", packet(3));
    const second = rings.since(["node1", "node1"], first.last);
    expect(timesOf(second)).toEqual([3]);
    expect(timesOf(rings.since(["node1"], second.last))).toEqual([]);
  });

  it("forget the oldest of an owner who sends much, and nothing of the others", () => {
    const rings = new PacketRings(LIMITS);
    rings.add("node2", packet(1));
    for (let time = 2; time < 100; time++) rings.add("node1", packet(time));
    const kept = timesOf(rings.since(["node1"], 0));
    expect(kept.at(-1)).toBe(99);
    expect(kept.length).toBeGreaterThan(5);
    expect(kept.length).toBeLessThan(20);
    expect(timesOf(rings.since(["node2"], 0))).toEqual([1]);
  });

  it("forget whoever was silent longest when there are too many", () => {
    const rings = new PacketRings(LIMITS);
    for (const [index, owner] of ["a", "b", "c", "d", "a", "e"].entries()) rings.add(owner, packet(index));
    expect(timesOf(rings.since(["a", "b", "c", "d", "e"], 0))).toEqual([0, 2, 3, 4, 5]);
  });

  it("forget an owner when told to", () => {
    const rings = new PacketRings(LIMITS);
    rings.add("a", packet(1));
    rings.forget("a");
    expect([rings.keptBytes, rings.since(["a"], 0).packets]).toEqual([0, []]);
  });

  it("hold no more than they may, and count it right, whoever sends what", () => {
    const sent = fc.tuple(fc.nat(9), fc.nat(1500));
    fc.assert(
      fc.property(fc.array(sent, { maxLength: 200 }), (all) => {
        const rings = new PacketRings(LIMITS);
        for (const [index, [owner, sizeBytes]] of all.entries()) rings.add(String(owner), packet(index, sizeBytes));
        const kept = rings.since(
          Array.from({ length: 10 }, (_, owner) => String(owner)),
          0,
        ).packets;
        const keptBytes = kept.reduce((sum, { bytes }) => sum + bytes.length + 256, 0);
        expect(rings.keptBytes).toBe(keptBytes);
        expect(keptBytes).toBeLessThanOrEqual(LIMITS.bytes);
      }),
    );
  });
});
