/**
 * TFTP clients that people use, against our server, over a bridge: each fetches files of the awkward sizes, compared by
 * checksum; block numbers roll over; and 5 % of the packets are lost in either direction.
 *
 * Needs root, iproute2, curl, tftp-hpa, atftp and busybox.
 */
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fileNameFromText, fileNameToText } from "../../src/bytes/file-name.ts";
import type { FileSystemImage } from "../../src/disk/file-system-image.ts";
import { openOsImage } from "../../src/disk/os-image.ts";
import type { UdpSockets } from "../../src/ports.ts";
import { systemClock } from "../../src/system/clock.ts";
import { openFileSource } from "../../src/system/file-source.ts";
import { createUdpSockets } from "../../src/system/udp.ts";
import { nodeUdpSockets } from "../../src/system/udp-node.ts";
import type { TftpObservation } from "../../src/tftp/observation.ts";
import { startTftpServer, type TftpServer } from "../../src/tftp/server.ts";
import { lossySockets } from "../lossy-sockets.ts";
import { demoImage } from "./demo-image.ts";
import { Lan, type LanHost, lanUnavailable } from "./lan.ts";
import { requireTools } from "./required-tools.ts";

const isSkipped = lanUnavailable() !== undefined || requireTools(["ip", "tc", "curl", "tftp", "atftp", "busybox"]);

/** A file is named by its size; its bytes follow from their place. */
function content(sizeBytes: number): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  for (let at = 0; at < sizeBytes; at++) bytes[at] = (at ^ (at >>> 8) ^ (at >>> 16)) & 0xff;
  return bytes;
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** Program and arguments that fetch `file` from `host` and `port` into `target`. */
type Fetch = (host: string, port: number, file: string, target: string) => [string, string[]];
const CLIENTS: Record<string, Fetch> = {
  "curl, 512-byte blocks": (host, port, file, target) => [
    "curl",
    ["-sS", "--tftp-blksize", "512", "-o", target, `tftp://${host}:${port}/${file}`],
  ],
  "curl, without options": (host, port, file, target) => [
    "curl",
    ["-sS", "--tftp-no-options", "-o", target, `tftp://${host}:${port}/${file}`],
  ],
  "curl, 1468-byte blocks": (host, port, file, target) => [
    "curl",
    ["-sS", "--tftp-blksize", "1468", "-o", target, `tftp://${host}:${port}/${file}`],
  ],
  "tftp-hpa": (host, port, file, target) => ["tftp", ["-m", "binary", host, `${port}`, "-c", "get", file, target]],
  atftp: (host, port, file, target) => ["atftp", ["-g", "-r", file, "-l", target, host, `${port}`]],
  "atftp, 1468-byte blocks in windows of 8": (host, port, file, target) => [
    "atftp",
    ["--option", "blksize 1468", "--option", "windowsize 8", "-g", "-r", file, "-l", target, host, `${port}`],
  ],
  busybox: (host, port, file, target) => [
    "busybox",
    ["tftp", "-g", "-b", "1468", "-r", file, "-l", target, host, `${port}`],
  ],
};
const SIZES = [0, 1, 511, 512, 513, 1024, 1467, 1468, 1469, 1468 * 64, 1_000_003];

/** curl takes `tsize 0`, the true size of an empty file, for an error (seen with 7.88). */
function sizesFor(client: string): number[] {
  const takesEmptyFile = !client.startsWith("curl") || client === "curl, without options";
  return takesEmptyFile ? SIZES : SIZES.filter((sizeBytes) => sizeBytes > 0);
}

function filesBelow(image: FileSystemImage, directoryId: number, folder: string): { path: string; id: number }[] {
  return image.entries(directoryId).flatMap(({ name, id }) => {
    const path = `${folder}${fileNameToText(name)}`;
    return image.attributes(id)?.type === "directory" ? filesBelow(image, id, `${path}/`) : [{ path, id }];
  });
}

describe.skipIf(isSkipped)("TFTP clients", () => {
  let lan: Lan;
  let host: LanHost;
  let folder: string;
  const servers: TftpServer[] = [];
  const observed: TftpObservation[] = [];

  async function start(sockets: UdpSockets, address = lan.address): Promise<TftpServer> {
    const server = await startTftpServer({
      sockets,
      clock: systemClock,
      binding: { address, port: 0 },
      observe: (observation) => observed.push(observation),
      handler: {
        open({ path }) {
          if (!/^\d+$/.test(path)) return { kind: "missing", reason: "not a number" };
          const bytes = content(Number(path));
          return {
            kind: "file",
            sizeBytes: bytes.length,
            read: (target, offset) => bytes.copy(target, 0, offset, offset + target.length),
            close: () => {},
          };
        },
      },
    });
    servers.push(server);
    return server;
  }

  async function fetchAndCompare(server: TftpServer, fetch: Fetch, sizeBytes: number, timeoutMs?: number) {
    const target = join(folder, `${sizeBytes}`);
    await host.run(...fetch(lan.address, server.localPort, `${sizeBytes}`, target), timeoutMs);
    const received = readFileSync(target);
    rmSync(target);
    expect([received.length, sha256(received)]).toEqual([sizeBytes, sha256(content(sizeBytes))]);
  }

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-tftp-"));
    lan = new Lan("t");
    host = lan.addHost("client", "02:00:00:00:01:01", `${lan.prefix}.2`);
  });

  afterAll(() => {
    for (const server of servers) server.close();
    lan?.remove();
    if (folder) rmSync(folder, { recursive: true });
  });

  for (const [client, fetch] of Object.entries(CLIENTS)) {
    it(`${client}: files of all sizes arrive whole`, async () => {
      const server = await start(await createUdpSockets());
      for (const sizeBytes of sizesFor(client)) await fetchAndCompare(server, fetch, sizeBytes);
      expect(server.transferCount).toBe(0);
    });
  }

  it("works over node:dgram too", async () => {
    const server = await start(nodeUdpSockets());
    const client = "curl, 1468-byte blocks";
    for (const sizeBytes of sizesFor(client)) await fetchAndCompare(server, CLIENTS[client]!, sizeBytes);
  });

  it("block numbers roll over: 40 MB in blocks of 512 bytes", async () => {
    const server = await start(await createUdpSockets());
    await fetchAndCompare(server, CLIENTS["curl, 512-byte blocks"]!, 40_000_000, 120_000);
  }, 120_000);

  const LOSSY: [string, number][] = [
    // curl waits for seconds before it repeats anything.
    ["curl, 1468-byte blocks", 60_001],
    ["tftp-hpa", 60_001],
    ["atftp, 1468-byte blocks in windows of 8", 1_000_003],
    ["busybox", 200_003],
  ];
  it.each(LOSSY)(
    "%s: a file of %i bytes arrives whole though one packet in twenty is lost",
    async (client, sizeBytes) => {
      const sockets = lossySockets(await createUdpSockets(), 0.05, 20_250_923);
      await fetchAndCompare(await start(sockets), CLIENTS[client]!, sizeBytes, 100_000);
      expect(sockets.lostCount).toBeGreaterThan(2);
    },
    120_000,
  );

  it("on a slow line clients with large windows wait, share it evenly, and next to nothing is sent twice", async () => {
    const slow = new Lan("s");
    try {
      const host = slow.addHost("client", "02:00:00:00:01:02", `${slow.prefix}.2`);
      slow.slowDown(0, 100);
      const server = await start(await createUdpSockets(), slow.address);
      const sizeBytes = 1_500_000;
      observed.length = 0;
      // 4 windows of 64 blocks are more than a send buffer holds.
      const fetches = Array.from({ length: 4 }, async (_, client) => {
        const target = join(folder, `slow${client}`);
        const args = [
          "--option",
          "blksize 1468",
          "--option",
          "windowsize 64",
          "-g",
          "-r",
          `${sizeBytes}`,
          "-l",
          target,
        ];
        await host.run("atftp", [...args, slow.address, `${server.localPort}`], 40_000);
        expect(sha256(readFileSync(target))).toBe(sha256(content(sizeBytes)));
      });
      await Promise.all(fetches);
      const completions = observed.flatMap((each) => (each.kind === "complete" ? [each] : []));
      expect(completions).toHaveLength(4);
      // Of some thousand blocks each. A busy machine may keep a client from answering for a while: that is one window.
      const retransmits = completions.reduce((sum, each) => sum + each.retransmits, 0);
      expect(retransmits).toBeLessThanOrEqual(4 * 64);
      const durationsMs = completions.map(({ durationMs }) => durationMs);
      // All of it takes half a second: 12.5 MB/s.
      expect(Math.max(...durationsMs)).toBeGreaterThan(400);
      expect(Math.max(...durationsMs) / Math.min(...durationsMs)).toBeLessThan(2);
    } finally {
      slow.remove();
    }
  }, 60_000);

  const WHOLE_TREE = ["curl, 1468-byte blocks", "tftp-hpa", "atftp, 1468-byte blocks in windows of 8", "busybox"];
  it.each(WHOLE_TREE)("%s: every boot file of an image arrives as it is there", async (client) => {
    const source = openFileSource(demoImage());
    const { boot } = openOsImage(source);
    const server = await startTftpServer({
      sockets: await createUdpSockets(),
      clock: systemClock,
      binding: { address: lan.address, port: 0 },
      observe: () => {},
      handler: {
        open({ path }) {
          let id: number | undefined = boot.rootId;
          for (const name of path.split("/")) id = id && boot.lookup(id, fileNameFromText(name));
          const attributes = id && boot.attributes(id);
          if (!id || !attributes) return { kind: "missing", reason: "not in the image" };
          const file = id;
          const read = (target: Uint8Array, offset: number) => boot.readFile(file, target, offset);
          return { kind: "file", sizeBytes: attributes.sizeBytes, read, close: () => {} };
        },
      },
    });
    servers.push(server);
    const files = filesBelow(boot, boot.rootId, "");
    expect(files.length).toBeGreaterThan(5);
    for (const { path, id } of files) {
      const whole = Buffer.alloc(boot.attributes(id)!.sizeBytes);
      if (whole.length === 0 && client.startsWith("curl")) continue;
      boot.readFileSync(id, whole, 0);
      const target = join(folder, "file");
      await host.run(...CLIENTS[client]!(lan.address, server.localPort, path, target));
      expect([path, sha256(readFileSync(target))]).toEqual([path, sha256(whole)]);
      rmSync(target);
    }
    source.close();
  });

  it("a missing file is told at once", async () => {
    const server = await start(await createUdpSockets());
    const url = `tftp://${lan.address}:${server.localPort}/start4.elf`;
    const failure = await host.run("curl", ["-sS", "-w", "%{time_total}", url]).catch((error: unknown) => error);
    // curl's exit code 68: file not found on TFTP server.
    expect(failure).toMatchObject({ code: 68 });
    expect(Number((failure as { stdout: string }).stdout)).toBeLessThan(0.5);
    expect(observed.at(-1)).toMatchObject({ kind: "missing", path: "start4.elf" });
  });
});
