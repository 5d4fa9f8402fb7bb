import { describe, expect, it } from "vitest";
import { completeFrame } from "./raw-card.ts";

/** A `virtio_net_hdr` before a frame of 40 bytes, all ones. */
function received(flags: number, checksumStart: number, checksumOffset: number): Buffer {
  const header = Buffer.alloc(10);
  header.writeUInt8(flags, 0);
  header.writeUInt16LE(checksumStart, 6);
  header.writeUInt16LE(checksumOffset, 8);
  return Buffer.concat([header, Buffer.alloc(40, 1)]);
}

describe("a frame from a card", () => {
  it("is as it was sent, when its checksum is there", () => {
    expect(completeFrame(received(0, 34, 6))).toEqual(new Uint8Array(40).fill(1));
  });

  it("has no checksum, when that was left to a card that is none", () => {
    const expected = new Uint8Array(40).fill(1);
    expected.fill(0, 30, 32);
    expect(completeFrame(received(1, 24, 6))).toEqual(expected);
  });

  it("is left alone when the place of the checksum is not in it", () => {
    expect(completeFrame(received(1, 34, 6))).toEqual(new Uint8Array(40).fill(1));
  });
});
