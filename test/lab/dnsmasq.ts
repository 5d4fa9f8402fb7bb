/** dnsmasq as the boot server that real Pis are known to boot from. */
import { type ChildProcess, spawn } from "node:child_process";

export interface Dnsmasq {
  stop(): Promise<void>;
}

/** Resolves when it listens. It answers on the interface in its foreground, and logs nowhere. */
export async function startDnsmasq(
  interfaceName: string,
  words: readonly string[],
  /** A command that runs it, as in another network namespace. */
  prefix: readonly string[] = [],
): Promise<Dnsmasq> {
  const base = [
    "--no-daemon",
    "--conf-file=/dev/null",
    "--port=0",
    "--user=root",
    "--leasefile-ro",
    `--interface=${interfaceName}`,
  ];
  const [program = "dnsmasq", ...all] = [...prefix, "dnsmasq", ...base, ...words];
  const child = spawn(program, all, { stdio: ["ignore", "ignore", "pipe"] });
  await new Promise<void>((resolve, reject) => {
    let text = "";
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      if (/DHCP, (sockets|proxy|IP range)|TFTP root/.test(text)) resolve();
    });
    child.once("exit", () => reject(new Error(`Cannot start dnsmasq: ${text}`)));
  });
  return { stop: () => stop(child) };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill();
  await gone;
}
