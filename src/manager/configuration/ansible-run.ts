/** One run of ansible-playbook on some nodes: its files are made, its events told as they come, and all is removed again. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import type { Configure } from "../../cluster/manifest-configure.ts";
import { ANSIBLE_OUTPUT_BYTES_MAX, CONFIGURE_FORKS, CONFIGURE_RUN_MS_MAX } from "../../limits.ts";
import { ANSIBLE_VERSION_MIN, isAnsibleNewEnough, parseAnsibleVersion } from "../../provision/ansible/explain.ts";
import { configurationPlaybook, inventoryFile } from "../../provision/ansible/playbook.ts";
import {
  type AnsibleEvent,
  AnsibleProgress,
  type NodeOutcome,
  parseAnsibleEvent,
} from "../../provision/ansible/progress.ts";
import { inventoryOf, type KnownNode } from "../../provision/inventory.ts";
import { systemClock } from "../../system/clock.ts";
import { type FileLock, lockFile } from "../../system/file-lock.ts";
import type { LoadedManifest } from "../manifest-file.ts";
import { sshPaths } from "../secrets.ts";

/** Beside the program: `ansible/` of the package, also where it is run from its sources. */
const COLLECTIONS = resolve(import.meta.dirname, "../../../ansible");
const KILL_AFTER_MS = 5000;
const LOCK_WAIT_MS = 5000;
const PROGRESS_FD = 3;

export interface AnsibleRun {
  loaded: LoadedManifest;
  configure: Configure;
  known: readonly KnownNode[];
  /** Names of nodes that are up. */
  nodes: readonly string[];
  /** Nothing is changed; what would be is told. */
  check: boolean;
  onEvent(event: AnsibleEvent): void;
  /** Ends the run. */
  signal: AbortSignal;
}

/** Rejects when Ansible cannot be run at all; what goes wrong on nodes is in their outcomes. */
export async function runAnsible(run: AnsibleRun): Promise<NodeOutcome[]> {
  // The playbook inherits it: when the manager is killed, a new one waits until what was begun has ended.
  const lock = await lockFile(join(run.loaded.stateFolder, "configure.lock"), LOCK_WAIT_MS, systemClock);
  if (!lock) throw new Error("Cannot run Ansible: a run that an earlier manager began has not ended yet");
  const folder = runFolder(run.loaded.stateFolder);
  try {
    const place: Place = { folder, cwd: dirname(resolve(run.loaded.path)), env: environmentOf(folder) };
    await requireAnsible(place);
    return await runPlaybook(place, lock, run);
  } finally {
    lock.release();
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * A new folder, its user's alone, because it gets the variables of the manifest. What runs of killed managers left is removed. It
 * is not in the state folder: ssh makes a socket in it, whose path may have 108 bytes (unix(7)).
 */
function runFolder(stateFolder: string): string {
  const owner = createHash("sha256").update(resolve(stateFolder)).digest("hex").slice(0, 12);
  const beginning = `bramble-ansible-${owner}-`;
  for (const name of readdirSync(tmpdir())) {
    if (name.startsWith(beginning)) rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
  return mkdtempSync(join(tmpdir(), beginning));
}

interface Place {
  /** Of this run alone. */
  folder: string;
  /** The manifest's folder: an `ansible.cfg` beside it counts. */
  cwd: string;
  env: NodeJS.ProcessEnv;
}

async function runPlaybook({ folder, cwd, env }: Place, lock: FileLock, run: AnsibleRun): Promise<NodeOutcome[]> {
  const { loaded, nodes } = run;
  const inventory = inventoryOf(loaded.manifest, run.known, sshPaths(loaded.stateFolder));
  writeFileSync(join(folder, "configure.yml"), JSON.stringify(configurationPlaybook(run.configure)));
  writeFileSync(join(folder, "nodes.json"), JSON.stringify(inventoryFile(inventory, run.configure.variables)));
  mkdirSync(join(folder, "cp"));
  const child = spawn("ansible-playbook", wordsOf(folder, nodes, run.check), {
    cwd,
    env,
    detached: true,
    stdio: ["ignore", "pipe", "pipe", "pipe", lock.descriptor],
  });
  const stop = stopper(child);
  run.signal.addEventListener("abort", stop, { once: true });
  let isTooLong = false;
  const limit = systemClock.after(CONFIGURE_RUN_MS_MAX, () => {
    isTooLong = true;
    stop();
  });
  try {
    const progress = new AnsibleProgress();
    const said = lastWords([child.stderr!, child.stdout!]);
    const read = readEvents(child.stdio[PROGRESS_FD] as Readable, (event) => {
      if (progress.take(event)) run.onEvent(event);
    });
    await ended(child);
    await read;
    const tooLong = `the run was ended after ${CONFIGURE_RUN_MS_MAX / 3_600_000} hours`;
    return progress.outcomes(nodes, run.signal.aborted ? "the run was stopped" : isTooLong ? tooLong : said());
  } finally {
    limit.cancel();
    run.signal.removeEventListener("abort", stop);
  }
}

function wordsOf(folder: string, nodes: readonly string[], check: boolean): string[] {
  const forks = String(Math.min(nodes.length, CONFIGURE_FORKS));
  const limit = nodes.join(",");
  const words = ["--inventory", join(folder, "nodes.json"), "--limit", limit, "--forks", forks];
  return [...words, ...(check ? ["--check"] : []), join(folder, "configure.yml")];
}

function environmentOf(folder: string): NodeJS.ProcessEnv {
  const { env } = process;
  const collections = env.ANSIBLE_COLLECTIONS_PATH ?? env.ANSIBLE_COLLECTIONS_PATHS ?? DEFAULT_COLLECTIONS;
  const defaults = {
    ANSIBLE_PIPELINING: "1",
    ANSIBLE_TIMEOUT: "30",
    // sshd of a node that has just come up may be busy with its first keys.
    ANSIBLE_SSH_RETRIES: "4",
    // A node that lost its power is noticed after a minute, and not when TCP gives up.
    ANSIBLE_SSH_ARGS:
      "-C -o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=15 -o ServerAliveCountMax=4",
  };
  return {
    ...defaults,
    ...env,
    ANSIBLE_COLLECTIONS_PATH: `${COLLECTIONS}:${collections}`,
    ANSIBLE_SSH_CONTROL_PATH_DIR: join(folder, "cp"),
    ANSIBLE_LOCAL_TEMP: join(folder, "tmp"),
    ANSIBLE_STDOUT_CALLBACK: "bramble.cluster.progress",
    ANSIBLE_RETRY_FILES_ENABLED: "0",
    ANSIBLE_NOCOLOR: "1",
    BRAMBLE_PROGRESS_FD: String(PROGRESS_FD),
  };
}

const DEFAULT_COLLECTIONS = "~/.ansible/collections:/usr/share/ansible/collections";

/** The whole group: Ansible's own processes and their connections. */
function stopper(child: ChildProcess): () => void {
  const kill = (signal: NodeJS.Signals) => {
    try {
      process.kill(-child.pid!, signal);
    } catch {
      // It has ended meanwhile.
    }
  };
  return () => {
    kill("SIGTERM");
    const timer = systemClock.after(KILL_AFTER_MS, () => kill("SIGKILL"));
    child.once("exit", () => timer.cancel());
  };
}

/** When the program has ended, though connections that it leaves open for a minute still hold its output. */
function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once("error", (error) => reject(new Error(`Cannot run Ansible: ${error.message}`)));
    child.once("exit", () => resolve());
  });
}

async function readEvents(stream: Readable, take: (event: AnsibleEvent) => void): Promise<void> {
  for await (const line of createInterface({ input: stream })) {
    const event = parseAnsibleEvent(line);
    if (event) take(event);
  }
}

/** The last of what these streams say, the first stream's first; what the second one says only where that is nothing. */
function lastWords(streams: readonly Readable[]): () => string {
  const texts = streams.map(() => "");
  for (const [index, stream] of streams.entries()) {
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => {
      texts[index] = (texts[index]! + text).slice(-ANSIBLE_OUTPUT_BYTES_MAX);
    });
  }
  return () => texts.find((text) => text.trim() !== "") ?? "";
}

/** Rejects when there is no ansible-playbook, or one that is too old. */
async function requireAnsible({ cwd, env }: Place): Promise<void> {
  if (!existsSync(COLLECTIONS)) throw new Error(`Cannot run Ansible: the collection is not in ${COLLECTIONS}`);
  const child = spawn("ansible-playbook", ["--version"], { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  const said = lastWords([child.stdout, child.stderr]);
  await new Promise<void>((resolve, reject) => {
    child.once("close", () => resolve());
    child.once("error", (error: NodeJS.ErrnoException) =>
      reject(
        error.code === "ENOENT"
          ? new Error("Cannot run Ansible: ansible-playbook is not installed on the manager; apt install ansible-core")
          : new Error(`Cannot run Ansible: ${error.message}`),
      ),
    );
  });
  const version = parseAnsibleVersion(said());
  if (version === undefined) {
    throw new Error(
      `Cannot run Ansible: "ansible-playbook --version" tells no version: ${said().trim().slice(0, 300)}`,
    );
  }
  if (!isAnsibleNewEnough(version)) {
    throw new Error(
      `Cannot run Ansible: ansible-playbook is of version ${version}, and ${ANSIBLE_VERSION_MIN} is the oldest that will do`,
    );
  }
}
