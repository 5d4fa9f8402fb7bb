/** `bramble up` as its own process, in the network of the test. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import type { BootEvent } from "../../src/cluster/event.ts";
import { BRAMBLE } from "./simulation.ts";

export class ManagerProcess {
  readonly events: BootEvent[] = [];
  readonly #folder: string;
  readonly #where: readonly string[];
  readonly #child: ChildProcess;
  #errors = "";

  private constructor(folder: string) {
    this.#folder = folder;
    this.#where = ["--manifest", join(folder, "bramble.yaml"), "--state", join(folder, "state")];
    const words = [BRAMBLE, ...this.#where, "up", "--json"];
    this.#child = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "pipe"] });
    createInterface({ input: this.#child.stdout! }).on("line", (line) => this.events.push(JSON.parse(line)));
  }

  /** Resolves when it serves. */
  static async start(manifest: string): Promise<ManagerProcess> {
    const folder = mkdtempSync(join(tmpdir(), "bramble-up-"));
    writeFileSync(join(folder, "bramble.yaml"), manifest);
    const manager = new ManagerProcess(folder);
    await manager.#serving();
    return manager;
  }

  /** What it warned of, as manager: warnings of a node are about its image. */
  get warnings(): string[] {
    return this.events.flatMap((event) =>
      event.kind === "warning" && event.node === undefined ? [event.message] : [],
    );
  }

  get manifestPath(): string {
    return join(this.#folder, "bramble.yaml");
  }

  get manifest(): string {
    return readFileSync(this.manifestPath, "utf8");
  }

  /** What a command prints that is meant for this manager; rejects with its errors when it fails. */
  async bramble(...words: string[]): Promise<string> {
    const { stdout } = await promisify(execFile)(process.execPath, [BRAMBLE, ...this.#where, ...words]);
    return stdout;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null) {
      const exited = once(this.#child, "exit");
      this.#child.kill("SIGTERM");
      await exited;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #serving(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#child.stderr!.on("data", (bytes: Buffer) => {
        this.#errors += bytes.toString();
        if (this.#errors.includes("serving")) resolve();
      });
      this.#child.once("exit", () => reject(new Error(`bramble up has ended: ${this.#errors}`)));
    });
  }
}
