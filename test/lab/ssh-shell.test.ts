/** The manager's shell on nodes, against OpenSSH's own server. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SHELL_OUTPUT_BYTES_MAX } from "../../src/limits.ts";
import { pinnedHostKeyOptions } from "../../src/provision/ssh-options.ts";
import { SshShell, type SshTarget } from "../../src/system/ssh.ts";
import { freePorts } from "../free-ports.ts";
import { requireRoot, requireTools } from "./required-tools.ts";
import { startSshd, type TestSshd } from "./sshd.ts";

const skipped = requireRoot() || requireTools(["ssh", "sudo", "unshare", "apt-get"]);
const TIMEOUT_MS = 30_000;

describe.skipIf(skipped)("a shell on a node", () => {
  let sshd: TestSshd;
  const shells: SshShell[] = [];

  beforeAll(async () => {
    sshd = await startSshd((await freePorts(1))[0]!);
  });
  afterAll(async () => {
    for (const shell of shells) await shell.close();
    await sshd?.close();
  });

  const logins = () => sshd.log().split("Accepted publickey").length;

  function shellAs(
    user: string,
    change: Partial<SshTarget> = {},
    socketFolder = join(sshd.folder, `s-${shells.length}`),
  ) {
    const files = { managerKey: sshd.keyPath, knownHosts: sshd.knownHosts };
    const hostKeyOptions = [...pinnedHostKeyOptions(sshd.hostName, files), "-o", `Port=${sshd.port}`];
    const target = { user, address: "127.0.0.1", hostKeyOptions, ...change };
    const shell = new SshShell({ keyPath: sshd.keyPath, socketFolder, targetOf: () => target });
    shells.push(shell);
    return shell;
  }

  it("is root's, and tells how a script ended and what it said", async () => {
    const outcome = await shellAs("pi").run("board", "id -u; echo to whom it concerns >&2\nexit 7", TIMEOUT_MS);
    expect(outcome).toEqual({ kind: "ended", exitCode: 7, stdout: "0\n", stderr: "to whom it concerns\n" });
  });

  it("runs a script to its end although a command in it reads its input", async () => {
    const script = "cat\nread -r line || echo nothing to read\ncat <<END\nhere\nEND\necho 'it'\\''s the end'";
    expect(await shellAs("pi").run("board", script, TIMEOUT_MS)).toMatchObject({
      exitCode: 0,
      stdout: "nothing to read\nhere\nit's the end\n",
    });
  });

  it("has a script in nobody's list of processes", async () => {
    const script =
      "token=SWMTKN-secret; tr '\\0' ' ' < /proc/$$/cmdline; tr '\\0' ' ' < /proc/$PPID/cmdline; cat /proc/$$/environ";
    const outcome = await shellAs("pi").run("board", script, TIMEOUT_MS);
    expect(outcome).toMatchObject({
      kind: "ended",
      exitCode: 0,
      stdout: expect.stringContaining("bramble-shell-has-begun"),
    });
    expect(JSON.stringify(outcome)).not.toContain("SWMTKN");
  });

  it("logs in once for what is asked within a minute, and several things at a time", async () => {
    const folder = join(sshd.folder, "shared");
    const shell = shellAs("pi", {}, folder);
    await shell.run("board", "true", TIMEOUT_MS);
    const sockets = readdirSync(folder);
    expect(sockets).toHaveLength(1);
    const loginsBefore = logins();
    const outcomes = await Promise.all([1, 2, 3, 4].map(() => shell.run("board", "sleep 0.2", TIMEOUT_MS)));
    expect(outcomes.every((outcome) => outcome.kind === "ended")).toBe(true);
    expect(logins()).toBe(loginsBefore);
    await shell.close();
    expect(existsSync(join(folder, sockets[0]!))).toBe(false);
  });

  it("works without a shared connection where the path of a socket would be too long", async () => {
    const folder = join(sshd.folder, "x".repeat(90));
    expect(await shellAs("pi", {}, folder).run("board", "echo here", TIMEOUT_MS)).toMatchObject({ stdout: "here\n" });
    expect(existsSync(folder)).toBe(false);
  });

  it("says that sudo wants a password, in sudo's words", async () => {
    expect(await shellAs("guest").run("board", "id -u", TIMEOUT_MS)).toEqual({
      kind: "refused",
      reason: expect.stringContaining("a password is required"),
    });
  });

  it("refuses a host whose key is another than the manager made", async () => {
    const folder = join(sshd.folder, "other");
    mkdirSync(folder);
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(folder, "host")]);
    const knownHosts = join(folder, "known_hosts");
    execFileSync("sh", ["-c", `{ printf 'board '; cat ${folder}/host.pub; } > ${knownHosts}`]);
    const files = { managerKey: sshd.keyPath, knownHosts };
    const hostKeyOptions = [...pinnedHostKeyOptions("board", files), "-o", `Port=${sshd.port}`];
    expect(await shellAs("pi", { hostKeyOptions }).run("board", "id", TIMEOUT_MS)).toEqual({
      kind: "unreachable",
      reason: expect.stringContaining("Host key verification failed"),
    });
  });

  it("cuts off what is said without end, and lets its script end all the same", async () => {
    const script = `head -c ${SHELL_OUTPUT_BYTES_MAX + 100_000} /dev/zero; echo done >&2`;
    const outcome = await shellAs("pi").run("board", script, TIMEOUT_MS);
    if (outcome.kind !== "ended") throw new Error(JSON.stringify(outcome));
    expect([outcome.stdout.length, outcome.stderr]).toEqual([SHELL_OUTPUT_BYTES_MAX, "done\n"]);
  });

  it("ends what takes too long", async () => {
    expect(await shellAs("pi").run("board", "sleep 60", 1500)).toEqual({ kind: "timed-out" });
  });

  it("tells at once, in ssh's words, of a node where nothing listens", async () => {
    const port = (await freePorts(1))[0]!;
    const shell = shellAs("pi", { hostKeyOptions: ["-o", `Port=${port}`] });
    expect(await shell.run("board", "true", TIMEOUT_MS)).toEqual({
      kind: "unreachable",
      reason: expect.stringContaining("Connection refused"),
    });
  });

  it("tells of a connection that is lost in the middle, and finds the node again when it is back", async () => {
    const shell = shellAs("pi");
    const lost = shell.run("board", "echo begun; sleep 30", TIMEOUT_MS);
    await shell.run("board", "true", TIMEOUT_MS);
    await sshd.kill();
    expect(await lost).toMatchObject({ kind: "unreachable" });
    expect(await shell.run("board", "true", TIMEOUT_MS)).toMatchObject({ kind: "unreachable" });
    await sshd.start();
    expect(await shell.run("board", "echo back", TIMEOUT_MS)).toMatchObject({ kind: "ended", stdout: "back\n" });
  });

  it("leaves no process behind when it is closed", async () => {
    const shell = shellAs("pi");
    const running = shell.run("board", "sleep 60", TIMEOUT_MS);
    await shell.run("board", "true", TIMEOUT_MS);
    await shell.close();
    expect(await running).toMatchObject({ kind: "unreachable" });
    expect(await shell.run("board", "true", TIMEOUT_MS)).toEqual({ kind: "unreachable", reason: "the manager stops" });
  });
});
