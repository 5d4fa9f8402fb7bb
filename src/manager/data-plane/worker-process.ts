/** One worker from the other side: a process that is started again when it crashes, and is then as it was before. */
import { type ChildProcess, fork } from "node:child_process";
import type { Ipv4 } from "../../bytes/addresses.ts";
import type { Clock } from "../../ports.ts";
import type { AcceptedConnection } from "../../system/tcp.ts";
import type { PacketsSince } from "../capture/packet-rings.ts";
import type {
  DataPlaneObservation,
  FromWorker,
  NodeOpened,
  NodeOpening,
  Question,
  QuestionName,
  Questions,
  ToWorker,
  WorkerSettings,
} from "./messages.ts";

export interface WorkerProcessOptions {
  /** The compiled `worker.js`. */
  entryPath: string;
  settings: WorkerSettings;
  clock: Clock;
  /** Who owns an address, for all that have an owner among this worker's nodes. */
  owners(): Iterable<readonly [Ipv4, string]>;
  observe(observation: DataPlaneObservation): void;
  /** It ended by itself; `crashes` in a row. It is started again after `retryMs`. */
  onCrash(reason: string, crashes: number, retryMs: number): void;
  /** A node's trees are open again after a crash. */
  onReopened(node: string, opened: NodeOpened): void;
  /** Inherited by the process, which holds a lock by it. */
  lockDescriptor?: number;
}

/** Threads that may wait for a disk: a stalled one must leave some for those who read. */
const DISK_THREADS = 16;
/** glibc makes up to eight pools for each core, and keeps what was freed in each. */
const MALLOC_POOLS = 2;
/** Connections that wait for a worker that is being started again: two for each of hundreds of nodes. */
const WAITING_CONNECTIONS_MAX = 1024;
/** A worker that ran so long did not crash because it was started. */
const STEADY_MS = 30_000;
const RETRY_MS = { first: 100, longest: 10_000 };
/** Data that must go to the disk first; systemd gives us 90 s. */
const STOP_WAIT_MS = 30_000;

interface Asked {
  question: Question;
  resolve(answered: unknown): void;
  reject(error: Error): void;
}

export class WorkerProcess {
  readonly #options: WorkerProcessOptions;
  /** Questions without an answer, oldest first. A worker that is started again is asked them again: none does harm twice. */
  readonly #asked = new Map<number, Asked>();
  /** What is open, or on its way to be. */
  readonly #openings = new Map<string, NodeOpening>();
  readonly #released = new Set<string>();
  #waiting: { node: string; accepted: AcceptedConnection }[] = [];
  /** Connections on their way to the process, which has not said yet that it has them. */
  readonly #handing = new Map<number, AcceptedConnection>();
  #child: ChildProcess | undefined;
  #isReady = false;
  #isStopping = false;
  #lastNumber = 0;
  #crashes = 0;
  #lastWords: string | undefined;

  constructor(options: WorkerProcessOptions) {
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Resolves when it serves; rejects with what stands in the way, and is not tried again then. */
  async start(): Promise<void> {
    try {
      await this.#run();
    } catch (error) {
      this.#isStopping = true;
      throw error;
    }
  }

  async open(opening: NodeOpening): Promise<Questions["open"]["answered"]> {
    this.#openings.set(opening.node, opening);
    this.#released.delete(opening.node);
    return this.#ask("open", opening);
  }

  async release(node: string, abandon: boolean): Promise<Questions["release"]["answered"]> {
    const opening = this.#openings.get(node);
    this.#openings.delete(node);
    this.#released.add(node);
    try {
      return await this.#ask("release", { node, abandon });
    } catch (error) {
      // It goes on as before.
      this.#released.delete(node);
      if (opening) this.#openings.set(node, opening);
      throw error;
    }
  }

  async forget(node: string): Promise<void> {
    this.#openings.delete(node);
    this.#released.delete(node);
    await this.#ask("forget", { node });
  }

  async flush(): Promise<void> {
    await this.#ask("flush", undefined);
  }

  overriddenPaths(node: string): Promise<string[]> {
    return this.#ask("overriddenPaths", { node });
  }

  packets(addresses: readonly Ipv4[], after: number): Promise<PacketsSince> {
    return this.#ask("packets", { addresses, after });
  }

  serveConnection(node: string, accepted: AcceptedConnection): void {
    if (this.#isReady && this.#child) {
      const number = ++this.#lastNumber;
      this.#handing.set(number, accepted);
      const message: ToWorker = { kind: "connection", number, node, remote: accepted.remote };
      accepted.handOver(this.#child, message);
      return;
    }
    this.#waiting.push({ node, accepted });
    if (this.#waiting.length > WAITING_CONNECTIONS_MAX) this.#waiting.shift()?.accepted.close();
  }

  /** For what needs no answer, and is worth nothing later: whoever asked will ask again. */
  tell(message: Extract<ToWorker, { kind: "owners" | "tftp" }>): void {
    if (this.#isReady) this.#say(message);
  }

  /** What nodes have written is durable when it resolves. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const { clock } = this.#options;
    const child = this.#child;
    for (const { accepted } of this.#waiting.splice(0)) accepted.close();
    try {
      if (!this.#isReady) return;
      // The process may hang; then what it holds is lost, as when the power goes.
      const giveUp = clock.after(STOP_WAIT_MS, () => child?.kill("SIGKILL"));
      await this.#ask("stop", undefined).finally(() => giveUp.cancel());
    } finally {
      if (child) await end(child);
      this.#rejectAll(stopping());
    }
  }

  #rejectAll(error: Error): void {
    for (const { reject } of this.#asked.values()) reject(error);
    this.#asked.clear();
  }

  #ask<Name extends QuestionName>(name: Name, asked: Questions[Name]["asked"]): Promise<Questions[Name]["answered"]> {
    return new Promise((resolve, reject) => {
      if (this.#isStopping && name !== "stop") return reject(stopping());
      const question = { name, asked } as Question;
      const number = ++this.#lastNumber;
      this.#asked.set(number, { question, resolve: resolve as (answered: unknown) => void, reject });
      // A worker is made ready by questions too.
      if (this.#isReady || name === "start") this.#say({ kind: "question", number, question });
    });
  }

  #say(message: ToWorker): void {
    // An error means that the worker is gone, and "exit" tells that too.
    this.#child?.send(message, undefined, {}, () => {});
  }

  async #run(): Promise<void> {
    const { entryPath, settings, clock, lockDescriptor } = this.#options;
    const child = fork(entryPath, [], {
      serialization: "advanced",
      execArgv: ["--max-semi-space-size=2"],
      env: { ...process.env, UV_THREADPOOL_SIZE: String(DISK_THREADS), MALLOC_ARENA_MAX: String(MALLOC_POOLS) },
      // Standard output belongs to whoever reads `up --json`.
      stdio: ["ignore", "ignore", "inherit", "ipc", lockDescriptor ?? "ignore"],
    });
    this.#child = child;
    this.#lastWords = undefined;
    const startedMs = clock.monotonicMs();
    child.on("message", (message) => this.#hear(message as FromWorker));
    const ended = new Promise<string>((resolve) => {
      child.once("error", (error) => resolve(error.message));
      child.once("exit", (code, signal) => resolve(this.#lastWords ?? (signal ? `signal ${signal}` : `exit ${code}`)));
    });
    try {
      await Promise.race([
        this.#ask("start", settings),
        ended.then((reason) => Promise.reject(new Error(`Cannot run a worker: it ended at once (${reason})`))),
      ]);
    } catch (error) {
      await end(child);
      throw error;
    }
    void ended.then((reason) => this.#crashed(reason, clock.monotonicMs() - startedMs));
    this.#makeReady();
  }

  /** Brings a new process to where the last one was. Messages arrive in order, so nothing need be waited for. */
  #makeReady(): void {
    this.#isReady = true;
    this.#say({ kind: "owners", owners: [...this.#options.owners()] });
    const asked = [...this.#asked];
    const opened = new Set(asked.map(([, { question }]) => (question.name === "open" ? question.asked.node : "")));
    for (const node of this.#released) void this.#ask("release", { node, abandon: false }).catch(this.#warn);
    for (const [node, opening] of this.#openings) if (!opened.has(node)) void this.#reopen(node, opening);
    for (const [number, { question }] of asked) this.#say({ kind: "question", number, question });
    for (const { node, accepted } of this.#waiting.splice(0)) this.serveConnection(node, accepted);
  }

  #reopen(node: string, opening: NodeOpening): Promise<void> {
    return this.#ask("open", opening).then((opened) => this.#options.onReopened(node, opened), this.#warn);
  }

  readonly #warn = ({ message }: Error): void => this.#options.observe({ kind: "warning", message });

  #crashed(reason: string, ranMs: number): void {
    this.#isReady = false;
    // Nobody reads from them any more, and their clients would wait for an answer.
    for (const accepted of this.#handing.values()) accepted.close();
    this.#handing.clear();
    if (this.#isStopping) {
      this.#rejectAll(new Error(`Cannot ask a worker: it has ended (${reason})`));
      return;
    }
    this.#crashes = ranMs > STEADY_MS ? 1 : this.#crashes + 1;
    const retryMs = this.#crashes === 1 ? 0 : Math.min(RETRY_MS.first * 2 ** (this.#crashes - 2), RETRY_MS.longest);
    this.#options.onCrash(reason, this.#crashes, retryMs);
    this.#options.clock.after(retryMs, () => {
      if (this.#isStopping) return;
      this.#forgetStart();
      this.#run().catch((error: Error) => this.#crashed(error.message, 0));
    });
  }

  /** A start that was never answered is asked anew, not again. */
  #forgetStart(): void {
    for (const [number, { question }] of this.#asked) if (question.name === "start") this.#asked.delete(number);
  }

  #hear(message: FromWorker): void {
    switch (message.kind) {
      case "answer":
        this.#take(message.number)?.resolve(message.answered);
        break;
      case "refusal":
        this.#take(message.number)?.reject(new Error(message.message));
        break;
      case "taken":
        this.#handing.get(message.number)?.close();
        this.#handing.delete(message.number);
        break;
      case "crash":
        this.#lastWords = message.reason;
        break;
      case "observation":
        this.#options.observe(message.observation);
        break;
    }
  }

  #take(number: number): Asked | undefined {
    const asked = this.#asked.get(number);
    this.#asked.delete(number);
    return asked;
  }
}

function stopping(): Error {
  return new Error("Cannot ask a worker: the manager is stopping");
}

function end(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve();
    child.once("exit", () => resolve());
    child.kill("SIGKILL");
  });
}
