/**
 * OpenSSH's server for a test: the machine's, or Debian's package unpacked into a folder of its own, since nobody wants a server to
 * start on a laptop. It runs in a mount namespace with users of its own, and is reached on a port of loopback.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const CACHE = resolve(import.meta.dirname, "../../.cache/sshd");

function sshdProgram(): string {
  const installed = "/usr/sbin/sshd";
  if (existsSync(installed)) return installed;
  const unpacked = join(CACHE, "root", installed);
  if (existsSync(unpacked)) return unpacked;
  mkdirSync(CACHE, { recursive: true });
  execFileSync("apt-get", ["-qq", "download", "openssh-server", "libwrap0"], { cwd: CACHE, stdio: "pipe" });
  for (const name of readdirSync(CACHE).filter((each) => each.endsWith(".deb"))) {
    execFileSync("dpkg-deb", ["-x", join(CACHE, name), join(CACHE, "root")]);
  }
  return unpacked;
}

export interface TestSshd {
  port: number;
  /** The private key that all users let in. */
  keyPath: string;
  /** `known_hosts` has the server's key by this name. */
  knownHosts: string;
  hostName: string;
  folder: string;
  /** What it has said so far. */
  log(): string;
  /** Ends the server and every connection. */
  kill(): Promise<void>;
  start(): Promise<void>;
  close(): Promise<void>;
}

/** Needs root. Users: `pi`, who is root by sudo without a password; `guest`, who is asked for one. */
export async function startSshd(port: number): Promise<TestSshd> {
  const folder = mkdtempSync(join(tmpdir(), "sshd-"));
  const at = (name: string) => join(folder, name);
  const makeKey = (name: string) => execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", at(name)]);
  for (const name of ["host", "key"]) makeKey(name);
  const users = ["pi:x:61001", "guest:x:61002", "sshd:x:61003"].map((user) => `${user}:65534::${folder}:/bin/sh\n`);
  writeFileSync(at("passwd"), readFileSync("/etc/passwd", "utf8") + users.join(""));
  writeFileSync(at("shadow"), "root:*:1::::::\npi:*:1::::::\nguest:*:1::::::\nsshd:*:1::::::\n", { mode: 0o600 });
  writeFileSync(at("sudoers"), "root ALL=(ALL) ALL\npi ALL=(ALL) NOPASSWD: ALL\nguest ALL=(ALL) ALL\n", {
    mode: 0o440,
  });
  writeFileSync(at("known_hosts"), `board ${readFileSync(at("host.pub"), "utf8")}`);
  const settings = [
    `Port ${port}`,
    "ListenAddress 127.0.0.1",
    `HostKey ${at("host")}`,
    `AuthorizedKeysFile ${at("key.pub")}`,
    "StrictModes no",
    "UsePAM no",
    `PidFile ${at("pid")}`,
  ];
  writeFileSync(at("config"), `${settings.join("\n")}\n`);
  execFileSync("chmod", ["755", folder]);
  const mounts = ["passwd", "shadow", "sudoers"].map((name) => `mount --bind ${at(name)} /etc/${name} && `).join("");
  const program = sshdProgram();
  const libraries = join(CACHE, `root/lib/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`);
  const command = `mount -t proc proc /proc && ${mounts} mkdir -p /run/sshd && exec env LD_LIBRARY_PATH=${libraries} ${program} -D -e -f ${at("config")}`;
  let server: ChildProcess | undefined;
  let log = "";
  const kill = async () => {
    if (server === undefined) return;
    // Its sessions are in its process group.
    const ended = new Promise((done) => server!.once("exit", done));
    process.kill(-server.pid!, "SIGKILL");
    await ended;
    server = undefined;
  };
  const start = async () => {
    server = spawn("unshare", ["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", command], {
      detached: true,
      stdio: ["ignore", "ignore", "pipe"],
    });
    server.stderr?.on("data", (chunk: Buffer) => {
      log += chunk.toString();
    });
    await untilListening(port).catch((error: Error) => {
      throw new Error(`${error.message}: ${log}`);
    });
  };
  await start();
  return {
    port,
    keyPath: at("key"),
    knownHosts: at("known_hosts"),
    hostName: "board",
    folder,
    log: () => log,
    kill,
    start,
    close: async () => {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function untilListening(port: number): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const isThere = await new Promise<boolean>((done) => {
      const socket = connect(port, "127.0.0.1");
      socket.once("connect", () => {
        socket.destroy();
        done(true);
      });
      socket.once("error", () => done(false));
    });
    if (isThere) return;
    await sleep(50);
  }
  throw new Error(`Cannot go on: no SSH server on port ${port}`);
}
