/**
 * The manager goes and comes back, killed and ended properly in turn, while a Linux client writes to its node's root by
 * NFS: every call of the client succeeds, what it was told is done is there once, and it goes on soon after the manager.
 *
 * RESTARTS says how many; `make soak` does more than `make test`.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SeededRandom } from "../soak/seeded-random.ts";
import { demoImage } from "./demo-image.ts";
import { enterNetworkNamespace } from "./network-namespace.ts";
import { compiledProgram } from "./nfs-applications-image.ts";
import { MISSION_TOOLS, runMission } from "./nfs-virtual-machine.ts";
import { requireRoot, requireTools } from "./required-tools.ts";
import { BRAMBLE } from "./simulation.ts";

const RESTARTS = Number(process.env.RESTARTS ?? 6);
const SEED = Number(process.env.SEED ?? Date.now() % 2 ** 31);
const UP_MS = { min: 500, max: 4000 };
/** When all writers must have got something done after the manager serves again. */
const GOES_ON_WITHIN_MS = 5000;
/**
 * The Linux client tries to connect at once, and when it is refused after 3 s, 6 s, 12 s and so on (`xs_connect` in
 * net/sunrpc/xprtsock.c). The manager takes connections before it serves, so that the first of these finds it; where the
 * machine was so slow that it did not, how long the client still waits is not in our hands.
 */
const CLIENT_TRIES_AT_MS = [0, 3000, 9000, 21_000, 45_000, 93_000];
const TIMEOUT_MS = 120_000 + RESTARTS * 30_000;
const PORTS = { nfs: 2049, mount: 20048 };
/** What QEMU gives its first card. */
const CLIENT = { mac: "52:54:00:12:34:56", address: "10.0.2.15" };

const MANIFEST = (image: string) => `
cluster: restarts
network:
  interface: tap0
  dhcp: external
  address: 10.0.2.2
  subnet: 10.0.2.0/24
  ports: { nfs: ${PORTS.nfs}, mount: ${PORTS.mount} }
image: ${image}
nodes:
  - { name: node1, mac: "${CLIENT.mac}", address: ${CLIENT.address} }
`;

describe.skipIf(requireRoot() || requireTools([...MISSION_TOOLS, "ip", "gcc", "mke2fs"]))("a client", () => {
  let folder: string;
  let manager: ChildProcess | undefined;
  let console_ = "";
  const pauses: { listeningMs: number; awayMs: number; thenMs: number; allowedMs: number }[] = [];
  let listeningAtMs = 0;
  let onGoingOn = () => {};
  let hasEnded = false;

  /** Resolves when it serves. */
  async function startManager(): Promise<void> {
    const words = ["--manifest", join(folder, "bramble.yaml"), "--state", join(folder, "state"), "up", "--json"];
    const child = spawn(process.execPath, [BRAMBLE, ...words], { stdio: ["ignore", "pipe", "pipe"] });
    manager = child;
    child.stdout.on("data", (events: Buffer) => {
      if (events.includes('"manager-started"')) listeningAtMs = performance.now();
    });
    let errors = "";
    await new Promise<void>((serves, reject) => {
      child.stderr.on("data", (bytes: Buffer) => {
        errors += bytes.toString();
        if (errors.includes("serving")) serves();
      });
      child.once("exit", () => reject(new Error(`bramble up has ended: ${errors}`)));
    });
  }

  async function stopManager(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const child = manager;
    if (child === undefined || child.exitCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }

  async function restartOften(): Promise<void> {
    const random = new SeededRandom(SEED);
    for (let restart = 0; restart < RESTARTS && !hasEnded; restart++) {
      await new Promise((done) => setTimeout(done, UP_MS.min + random.fraction() * (UP_MS.max - UP_MS.min)));
      const awayAtMs = performance.now();
      await stopManager(restart % 2 === 0 ? "SIGKILL" : "SIGTERM");
      await startManager();
      const backAtMs = performance.now();
      await goingOn();
      const [awayMs, thenMs] = [backAtMs - awayAtMs, performance.now() - backAtMs];
      const listeningMs = listeningAtMs - awayAtMs;
      const nextTryMs = CLIENT_TRIES_AT_MS.find((tryMs) => tryMs > listeningMs) ?? Number.POSITIVE_INFINITY;
      pauses.push({ listeningMs, awayMs, thenMs, allowedMs: Math.max(GOES_ON_WITHIN_MS, nextTryMs - awayMs + 3000) });
    }
  }

  /** When the client says that all its writers go on: as some calls can only end when they are answered, they are. */
  function goingOn(): Promise<void> {
    return new Promise((done) => {
      onGoingOn = done;
      if (hasEnded) done();
    });
  }

  beforeAll(async () => {
    console.log(`seed ${SEED} (run again with SEED=${SEED})`);
    const image = demoImage();
    const writers = compiledProgram("steady-writers.c");
    const cache = resolve(import.meta.dirname, "../../.cache");
    mkdirSync(cache, { recursive: true });
    folder = mkdtempSync(join(cache, "manager-restarts-"));
    mkdirSync(join(folder, "machine"));
    writeFileSync(join(folder, "bramble.yaml"), MANIFEST(image));
    enterNetworkNamespace();
    for (const words of [
      "link set lo up",
      "tuntap add tap0 mode tap",
      "addr add 10.0.2.2/24 dev tap0",
      "link set tap0 up",
    ]) {
      execFileSync("ip", words.split(" "));
    }
    await startManager();
    let restarts: Promise<void> | undefined;
    let failure: unknown;
    console_ = await runMission(join(folder, "machine"), {
      path: "/bramble/node1/root",
      port: PORTS.nfs,
      mountPort: PORTS.mount,
      tap: "tap0",
      programs: { "steady-writers": writers },
      checks: [{ name: "steady writers", command: CHECK }],
      timeoutMs: TIMEOUT_MS - 20_000,
      onLine: (line, type) => {
        // A writer that speaks has ended, and all of them do not go on any more.
        hasEnded ||= /^(append|append-many|overwrite|names): /.test(line);
        if (line === "going on" || hasEnded) onGoingOn();
        if (line !== "going on") return;
        restarts ??= restartOften()
          .catch((error: unknown) => {
            failure = error;
          })
          .then(() => type("end\n"));
      },
    });
    await restarts;
    if (failure !== undefined) throw failure;
  }, TIMEOUT_MS);

  afterAll(async () => {
    await stopManager("SIGTERM");
    if (folder) rmSync(folder, { recursive: true });
  });

  it(`gets every call done once, over ${RESTARTS} restarts of the manager`, () => {
    expect(pauses).toHaveLength(RESTARTS);
    expect(console_.split("\n"), console_).toContain("passed: steady writers");
    expect(console_).not.toMatch(/I\/O error|Stale file handle|Input\/output error/);
    const counts = Array.from(console_.matchAll(/: (\d+) done, the longest call/g), ([, count]) => Number(count));
    expect(counts).toHaveLength(4);
    for (const count of counts) expect(count).toBeGreaterThan(2 * RESTARTS);
  });

  it("goes on soon after the manager is back", () => {
    const lines = pauses.map(
      ({ listeningMs, awayMs, thenMs }) =>
        `away ${Math.round(awayMs)} ms (listening after ${Math.round(listeningMs)}), going on ${Math.round(thenMs)} ms later`,
    );
    console.log(lines.join("\n"));
    expect(lines.filter((_, index) => pauses[index]!.thenMs > pauses[index]!.allowedMs)).toEqual([]);
  });
});

/** Runs the writers until a line comes by the console. */
const CHECK = `
mkdir writers; steady-writers writers & writers=$!
read line < /dev/ttyS0
echo 3 > /proc/sys/vm/drop_caches; kill $writers; wait $writers`;
