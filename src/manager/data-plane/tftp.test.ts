import { describe, expect, it } from "vitest";
import { MemorySockets } from "../../../test/memory-network.ts";
import { parseIpv4 } from "../../bytes/addresses.ts";
import { DecodeError } from "../../bytes/decode-error.ts";
import type { OsImage } from "../../disk/os-image.ts";
import { decodePacket, encodePacket } from "../../tftp/packet.ts";
import { MemoryImage } from "../../tree/memory-image.ts";
import { openTreeCatalog } from "../../tree/tree-catalog.ts";
import { TREE_KINDS } from "../../tree/tree-description.ts";
import { Storage } from "../../tree/tree-fixture.ts";
import { createDataPlane } from "./data-plane.ts";
import type { DataPlaneObservation } from "./messages.ts";

const NODE = "node1";
const client = { address: parseIpv4("192.0.2.10"), port: 40084 };

/** A FAT whose file system ends where somebody has cut the image, and whose disk answers when it is told to. */
class CutImage extends MemoryImage {
  endByte = Number.POSITIVE_INFINITY;
  disk: Promise<void> | undefined;

  override readFileNow(id: number, target: Uint8Array, offset: number): number {
    return this.disk ? (undefined as never) : this.readFileSync(id, target, offset);
  }

  override readFileSync(id: number, target: Uint8Array, offset: number): number {
    if (offset + target.length > this.endByte)
      throw new DecodeError("disk.img", "bytes 0 to 9", "the image is truncated");
    return super.readFileSync(id, target, offset);
  }

  override async readFile(id: number, target: Uint8Array, offset: number): Promise<number> {
    await this.disk;
    return this.readFileSync(id, target, offset);
  }
}

async function lab() {
  const storage = new Storage();
  const sockets = new MemorySockets();
  const observed: DataPlaneObservation[] = [];
  const boot = new CutImage(
    {
      "config.txt": "arm_64bit=1\n",
      "kernel8.img": new Uint8Array(100_000).fill(7),
      "pieeprom.upd": "x",
      overlays: { directory: { README: "read me" } },
    },
    { caseSensitive: false },
  );
  const root = new MemoryImage({});
  const image = { boot, root, close: () => {} } as unknown as OsImage;
  const catalog = await openTreeCatalog(storage);
  const plane = await createDataPlane({
    settings: {
      handleKey: new Uint8Array(16),
      requirePrivilegedPorts: false,
      portMappings: [],
      tftpBinding: { address: parseIpv4("192.0.2.1") },
    },
    ...storage,
    keyValueStore: storage.keyValueStore,
    dataFiles: storage.dataFiles,
    clock: storage.clock,
    sockets,
    writeVerifier: new Uint8Array(8),
    openImage: () => image,
    observe: (observation) => void observed.push(observation),
  });
  const open = async () => {
    const trees = TREE_KINDS.map((kind) =>
      catalog.tree({ node: NODE, kind, image: image[kind], imageId: "i", generated: [] }),
    );
    await plane.open({ node: NODE, imageId: "i", imagePath: "i", trees: await Promise.all(trees) });
  };
  await open();
  const ask = (path: string) =>
    plane.serveTftp(NODE, path, { path, client, options: new Map([["blksize", "1024"]]), bytes: Buffer.from(path) });
  const say = (block: number) => sockets.deliver(40000, encodePacket({ kind: "acknowledge", block }), client);
  const heard = async () => {
    for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
    return sockets.sent().map(({ bytes }) => decodePacket(bytes));
  };
  const reports = () => observed.flatMap((each) => (each.kind === "tftp" ? [each.observation] : []));
  return { plane, boot, open, ask, say, heard, reports };
}

describe("boot files by TFTP", () => {
  it("are found whatever the case of their names, when the image has them on FAT", async () => {
    const { ask, say, heard } = await lab();
    ask("OVERLAYS/readme");
    expect(await heard()).toMatchObject([{ kind: "optionAcknowledge" }]);
    say(0);
    expect(await heard()).toEqual([{ kind: "data", block: 1, data: Uint8Array.from(Buffer.from("read me")) }]);
  });

  it("are not there when a board would flash them", async () => {
    const { ask, heard, reports } = await lab();
    ask("pieeprom.upd");
    expect(await heard()).toEqual([{ kind: "error", code: 1, message: "File not found" }]);
    expect(reports()[1]).toMatchObject({ kind: "missing", reason: expect.stringContaining("flash") });
  });

  it("whose image is cut in the middle of the transfer end with an error that the client and the log get", async () => {
    const { ask, say, heard, reports, boot } = await lab();
    ask("kernel8.img");
    say(0);
    await heard();
    boot.endByte = 50_000;
    for (let block = 1; block <= 33; block++) say(block);
    expect((await heard()).at(-1)).toEqual({
      kind: "error",
      code: 0,
      message: expect.stringContaining("the image is truncated"),
    });
    expect(reports().at(-1)).toMatchObject({
      kind: "failed",
      reason: expect.stringMatching(/^Cannot read the file: .*disk\.img.*truncated/),
      progress: { sentBytes: 32 * 1024, sizeBytes: 100_000 },
    });
  });

  it("wait for the disk without keeping others, and for a change of layers", async () => {
    const { ask, say, heard, boot, plane, open } = await lab();
    let answer = () => {};
    boot.disk = new Promise((resolve) => {
      answer = resolve;
    });
    ask("kernel8.img");
    say(0);
    expect(await heard()).toMatchObject([{ kind: "optionAcknowledge" }]);
    // The release waits for the read that is under way.
    const released = plane.release(NODE, { abandon: false });
    answer();
    await released;
    expect(await heard()).toMatchObject([{ kind: "data", block: 1 }]);
    for (let block = 1; block <= 31; block++) say(block);
    expect(await heard()).toHaveLength(31);
    say(32);
    expect(await heard()).toEqual([]);
    await open();
    expect(await heard()).toMatchObject([{ kind: "data", block: 33 }]);
  });
});
