import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createHandleCodec, HANDLE_BYTES } from "./handle.ts";
import { XdrReader, XdrWriter } from "./xdr.ts";

const codec = createHandleCodec(new Uint8Array(16).fill(5));

function handleBytes(treeId: number, fileId: number, epoch: number, by = codec): Uint8Array {
  const writer = new XdrWriter();
  by.write(writer, treeId, fileId, epoch);
  return new XdrReader(writer.finish(), "handle").opaque(64, "handle").slice();
}

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const fileId = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });

describe("file handles", () => {
  it("name the file they were made for", () => {
    fc.assert(
      fc.property(u32, fileId, u32, (treeId, id, epoch) => {
        expect(codec.read(handleBytes(treeId, id, epoch))).toEqual({ treeId, fileId: id, epoch });
      }),
    );
  });

  it("keep their bytes from version to version: nodes hold them across an upgrade of the manager", () => {
    expect(Buffer.from(handleBytes(7, 12345, 1)).toString("hex")).toBe(
      "01000000000000070000000000003039000000019bc7da6ba177265d",
    );
  });

  it("are refused when any bit is another", () => {
    const bytes = handleBytes(7, 12345, 1);
    for (let bit = 0; bit < HANDLE_BYTES * 8; bit++) {
      const forged = bytes.slice();
      forged[bit >> 3] = forged[bit >> 3]! ^ (1 << (bit & 7));
      expect(codec.read(forged), `bit ${bit}`).toBeUndefined();
    }
  });

  it("are refused when another manager made them, or they have another length", () => {
    const other = createHandleCodec(new Uint8Array(16).fill(6));
    expect(codec.read(handleBytes(7, 12345, 1, other))).toBeUndefined();
    expect(codec.read(handleBytes(7, 12345, 1).subarray(1))).toBeUndefined();
    expect(codec.read(new Uint8Array(0))).toBeUndefined();
  });
});
