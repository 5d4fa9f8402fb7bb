/**
 * A shell of root's on nodes, by OpenSSH's client (ssh(1), ssh_config(5)). One connection to a node is shared by what is asked of it within
 * a minute: a login takes seconds where the processor is slow.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { SHELL_OUTPUT_BYTES_MAX, SHELLS_MAX } from "../limits.ts";
import { Slots } from "../order/slots.ts";
import type { RemoteShell, ShellOutcome } from "../ports.ts";

export interface SshTarget {
  user: string;
  address: string;
  /** `-o`, `Key=value`, …: which key the host has. */
  hostKeyOptions: readonly string[];
}

export interface SshShellOptions {
  /** The private key to log in with. */
  keyPath: string;
  /** Made when it is needed: sockets of connections. */
  socketFolder: string;
  /** `undefined`: its address is not known. */
  targetOf(node: string): SshTarget | undefined;
}

const CONNECT_TIMEOUT_S = 30;
/** A node that does not answer for so long is gone. */
const ALIVE_INTERVAL_S = 15;
const ALIVE_COUNT_MAX = 4;
const SHARED_FOR_S = 60;
/** ssh binds to the path with a dot and 16 characters more, then renames it; Linux takes 107. */
const SOCKET_PATH_BYTES_MAX = 107 - 17;
/** What ssh ends with when it is its own failure and not the command's. */
const SSH_FAILED = 255;
/** After ssh has ended, what it said last may still be on its way. */
const LAST_WORDS_MS = 100;

/** Said before the script: without it, no shell of root's was there. */
const BEGUN = "bramble-shell-has-begun";

/**
 * What the node runs. The script is read to its end before it begins, so that no command in it takes the rest of it for its input.
 * `sbin` is not in everybody's path.
 */
const INNER = `echo ${BEGUN} >&2; script=$(cat); exec </dev/null; PATH=$PATH:/usr/sbin:/sbin; eval "$script"`;
const COMMAND = `if [ "$(id -u)" = 0 ]; then exec sh -c '${INNER}'; else exec sudo -n sh -c '${INNER}'; fi`;

export class SshShell implements RemoteShell {
  readonly #options: SshShellOptions;
  readonly #slots = new Slots(SHELLS_MAX);
  readonly #running = new Set<() => void>();
  /** By socket: how to ask the one that holds it to end. */
  readonly #shared = new Map<string, readonly string[]>();
  #isClosed = false;

  constructor(options: SshShellOptions) {
    this.#options = options;
  }

  run(node: string, script: string, timeoutMs: number): Promise<ShellOutcome> {
    return this.#slots.run(async () => {
      const target = this.#options.targetOf(node);
      if (target === undefined) return { kind: "unreachable", reason: "its address is not known" };
      if (this.#isClosed) return { kind: "unreachable", reason: "the manager stops" };
      return this.#runAt(node, target, script, timeoutMs);
    });
  }

  /** Ends what runs and closes connections. What was asked for resolves as `unreachable`. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const stop of this.#running) stop();
    const open = [...this.#shared].filter(([path]) => existsSync(path));
    await Promise.all(open.map(([, words]) => endOf(spawn("ssh", words, { stdio: "ignore" }))));
  }

  #runAt(node: string, target: SshTarget, script: string, timeoutMs: number): Promise<ShellOutcome> {
    const options = [...this.#connecting(target), ...this.#sharing(node, target)];
    const child = spawn("ssh", [...options, `${target.user}@${target.address}`, COMMAND], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    return new Promise((resolve) => {
      let isTimedOut = false;
      const stop = () => void child.kill("SIGTERM");
      const timer = setTimeout(() => {
        isTimedOut = true;
        stop();
      }, timeoutMs);
      this.#running.add(stop);
      const stdout = textOf(child.stdout);
      const stderr = textOf(child.stderr);
      const settle = (outcome: ShellOutcome) => {
        clearTimeout(timer);
        this.#running.delete(stop);
        resolve(outcome);
      };
      child.once("error", (error: NodeJS.ErrnoException) => {
        const reason = error.code === "ENOENT" ? "this machine has no ssh; install openssh-client" : error.message;
        settle({ kind: "unreachable", reason });
      });
      // Whoever refuses the connection does not read the script either.
      child.stdin.on("error", () => {});
      child.stdin.end(script);
      const isClosed = new Promise<void>((done) => child.once("close", () => done()));
      child.once("exit", async (exitCode) => {
        // A connection that stays open for others keeps standard error open: its end does not come.
        await Promise.race([isClosed, new Promise((done) => setTimeout(done, LAST_WORDS_MS))]);
        child.stderr.destroy();
        settle(isTimedOut ? { kind: "timed-out" } : outcomeOf(exitCode, stdout(), stderr()));
      });
    });
  }

  #connecting({ hostKeyOptions }: SshTarget): string[] {
    const settings = {
      BatchMode: "yes",
      IdentitiesOnly: "yes",
      IdentityAgent: "none",
      ConnectTimeout: CONNECT_TIMEOUT_S,
      ServerAliveInterval: ALIVE_INTERVAL_S,
      ServerAliveCountMax: ALIVE_COUNT_MAX,
      LogLevel: "ERROR",
    };
    const words = Object.entries(settings).flatMap(([key, value]) => ["-o", `${key}=${value}`]);
    // Without anybody's own settings.
    return ["-F", "none", "-T", ...words, ...hostKeyOptions, "-i", this.#options.keyPath];
  }

  /** Nothing where the path of a socket would be too long. */
  #sharing(node: string, { user, address }: SshTarget): string[] {
    const name = createHash("sha256").update(`${node} ${user} ${address}`).digest("hex").slice(0, 12);
    const path = join(this.#options.socketFolder, name);
    if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX || path.includes("%")) return [];
    mkdirSync(this.#options.socketFolder, { recursive: true, mode: 0o700 });
    this.#shared.set(path, ["-F", "none", "-o", `ControlPath=${path}`, "-O", "exit", address]);
    return ["-o", "ControlMaster=auto", "-o", `ControlPath=${path}`, "-o", `ControlPersist=${SHARED_FOR_S}`];
  }
}

function outcomeOf(exitCode: number | null, stdout: string, said: string): ShellOutcome {
  const begunAt = said.indexOf(`${BEGUN}\n`);
  const stderr = begunAt < 0 ? said : said.slice(begunAt + BEGUN.length + 1);
  const reason = lastLine(stderr);
  if (exitCode === null) return { kind: "unreachable", reason: reason || "ssh was stopped" };
  if (exitCode === SSH_FAILED) return { kind: "unreachable", reason: reason || "the connection was lost" };
  if (begunAt < 0) return { kind: "refused", reason: reason || `its shell ended with ${exitCode}` };
  return { kind: "ended", exitCode, stdout, stderr };
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1)?.trim() ?? "";
}

/** What comes, up to a limit; the rest is read and dropped, so that its writer goes on. */
function textOf(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  stream.on("data", (chunk: Buffer) => {
    const kept = chunk.subarray(0, SHELL_OUTPUT_BYTES_MAX - sizeBytes);
    sizeBytes += kept.length;
    if (kept.length > 0) chunks.push(kept);
  });
  return () => Buffer.concat(chunks).toString();
}

function endOf(child: ReturnType<typeof spawn>): Promise<void> {
  return new Promise((resolve) => {
    child.once("error", () => resolve());
    child.once("exit", () => resolve());
  });
}
