/** Runs the built program as a person would, in a folder of its own. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { sharedFolder } from "../shared-folder.ts";

const CHECKOUT = resolve(import.meta.dirname, "../..");
const PROGRAM = join(CHECKOUT, "dist/cli/main.js");
const NOBODY = 65534;
const AS_NOBODY = ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"];
const TIMEOUT_MS = 60_000;

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface RunSettings {
  /** As an ordinary user; without effect when the tests themselves run as one. */
  asNobody?: boolean;
  environment?: NodeJS.ProcessEnv;
}

/** A folder with a manifest, images and state, and the commands that are run in it. */
export class Workplace {
  readonly folder = mkdtempSync(join(tmpdir(), "bramble-cli-"));
  readonly #running = new Set<RunningCommand>();

  constructor() {
    chmodSync(this.folder, 0o755);
    if (process.getuid?.() === 0) chownSync(this.folder, NOBODY, NOBODY);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  write(name: string, text: string): void {
    writeFileSync(this.path(name), text);
  }

  /** One in which an ordinary user may write. */
  makeFolder(name: string): void {
    mkdirSync(this.path(name));
    if (process.getuid?.() === 0) chownSync(this.path(name), NOBODY, NOBODY);
  }

  removeFile(name: string): void {
    rmSync(this.path(name));
  }

  read(name: string): string {
    return readFileSync(this.path(name), "utf8");
  }

  /** Runs a command to its end. */
  async bramble(words: readonly string[], settings?: RunSettings): Promise<Outcome> {
    const command = this.start(words, settings);
    const timer = setTimeout(() => command.child.kill("SIGKILL"), TIMEOUT_MS);
    return command.ended.finally(() => clearTimeout(timer));
  }

  /** Starts a command that goes on until it is stopped. */
  start(words: readonly string[], settings: RunSettings = {}): RunningCommand {
    const command = new RunningCommand(words, this.folder, settings);
    this.#running.add(command);
    return command;
  }

  async remove(): Promise<void> {
    await Promise.all([...this.#running].map((command) => command.stop()));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export class RunningCommand {
  readonly ended: Promise<Outcome>;
  readonly child: ChildProcess;
  stdout = "";
  stderr = "";

  constructor(words: readonly string[], folder: string, { asNobody = false, environment }: RunSettings) {
    const asRoot = process.getuid?.() === 0;
    const main = asRoot && asNobody ? programForNobody() : PROGRAM;
    const [program, ...rest] = [...(asRoot && asNobody ? AS_NOBODY : []), process.execPath, main, ...words];
    const env = { ...process.env, NO_COLOR: "1", XDG_STATE_HOME: folder, ...environment };
    const child = spawn(program!, rest, { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
    child.stdout.on("data", (bytes: Buffer) => {
      this.stdout += bytes;
    });
    child.stderr.on("data", (bytes: Buffer) => {
      this.stderr += bytes;
    });
    this.child = child;
    this.ended = new Promise((done, reject) => {
      child.once("error", reject);
      child.once("close", (code) => {
        done({ code, stdout: this.stdout, stderr: this.stderr });
      });
    });
  }

  /** Resolves when what it has printed so far, both streams together, matches. */
  async waitFor(pattern: RegExp): Promise<void> {
    const seen = () => pattern.test(this.stdout + this.stderr);
    await new Promise<void>((done, reject) => {
      const check = () => seen() && done();
      this.child.stdout!.on("data", check);
      this.child.stderr!.on("data", check);
      void this.ended.then(({ code }) =>
        reject(new Error(`It ended with ${code} before it printed ${pattern}:\n${this.stdout}${this.stderr}`)),
      );
      check();
    });
  }

  async stop(): Promise<Outcome> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill("SIGTERM");
    return this.ended;
  }
}

let ofNobody: string | undefined;

/** The program where an ordinary user can read it: a checkout below /root is no place for that. */
function programForNobody(): string {
  ofNobody ??= isReadableByNobody(PROGRAM) ? PROGRAM : join(copyForNobody(), "dist/cli/main.js");
  return ofNobody;
}

function isReadableByNobody(program: string): boolean {
  const [setpriv, ...words] = AS_NOBODY;
  return spawnSync(setpriv!, [...words, process.execPath, program, "--version"]).status === 0;
}

/** One for all test files: with what it needs of npm it is hundreds of megabytes. */
function copyForNobody(): string {
  const folder = join(sharedFolder(), "checkout");
  if (existsSync(folder)) return folder;
  const copy = mkdtempSync(`${folder}-`);
  chmodSync(copy, 0o755);
  for (const name of ["dist", "node_modules", "package.json", "ansible"]) {
    cpSync(join(CHECKOUT, name), join(copy, name), { recursive: true });
  }
  try {
    renameSync(copy, folder);
  } catch (error) {
    // Another test file was first.
    if (!existsSync(folder)) throw error;
    rmSync(copy, { recursive: true });
  }
  return folder;
}
