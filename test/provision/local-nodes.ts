/**
 * Nodes that are namespaces of this machine: each with its own /etc, /usr/local, /var and /run over those of the machine, its own
 * processes, and an address of 127.0.0.0/8. A real `sh` runs scripts in them as on a node; systemd is a stand-in. The power of a node can
 * go: its processes end at once, its files stay.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { Ipv4 } from "../../src/bytes/addresses.ts";
import type { RemoteShell, ShellOutcome } from "../../src/ports.ts";

const STAND_INS = resolve(import.meta.dirname, "../e2e/stand-ins");
/** Of this process alone: nodes share the machine's loopback interface. */
const NETWORK = `127.${64 + ((process.pid >> 8) % 64)}.${process.pid % 256}`;
const OWN_FOLDERS = ["etc", "usr/local", "var/lib", "var/log"];

export class LocalNode {
  readonly address: Ipv4;
  /** Keeps the mounts. */
  readonly #holder: ChildProcess;
  readonly #folder: string;
  #processes: ChildProcess | undefined;
  #ready: Promise<void>;
  #bootNumber = 0;

  constructor(folder: string, number: number) {
    this.#folder = folder;
    this.address = `${NETWORK}.${number}` as Ipv4;
    const mounts = OWN_FOLDERS.map((path) => {
      const [upper, work] = [`${folder}/up/${path}`, `${folder}/work/${path}`];
      return `mkdir -p ${upper} ${work} && mount -t overlay overlay -o lowerdir=/${path},upperdir=${upper},workdir=${work} /${path}`;
    });
    const text = `mount -t tmpfs node ${folder} && ${mounts.join(" && ")} && mount -t tmpfs run /run && echo ready && exec sleep infinity`;
    this.#holder = spawn("unshare", ["-m", "sh", "-c", text], { stdio: ["ignore", "pipe", "inherit"] });
    this.#ready = lineOf(this.#holder);
  }

  async boot(): Promise<void> {
    await this.#ready;
    this.#bootNumber++;
    const bootId = `00000000-0000-0000-0000-${`${this.address.split(".").at(-1)}${this.#bootNumber}`.padStart(12, "0")}`;
    const text = [
      "umount /run; mount -t tmpfs run /run",
      `printf %s ${this.address} > /run/stand-in-address`,
      `printf '%s\\n' ${bootId} > /run/boot_id && mount --bind /run/boot_id /proc/sys/kernel/random/boot_id`,
      "echo $$; exec sleep infinity",
    ].join("\n");
    const words = ["-t", String(this.#holder.pid), "-m", "unshare", "-p", "-f", "--mount-proc", "sh", "-c", text];
    this.#processes = spawn("nsenter", words, { stdio: ["ignore", "pipe", "ignore"] });
    await lineOf(this.#processes);
  }

  /** Of the first process in the node, as this machine counts. */
  #initPid(): number {
    let pid = this.#processes!.pid!;
    for (;;) {
      const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
      if (children === "") return pid;
      pid = Number(children.split(" ")[0]);
      if (readFileSync(`/proc/${pid}/comm`, "utf8").trim() !== "unshare") return pid;
    }
  }

  get isOn(): boolean {
    return this.#processes !== undefined;
  }

  run(script: string, timeoutMs: number): Promise<ShellOutcome> {
    if (this.#processes === undefined) return Promise.resolve({ kind: "unreachable", reason: "No route to host" });
    const child = spawn("nsenter", ["-t", String(this.#initPid()), "-m", "-p", "sh"], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    const [stdout, stderr] = [child.stdout, child.stderr].map(collected);
    child.stdin.on("error", () => {});
    child.stdin.end(script);
    return new Promise((settle) => {
      const deadline = setTimeout(() => {
        child.kill("SIGKILL");
        // What it started lives on in the node, and keeps its output open.
        settle({ kind: "timed-out" });
      }, timeoutMs);
      child.on("close", (exitCode) => {
        clearTimeout(deadline);
        settle(
          exitCode === null ? { kind: "timed-out" } : { kind: "ended", exitCode, stdout: stdout!(), stderr: stderr!() },
        );
      });
    });
  }

  /** What a script prints, for tests that look. */
  async look(script: string, timeoutMs = 20_000): Promise<string> {
    const outcome = await this.run(script, timeoutMs);
    if (outcome.kind !== "ended") throw new Error(`The node said nothing: ${outcome.kind}`);
    return (outcome.stdout + outcome.stderr).trim();
  }

  cutPower(): void {
    if (this.#processes === undefined) return;
    process.kill(this.#initPid(), "SIGKILL");
    this.#processes = undefined;
  }

  /** As a root that is dropped at each boot. */
  async forgetAll(): Promise<void> {
    this.cutPower();
    const paths = ["etc/rancher", "etc/kubernetes", "var/lib/rancher", "var/lib/bramble", "var/lib/kubelet"];
    const words = ["-t", String(this.#holder.pid), "-m", "rm", "-rf", ...paths.map((path) => `/${path}`)];
    spawnSync("nsenter", words);
  }

  stop(): void {
    this.cutPower();
    this.#holder.kill("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export class LocalNodes implements RemoteShell {
  readonly nodes: ReadonlyMap<string, LocalNode>;
  /** Every script that was sent, as somebody would see it who reads along. */
  readonly sent: { node: string; script: string }[] = [];
  readonly #folder = mkdtempSync(join(tmpdir(), "bramble-nodes-"));

  constructor(names: readonly string[]) {
    this.nodes = new Map(
      names.map((name, index) => {
        const folder = join(this.#folder, name);
        mkdirSync(folder);
        return [name, new LocalNode(folder, index + 11)];
      }),
    );
  }

  run(node: string, script: string, timeoutMs: number): Promise<ShellOutcome> {
    this.sent.push({ node, script });
    return this.nodes.get(node)!.run(script, timeoutMs);
  }

  /** A folder that all nodes see, with the stand-ins in it. */
  get standIns(): string {
    const folder = join(this.#folder, "stand-ins");
    mkdirSync(folder, { recursive: true });
    for (const name of ["kubernetes.py", "systemctl"]) {
      copyFileSync(join(STAND_INS, name), join(folder, name));
      chmodSync(join(folder, name), 0o755);
    }
    return folder;
  }

  /** The stand-in with a line more at its end, as another version of a program has other bytes. */
  variant(name: string, line: string): string {
    const path = join(this.standIns, name);
    writeFileSync(path, `${readFileSync(join(STAND_INS, "kubernetes.py"), "utf8")}# ${line}\n`, { mode: 0o755 });
    return path;
  }

  stop(): void {
    for (const node of this.nodes.values()) node.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function lineOf(child: ChildProcess): Promise<void> {
  return new Promise((settle, reject) => {
    createInterface(child.stdout!).once("line", () => settle());
    child.once("exit", (code) => reject(new Error(`The node's namespace ended with ${code}`)));
  });
}

function collected(stream: NodeJS.ReadableStream): () => string {
  let text = "";
  stream.on("data", (bytes: Buffer) => {
    text += bytes.toString();
  });
  return () => text;
}
