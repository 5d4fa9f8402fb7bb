import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../system/clock.ts";

const RESTART_MS = 500;

/** The manager as a process of its own, so that it can die alone; started again when a signal ended it, as systemd would. */
export class SupervisedManager {
  /** Resolves when it ended with an error of its own: starting it again would end the same way. */
  readonly gaveUp: Promise<"gave-up">;
  readonly #words: readonly string[];
  readonly #logPath: string;
  #child: ChildProcess | undefined;
  #stopping = false;
  #giveUp: (outcome: "gave-up") => void = () => {};

  constructor(words: readonly string[], stateFolder: string) {
    this.#words = words;
    this.#logPath = join(stateFolder, "manager.log");
    this.gaveUp = new Promise((resolve) => {
      this.#giveUp = resolve;
    });
    this.#start();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    await exited;
  }

  #start(): void {
    const program = process.argv[1] ?? "";
    const words = ["--pdeathsig", "KILL", process.execPath, ...process.execArgv, program, ...this.#words];
    const child = spawn("setpriv", words, { stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    const log = createWriteStream(this.#logPath, { flags: "a" });
    child.stdout.pipe(log, { end: false });
    child.stderr.on("data", (bytes: Buffer) => {
      log.write(bytes);
      if (!this.#stopping) process.stderr.write(bytes);
    });
    child.once("exit", (code, signal) => {
      log.end();
      if (this.#stopping) return;
      if (signal === null && code !== 0) this.#giveUp("gave-up");
      else systemClock.after(RESTART_MS, () => this.#stopping || this.#start());
    });
  }
}
