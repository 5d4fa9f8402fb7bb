import { once } from "node:events";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { parseIpv4 } from "../bytes/addresses.ts";
import type { FileRange, TcpConnection } from "../ports.ts";
import { openFileSource } from "./file-source.ts";
import { acceptedFrom } from "./tcp.ts";
import { libc, SOL_SOCKET } from "./udp-libc.ts";

const SO_SNDBUF = 7;
const FILE_BYTES = 3 * 1024 * 1024 + 4321;
const CONTENT = Buffer.from(Array.from({ length: FILE_BYTES }, (_, index) => (index * 7 + (index >> 8)) % 251));

describe("bytes of a file behind others, through a socket", () => {
  let folder: string;
  let file: ReturnType<typeof openFileSource>;
  let served: Socket;
  let connection: TcpConnection;
  let peer: Socket;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-send-file-"));
    writeFileSync(join(folder, "file"), CONTENT);
    file = openFileSource(join(folder, "file"));
  });
  afterAll(() => {
    file.close();
    rmSync(folder, { recursive: true });
  });

  beforeEach(async () => {
    const server = createServer({ noDelay: true, pauseOnConnect: true }).listen(0, "127.0.0.1");
    await once(server, "listening");
    // It reads only when it is told to.
    peer = connect({ port: (server.address() as { port: number }).port, host: "127.0.0.1" }).pause();
    [served] = (await once(server, "connection")) as [Socket];
    connection = acceptedFrom(served, { address: parseIpv4("127.0.0.1"), port: 1 }).open();
    connection.onData(() => {});
    server.close();
  });
  afterEach(() => {
    peer.destroy();
    served.destroy();
  });

  const rangeOf = (offset: number, lengthBytes: number): FileRange => ({ file, offset, lengthBytes });

  function makeSendBuffer(bytes: number): void {
    const value = new Int32Array([bytes]);
    const { fd } = (served as unknown as { _handle: { fd: number } })._handle;
    expect(libc.setsockopt(fd, SOL_SOCKET, SO_SNDBUF, value, 4)).toBe(0);
  }

  /** Reads until so many bytes are there, and does something else now and then. */
  async function readSlowly(wantedBytes: number, turnsBetween = 0): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for (let gotBytes = 0; gotBytes < wantedBytes; ) {
      const piece: Buffer | null = peer.read();
      if (piece !== null) {
        pieces.push(piece);
        gotBytes += piece.length;
      }
      for (let turn = 0; turn <= turnsBetween; turn++) await new Promise(setImmediate);
    }
    return Buffer.concat(pieces);
  }

  it("leaves nothing to be read where the kernel takes all", async () => {
    const head = Buffer.from("head");
    const range = { ...rangeOf(12_345, 50_000) };
    const unread = { descriptor: file.descriptor, readNow: () => expect.fail(), readSync: () => expect.fail() };
    expect(connection.writeFile(head, { ...range, file: unread })).toBe(true);
    expect(connection.pendingBytes).toBe(0);
    const expected = Buffer.concat([head, CONTENT.subarray(12_345, 62_345)]);
    expect(Buffer.compare(await readSlowly(expected.length), expected)).toBe(0);
  });

  it("comes whole and in order, however little room there is and however the peer reads", async () => {
    const item = fc.record({
      headBytes: fc.integer({ min: 1, max: 3000 }),
      offset: fc.nat({ max: 2_000_000 }),
      lengthBytes: fc.integer({ min: 1, max: 1_048_576 }),
      isPlain: fc.boolean(),
    });
    let partly = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(item, { minLength: 1, maxLength: 8 }),
        fc.nat({ max: 5 }),
        fc.constantFrom(4608, 65_536, 1_000_000),
        async (items, turnsBetween, sendBufferBytes) => {
          makeSendBuffer(sendBufferBytes);
          const expected: Buffer[] = [];
          for (const [index, { headBytes, offset, lengthBytes, isPlain }] of items.entries()) {
            const head = Buffer.alloc(headBytes, index + 1);
            expected.push(head);
            if (isPlain) connection.write(head);
            else {
              const before = connection.pendingBytes;
              connection.writeFile(head, rangeOf(offset, lengthBytes));
              const waitingBytes = connection.pendingBytes - before;
              expect(waitingBytes).toBeLessThanOrEqual(headBytes + lengthBytes);
              if (waitingBytes > 0 && waitingBytes < headBytes + lengthBytes) partly++;
              expected.push(CONTENT.subarray(offset, offset + lengthBytes));
            }
          }
          const all = Buffer.concat(expected);
          expect(Buffer.compare(await readSlowly(all.length, turnsBetween), all)).toBe(0);
        },
      ),
      { numRuns: 30 },
    );
    expect(partly).toBeGreaterThan(0);
  }, 60_000);

  it("says when to wait, and then when to go on", async () => {
    makeSendBuffer(4608);
    let sentBytes = 0;
    while (connection.writeFile(Buffer.from("head"), rangeOf(0, 100_000))) sentBytes += 100_004;
    sentBytes += 100_004;
    expect(connection.pendingBytes).toBeGreaterThan(0);
    const drained = new Promise<void>((done) => connection.onDrain(done));
    await readSlowly(sentBytes);
    await drained;
    expect(connection.pendingBytes).toBe(0);
  });

  it("ends with the connection when the peer closes in the middle", async () => {
    makeSendBuffer(4608);
    const closed = new Promise<void>((done) => connection.onClose(done));
    connection.writeFile(Buffer.from("head"), rangeOf(0, 1_000_000));
    peer.destroy();
    for (let isClosed = false; !isClosed; await new Promise(setImmediate)) {
      isClosed = served.destroyed;
      connection.writeFile(Buffer.from("head"), rangeOf(0, 100_000));
    }
    await closed;
    expect(connection.writeFile(Buffer.from("head"), rangeOf(0, 100_000))).toBe(false);
  });

  it("ends the connection when there are fewer than were announced", async () => {
    const path = join(folder, "shrinking");
    writeFileSync(path, CONTENT.subarray(0, 100_000));
    const shrinking = openFileSource(path);
    const range: FileRange = { file: shrinking as FileRange["file"], offset: 0, lengthBytes: 100_000 };
    truncateSync(path, 50_000);
    expect(connection.writeFile(Buffer.from("head"), range)).toBe(false);
    expect(served.destroyed).toBe(true);
    shrinking.close();
  });

  it("ends the connection when the file was closed meanwhile, and sends nothing of whatever has its descriptor now", async () => {
    const closing = openFileSource(join(folder, "file"));
    closing.close();
    const received: Buffer[] = [];
    peer.on("data", (bytes) => received.push(bytes)).resume();
    const range: FileRange = { file: closing as FileRange["file"], offset: 0, lengthBytes: 100_000 };
    expect(connection.writeFile(Buffer.from("head"), range)).toBe(false);
    await once(peer, "close");
    expect(received).toEqual([]);
  });
});
