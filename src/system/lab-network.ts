/**
 * The lab: an Ethernet of its own, in a network namespace of its own, where virtual Pis and a boot server meet
 * without touching the machine's network. A bridge is the switch, TAP interfaces are its ports.
 *
 * The program runs itself again inside `unshare` (as root, or through a user namespace where the kernel lets ordinary
 * users make one), so that the namespace lives exactly as long as the process.
 */
import { execFile, spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { dirname } from "node:path";
import { promisify } from "node:util";
import type { Ipv4 } from "../bytes/addresses.ts";

const run = promisify(execFile);

/** Set in the environment of the process inside the lab: how it got there. */
const LAB_ENVIRONMENT = "BRAMBLE_LAB";

export const LAB_ADDRESS = "10.77.0.1" as Ipv4;
export const LAB_PREFIX_LENGTH = 24;
export const LAB_BRIDGE = "br0";

export interface LabNetwork {
  /** The interface a boot server binds to, and its address. */
  bridge: string;
  address: Ipv4;
  prefixLength: number;
  /** `tap0`, `tap1`, …: one port of the switch for each virtual Pi. */
  taps: string[];
}

/** Name of the record in the state folder. */
export const LAB_RECORD = "lab.json";

/** What others need to get into the lab with `labEnterCommand`. */
export interface LabRecord {
  pid: number;
  userNamespace: boolean;
}

export function insideLab(): boolean {
  return process.env[LAB_ENVIRONMENT] !== undefined;
}

/**
 * Runs this program again (or `program`) with `programArguments`, inside the lab's namespace, and passes signals on.
 * Resolves with its exit code (128 + signal number when a signal ended it).
 */
export async function runInsideLab(
  programArguments: readonly string[],
  program: string = process.argv[1] ?? "",
): Promise<number> {
  const asRoot = process.getuid?.() === 0;
  const namespaces = asRoot ? ["--net"] : ["--net", "--user", "--map-root-user"];
  // setpriv: when this process dies, even by SIGKILL, so does the lab.
  const inside = ["setpriv", "--pdeathsig", "TERM", process.execPath, ...process.execArgv, program];
  const child = spawn("unshare", [...namespaces, ...inside, ...programArguments], {
    stdio: "inherit",
    env: { ...process.env, [LAB_ENVIRONMENT]: asRoot ? "root" : "user" },
  });
  const forward = (signal: NodeJS.Signals) => void child.kill(signal);
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, forward);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once("error", (error) =>
        reject(new Error(`Cannot start the lab network: ${error.message}; install util-linux`, { cause: error })),
      );
      child.once("exit", (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
    });
  } finally {
    for (const signal of signals) process.off(signal, forward);
  }
}

/** Makes the switch and its ports in the namespace this process is in. Names must be free. */
export async function createLabNetwork(settings: {
  taps: number;
  bridge?: string;
  address?: Ipv4;
  prefixLength?: number;
}): Promise<LabNetwork> {
  const bridge = settings.bridge ?? LAB_BRIDGE;
  const address = settings.address ?? LAB_ADDRESS;
  const prefixLength = settings.prefixLength ?? LAB_PREFIX_LENGTH;
  const taps = Array.from({ length: settings.taps }, (_, index) => `tap${index}`);
  // forward_delay 0: without spanning tree a port forwards at once; 15 s of silence would cost every Pi its first OFFERs.
  await ip(
    [
      "link set lo up",
      `link add ${bridge} type bridge forward_delay 0`,
      `addr add ${address}/${prefixLength} dev ${bridge}`,
    ],
    [`link set ${bridge} up`],
    ...taps.map((tap) => [`tuntap add dev ${tap} mode tap`, `link set ${tap} master ${bridge} up`]),
  );
  return { bridge, address, prefixLength, taps };
}

/** `ip` only says "open" of the device it could not open. */
function tunRemedy(command: string, said: string): string {
  if (!command.startsWith("tuntap") || !said.startsWith("open:")) return "";
  return said.includes("No such")
    ? '; /dev/net/tun is missing: run "modprobe tun" as root'
    : '; this user may not use /dev/net/tun: run as root, or "chmod 666 /dev/net/tun" as root (what Debian has)';
}

async function ip(...groups: string[][]): Promise<void> {
  for (const command of groups.flat()) {
    try {
      await run("ip", command.split(" "));
    } catch (error) {
      const { code, stderr } = error as { code?: string; stderr?: string };
      const said = stderr?.trim() ?? String(error);
      const why = code === "ENOENT" ? "ip is not installed; install iproute2" : `${said}${tunRemedy(command, said)}`;
      throw new Error(`Cannot set up the lab network: "ip ${command}": ${why}`, { cause: error });
    }
  }
}

/** Says where the lab is, in `path`, until the returned function is called. */
export function recordLab(path: string): () => void {
  const record: LabRecord = { pid: process.pid, userNamespace: process.env[LAB_ENVIRONMENT] === "user" };
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(record)}\n`);
  return () => rmSync(path, { force: true });
}

/** `undefined` when there is no lab, or its process is gone. */
export function readLabRecord(path: string): LabRecord | undefined {
  try {
    const record = JSON.parse(readFileSync(path, "utf8")) as LabRecord;
    process.kill(record.pid, 0);
    return record;
  } catch {
    return undefined;
  }
}

/** The words to put before a command so that it runs in the lab: `nsenter … ssh pi@10.77.0.11`. */
export function labEnterCommand(record: LabRecord): string[] {
  const user = record.userNamespace ? ["--user", "--preserve-credentials"] : [];
  return ["nsenter", "--target", String(record.pid), ...user, "--net", "--"];
}
