/**
 * Clients that other people wrote, against our NFS, MOUNT and port mapper: libnfs (`nfs-ls`, `nfs-cat`, `nfs-cp`),
 * `rpcinfo` and `showmount`, klibc's `nfsmount` from Debian's initramfs, and rpcbind as another owner of port 111.
 * All in a network namespace that this process moves into (so it needs root), with port 111 free.
 */
import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import koffi from "koffi";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseIpv4 } from "../../src/bytes/addresses.ts";
import type { FileName } from "../../src/bytes/file-name.ts";
import { MemoryVolume } from "../../src/nfs/memory-volume.ts";
import type { PortMapping } from "../../src/nfs/portmap.ts";
import { registerWithPortmapper, unregisterFromPortmapper } from "../../src/nfs/portmap-registration.ts";
import { createNfsService, type NfsService } from "../../src/nfs/server.ts";
import type { TcpListener, UdpSocket } from "../../src/ports.ts";
import { systemClock } from "../../src/system/clock.ts";
import { systemRandom } from "../../src/system/random.ts";
import { nodeTcpListeners } from "../../src/system/tcp.ts";
import { nodeUdpSockets } from "../../src/system/udp-node.ts";
import { requireRoot, requireTools } from "./required-tools.ts";

const CLONE_NEWNET = 0x4000_0000;
const LOOPBACK = parseIpv4("127.0.0.1");
const PORT = 2049;
const FILES = 700;
const NFSMOUNT = "/usr/lib/klibc/bin/nfsmount";
const PROGRAMS: PortMapping[] = [
  { program: 100003, version: 3, protocol: "tcp", port: PORT },
  { program: 100005, version: 3, protocol: "tcp", port: PORT },
];
const PORTMAP: PortMapping[] = [
  { program: 100000, version: 2, protocol: "tcp", port: 111 },
  { program: 100000, version: 2, protocol: "udp", port: 111 },
];

const missing =
  requireRoot() ||
  requireTools(["ip", "unshare", "nfs-ls", "nfs-cat", "nfs-cp", "rpcinfo", "showmount", NFSMOUNT, "rpcbind"]);

function run(program: string, ...args: string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    execFile(program, args, { encoding: "latin1", timeout: 20_000, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === "number" ? error.code : error ? -1 : 0, output: stdout + stderr });
    });
  });
}

describe.skipIf(missing)("clients of other makes", () => {
  const volume = new MemoryVolume();
  const observations: string[] = [];
  let service: NfsService;
  let nfs: TcpListener;
  let portmapTcp: TcpListener | undefined;
  let portmapUdp: UdpSocket | undefined;
  let work: string;

  const url = (path: string) => `nfs://127.0.0.1/tree${path}?nfsport=${PORT}&mountport=${PORT}`;

  async function closePortmap(): Promise<void> {
    await portmapTcp?.close();
    portmapUdp?.close();
    portmapTcp = portmapUdp = undefined;
  }

  beforeAll(async () => {
    const unshare = koffi.load("libc.so.6").func("int unshare(int)");
    if (unshare(CLONE_NEWNET) !== 0) throw new Error("Cannot make a network namespace");
    await run("ip", "link", "set", "lo", "up");
    work = mkdtempSync(join(tmpdir(), "nfs-clients-"));
    for (let index = 0; index < FILES; index++) {
      volume.create(volume.rootId, `file-${index}` as FileName, { kind: "guarded" }, { mode: 0o644, uid: 0, gid: 0 });
    }
    service = createNfsService({
      exports: {
        find: (path) => (path === "/tree" ? { treeId: 7, volume } : { refused: "no-tree", reason: "no such tree" }),
        volume: (treeId) => (treeId === 7 ? volume : undefined),
        list: () => ["/tree"],
      },
      clock: systemClock,
      handleKey: new Uint8Array(16).fill(7),
      writeVerifier: new Uint8Array(8).fill(9),
      observe: (observation) => observations.push(observation.kind),
      portMappings: () => [...PORTMAP, ...PROGRAMS],
    });
    const listen = (port: number) =>
      nodeTcpListeners.listen({ address: LOOPBACK, port }, (connection) => service.serveConnection(connection));
    nfs = await listen(PORT);
    portmapTcp = await listen(111);
    portmapUdp = await nodeUdpSockets().bind({ address: LOOPBACK, port: 111 });
    service.serveDatagrams(portmapUdp);
  });

  afterAll(async () => {
    await closePortmap();
    await nfs?.close();
    if (work) rmSync(work, { recursive: true });
  });

  it("libnfs copies 5 MB in and reads the same back", async () => {
    const contents = Buffer.from(Array.from({ length: 5_000_000 }, (_, index) => (index * 2654435761) >>> 24));
    writeFileSync(join(work, "in"), contents);
    expect(await run("nfs-cp", join(work, "in"), url("/copied"))).toMatchObject({ code: 0 });
    const { output } = await run("nfs-cat", url("/copied"));
    const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
    expect(digest(Buffer.from(output, "latin1"))).toBe(digest(contents));
  });

  it("libnfs lists a directory of many files", async () => {
    const { code, output } = await run("nfs-ls", url(""));
    expect([code, output.split("\n").filter((line) => line.includes("file-")).length]).toEqual([0, FILES]);
  });

  it("libnfs is told which exports do not exist", async () => {
    const { code, output } = await run("nfs-ls", url("").replace("/tree", "/other"));
    expect([code === 0, output]).toEqual([false, expect.stringContaining("MNT3ERR_NOENT")]);
    expect(observations.at(-1)).toBe("mount-refused");
  });

  it.each(["tcp", "udp"])("rpcinfo finds our port mapper over %s", async (protocol) => {
    const { code, output } = await run("rpcinfo", "-T", protocol, "127.0.0.1", "100000", "2");
    expect([code, output]).toEqual([0, expect.stringContaining("program 100000 version 2 ready and waiting")]);
  });

  it("rpcinfo -p lists our programs, asking with version 2 after version 4 was refused", async () => {
    const { code, output } = await run("rpcinfo", "-p", "127.0.0.1");
    expect(code).toBe(0);
    expect(output).toMatch(/100003\s+3\s+tcp\s+2049/);
    expect(output).toMatch(/100005\s+3\s+tcp\s+2049/);
  });

  it("rpcinfo is told which versions of NFS there are", async () => {
    const { output } = await run("rpcinfo", "-T", "tcp", "127.0.0.1", "100003", "4");
    expect(output).toMatch(/low version = 3, high version = 3/);
  });

  it("showmount shows exports and mounts", async () => {
    expect((await run("showmount", "-e", "127.0.0.1")).output).toMatch(/\/tree\s+127\.0\.0\.1/);
    expect((await run("showmount", "-a", "127.0.0.1")).output).toContain("127.0.0.1:/tree");
  });

  it("klibc's nfsmount finds its way through port mapper and MOUNT up to mount(2)", async () => {
    const before = observations.length;
    await run("unshare", "-m", NFSMOUNT, "-o", "nolock,tcp", "127.0.0.1:/tree", work);
    expect(observations.slice(before)).toContain("mount");
  });

  it("rpcbind, where it owns port 111, takes our registrations and gives them back", async () => {
    await closePortmap();
    // A /run of its own keeps it away from this machine's rpcbind (and `-h 127.0.0.1` crashes rpcbind 1.2.6).
    const rpcbind = spawn("unshare", ["-m", "sh", "-c", "mount -t tmpfs run /run && exec rpcbind -f"], {
      stdio: "ignore",
    });
    const socket = await nodeUdpSockets().bind({ address: LOOPBACK, port: 0 });
    const client = { socket, clock: systemClock, random: systemRandom };
    try {
      await registerWithPortmapper(client, PROGRAMS);
      expect((await run("rpcinfo", "-p", "127.0.0.1")).output).toMatch(/100005\s+3\s+tcp\s+2049/);
      await registerWithPortmapper(client, PROGRAMS);
      await unregisterFromPortmapper(client, PROGRAMS);
      expect((await run("rpcinfo", "-p", "127.0.0.1")).output).not.toContain("100005");
    } finally {
      socket.close();
      rpcbind.kill();
    }
  });
});
