import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TftpRead, type TftpReadSettings } from "./tftp-client.ts";

const SERVER_PORT = 3000;
const SETTINGS: TftpReadSettings = {
  path: "deadbeef/start4.elf",
  options: ["tsize", "blksize"],
  blockBytes: 1468,
  probe: false,
  rollover: true,
  reacknowledges: true,
};

const latin1 = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString("latin1");
const packet = (text: string) => Uint8Array.from(Buffer.from(text, "latin1"));
const data = (block: number, bytes: Uint8Array) =>
  Buffer.concat([Uint8Array.of(0, 3, block >> 8, block & 0xff), bytes]);
const optionsAnswer = (sizeBytes: number, blockBytes: number) =>
  packet(`\0\x06tsize\0${sizeBytes}\0blksize\0${blockBytes}\0`);

describe("a TFTP read", () => {
  it("asks in the bytes of the captures", () => {
    expect(latin1(new TftpRead(SETTINGS).start().send)).toBe(
      "\0\x01deadbeef/start4.elf\0octet\0tsize\x000\0blksize\x001468\0",
    );
    const ofRom = new TftpRead({ ...SETTINGS, path: "bootcode.bin", options: [] });
    expect(latin1(ofRom.start().send)).toBe("\0\x01bootcode.bin\0octet\0");
    const ofSecondStage = new TftpRead({ ...SETTINGS, path: "fixup.dat", options: ["tsize"] });
    expect(latin1(ofSecondStage.start().send)).toBe("\0\x01fixup.dat\0octet\0tsize\x000\0");
  });

  it("ends a probe with the error that says so", () => {
    const step = new TftpRead({ ...SETTINGS, probe: true }).onPacket(optionsAnswer(2263840, 1468), SERVER_PORT);
    expect(latin1(step.send)).toBe("\0\x05\0\0Early terminate\0");
    expect(step.outcome).toEqual({ kind: "found", sizeBytes: 2263840 });
  });

  it("takes a file of no bytes, and one that ends with a full block", () => {
    for (const sizes of [[0], [1468, 0]]) {
      const read = new TftpRead(SETTINGS);
      read.onPacket(optionsAnswer(sizes[0]!, 1468), SERVER_PORT);
      const steps = sizes.map((size, index) => read.onPacket(data(index + 1, new Uint8Array(size)), SERVER_PORT));
      expect(steps.at(-1)?.outcome).toMatchObject({ kind: "complete", sizeBytes: sizes[0], negotiated: true });
    }
  });

  it("reads on in blocks of 512 bytes when the server ignores the options", () => {
    const read = new TftpRead(SETTINGS);
    expect(read.onPacket(data(1, new Uint8Array(512)), SERVER_PORT)).toEqual({ send: packet("\0\x04\0\x01") });
    expect(read.onPacket(data(2, new Uint8Array(1)), SERVER_PORT).outcome).toMatchObject({
      sizeBytes: 513,
      negotiated: false,
    });
  });

  it("acknowledges a repeated block again, and takes it once", () => {
    const read = new TftpRead(SETTINGS);
    read.onPacket(optionsAnswer(1500, 1468), SERVER_PORT);
    read.onPacket(data(1, new Uint8Array(1468)), SERVER_PORT);
    expect(read.onPacket(data(1, new Uint8Array(1468)), SERVER_PORT)).toEqual({ send: packet("\0\x04\0\x01") });
    expect(read.onPacket(data(2, new Uint8Array(32)), SERVER_PORT).outcome).toMatchObject({ sizeBytes: 1500 });
  });

  it("as boot loaders did until 2021 leaves a repeated block unanswered, and never asks twice for a block", () => {
    const read = new TftpRead({ ...SETTINGS, reacknowledges: false });
    expect(read.onTimeout()).toEqual(read.start());
    read.onPacket(optionsAnswer(1500, 1468), SERVER_PORT);
    read.onPacket(data(1, new Uint8Array(1468)), SERVER_PORT);
    expect(read.onPacket(data(1, new Uint8Array(1468)), SERVER_PORT)).toEqual({});
    expect(read.onTimeout()).toEqual({});
    expect(read.onPacket(data(2, new Uint8Array(32)), SERVER_PORT).outcome).toMatchObject({ sizeBytes: 1500 });
  });

  it("says the same again after a timeout", () => {
    const read = new TftpRead(SETTINGS);
    expect(read.onTimeout()).toEqual(read.start());
    read.onPacket(optionsAnswer(10, 1468), SERVER_PORT);
    expect(read.onTimeout()).toEqual({ send: packet("\0\x04\0\0") });
    expect(read.retransmits).toBe(2);
  });

  it("listens to one port of the server only", () => {
    const read = new TftpRead(SETTINGS);
    read.onPacket(optionsAnswer(10, 1468), SERVER_PORT);
    expect(read.onPacket(data(1, new Uint8Array(10)), SERVER_PORT + 1)).toEqual({});
  });

  it.each([
    ["a missing file", "\0\x05\0\x01File not found\0", { kind: "refused", code: 1, message: "File not found" }],
    ["an error without a final zero", "\0\x05\0\x02no", { kind: "refused", code: 2, message: "no" }],
  ])("understands %s", (_, text, outcome) => {
    expect(new TftpRead(SETTINGS).onPacket(packet(text), SERVER_PORT).outcome).toEqual(outcome);
  });

  it("refuses a file that is too large before it is read", () => {
    const { outcome } = new TftpRead(SETTINGS).onPacket(optionsAnswer(2 ** 40, 1468), SERVER_PORT);
    expect(outcome).toMatchObject({ kind: "refused", message: expect.stringMatching(/^File is too large/) });
  });

  it("ignores an answer with larger blocks than it asked for", () => {
    expect(new TftpRead(SETTINGS).onPacket(optionsAnswer(10, 1469), SERVER_PORT)).toEqual({});
  });

  it("survives any packets", () => {
    const anyPacket = fc.tuple(fc.integer({ min: 0, max: 7 }), fc.uint8Array({ maxLength: 40 }));
    fc.assert(
      fc.property(fc.array(anyPacket, { maxLength: 20 }), (packets) => {
        const read = new TftpRead(SETTINGS);
        for (const [opcode, rest] of packets) read.onPacket(Uint8Array.from([0, opcode, ...rest]), SERVER_PORT);
      }),
    );
  });
});

describe("block numbers", () => {
  const BLOCKS = 65_600;
  const block = new Uint8Array(8);

  function readBlocks(rollover: boolean): TftpRead {
    const read = new TftpRead({ ...SETTINGS, blockBytes: 8, rollover, discard: true });
    read.onPacket(optionsAnswer(BLOCKS * 8, 8), SERVER_PORT);
    for (let number = 1; number <= BLOCKS; number++) read.onPacket(data(number & 0xffff, block), SERVER_PORT);
    return read;
  }

  it("go on at 0 after 65,535", () => {
    const read = readBlocks(true);
    const last = read.onPacket(data((BLOCKS + 1) & 0xffff, new Uint8Array(3)), SERVER_PORT);
    expect(last.outcome).toMatchObject({ kind: "complete", sizeBytes: BLOCKS * 8 + 3 });
  });

  it("end there with a boot loader from before September 2025", () => {
    expect(readBlocks(false).receivedBytes).toBe(65_535 * 8);
  });
});
