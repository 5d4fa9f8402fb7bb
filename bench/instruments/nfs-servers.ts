/** The servers that are measured beside each other: a manager with its nodes, and nfs-ganesha with a folder. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const MANAGER = "dist/cli/main.js";
const START_TIMEOUT_MS = 300_000;

/** A server on loopback: where, and what to mount. */
export interface NfsServer {
  nfsPort: number;
  mountPort: number;
  /** Of ours, that of the node `first`. */
  path: string;
  /** Of all its processes. */
  pids(): number[];
  stop(): Promise<void>;
}

/** The built program, with a node `first` at 127.0.0.1, and `others` more: node1 at 127.0.1.1, and so on. */
export async function startManagerProcess(
  folder: string,
  image: string,
  others = 0,
  durability: "sync" | "async" = "sync",
): Promise<NfsServer> {
  const port = await freePort();
  const manifest = join(folder, "bramble.yaml");
  mkdirSync(folder, { recursive: true });
  writeFileSync(manifest, manifestOf(image, port, others, durability));
  // As ./bramble starts it.
  const words = ["--max-semi-space-size=1", MANAGER, "--manifest", manifest, "--state", join(folder, "state"), "up"];
  const env = { ...process.env, MALLOC_ARENA_MAX: "2" };
  const child = spawn(process.execPath, words, { env, stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (bytes: Buffer) => {
    said += bytes.toString();
  });
  await started(
    child,
    () => said.includes("serving"),
    () => said,
  );
  return {
    nfsPort: port,
    mountPort: port,
    path: "/bramble/first/root",
    pids: () => [child.pid!, ...childrenOf(child.pid!)],
    stop: () => stopped(child),
  };
}

function manifestOf(image: string, port: number, others: number, durability: string): string {
  const lines = Array.from({ length: others }, (_, index) => {
    const [high, low] = [(index + 1) >> 8, (index + 1) & 0xff];
    const mac = `02:00:00:00:${high.toString(16).padStart(2, "0")}:${low.toString(16).padStart(2, "0")}`;
    return `  - { name: node${index + 1}, mac: "${mac}", address: 127.0.${1 + high}.${low} }`;
  });
  return `cluster: bench
image: ${image}
durability: ${durability}
network:
  address: 127.0.0.1
  dhcp: external
  ports: { tftp: 0, nfs: ${port}, mount: ${port}, portmap: 0 }
nodes:
  - { name: first, mac: "02:00:00:00:ff:ff", address: 127.0.0.1 }
${lines.join("\n")}
`;
}

/** nfs-ganesha with its VFS back end, which needs a port mapper: rpcbind is started when there is none. */
export async function startGanesha(folder: string, tree: string): Promise<NfsServer> {
  mkdirSync(folder, { recursive: true });
  const portMapper = hasPortMapper() ? undefined : spawn("rpcbind", ["-f"], { stdio: "ignore" });
  if (portMapper)
    await started(portMapper, hasPortMapper, () => "rpcbind does not answer; does something else have port 111?");
  const [nfsPort, mountPort] = [await freePort(), await freePort()];
  const configuration = join(folder, "ganesha.conf");
  const log = join(folder, "ganesha.log");
  writeFileSync(
    configuration,
    `NFS_CORE_PARAM { Protocols = 3; NFS_Port = ${nfsPort}; MNT_Port = ${mountPort}; Enable_NLM = false; Enable_RQUOTA = false;
  mount_path_pseudo = true; Enable_UDP = false; Plugins_Dir = /usr/lib/${multiarch()}/ganesha; }
EXPORT { Export_Id = 1; Path = ${tree}; Pseudo = /tree; Access_Type = RW; Squash = No_Root_Squash; SecType = sys;
  Protocols = 3; Transports = TCP; FSAL { Name = VFS; } }
`,
  );
  const child = spawn("ganesha.nfsd", ["-F", "-f", configuration, "-L", log, "-p", join(folder, "ganesha.pid")], {
    stdio: "ignore",
  });
  const said = () => {
    try {
      return readFileSync(log, "utf8");
    } catch {
      return "";
    }
  };
  await started(child, () => said().includes("NFS SERVER INITIALIZED"), said);
  return {
    nfsPort,
    mountPort,
    path: "/tree",
    pids: () => [child.pid!],
    async stop() {
      await stopped(child);
      if (portMapper !== undefined) await stopped(portMapper);
    },
  };
}

function hasPortMapper(): boolean {
  return spawnSync("rpcinfo", ["-p", "127.0.0.1"]).status === 0;
}

function multiarch(): string {
  return execFileSync("gcc", ["-print-multiarch"], { encoding: "utf8" }).trim();
}

async function started(child: ChildProcess, isReady: () => boolean, words: () => string): Promise<void> {
  const deadlineMs = Date.now() + START_TIMEOUT_MS;
  while (!isReady()) {
    if (child.exitCode !== null || Date.now() > deadlineMs) {
      child.kill("SIGKILL");
      throw new Error(`Cannot measure: ${child.spawnfile} did not start: ${words()}`);
    }
    await delay(50);
  }
}

async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGTERM");
  // nfs-ganesha may take long to say goodbye.
  const killer = setTimeout(() => child.kill("SIGKILL"), 10_000);
  await exit;
  clearTimeout(killer);
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  const address = server.address();
  server.close();
  if (address === null || typeof address === "string") throw new Error("Cannot find a free port");
  return address.port;
}

function childrenOf(pid: number): number[] {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8").split(" ").filter(Boolean).map(Number),
  );
}
