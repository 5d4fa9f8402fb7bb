/** The packet filter's rules, as the programs print that come with it. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";

export type FirewallListing = { format: "nft" | "iptables"; text: string };

const LISTING_BYTES_MAX = 64 * 2 ** 20;
const LISTING_TIME_MAX_MS = 5000;
/** Ordinary users often lack the last two. */
const PATH = `${process.env.PATH ?? ""}:/usr/sbin:/sbin`;

/** All that are in force. Rejects with the reason why they cannot be listed. */
export async function firewallListings(): Promise<FirewallListing[]> {
  const nft = await nftListing();
  if (!usesLegacyTables()) return nft ? [nft] : [];
  const legacy = await run("iptables-legacy-save", []).catch(() => run("iptables-save", []));
  return [...(nft ? [nft] : []), { format: "iptables", text: legacy }];
}

async function nftListing(): Promise<FirewallListing | undefined> {
  try {
    return { format: "nft", text: await run("nft", ["-j", "list", "ruleset"]) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  try {
    return { format: "iptables", text: await run("iptables-save", []) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    if (usesLegacyTables()) return undefined;
    throw new Error("neither nft nor iptables-save is installed; if a firewall runs, look at its rules", {
      cause: error,
    });
  }
}

/** The older tables of the kernel have no part in `nft`. Root alone may read their names. */
function usesLegacyTables(): boolean {
  try {
    return readFileSync("/proc/net/ip_tables_names", "utf8").trim() !== "";
  } catch {
    return false;
  }
}

function run(program: string, words: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { env: { ...process.env, PATH }, maxBuffer: LISTING_BYTES_MAX, timeout: LISTING_TIME_MAX_MS };
    execFile(program, words, options, (error, stdout, stderr) => {
      if (!error) return resolve(stdout);
      if (error.code === "ENOENT") return reject(error);
      const said = stderr.trim().split("\n")[0] ?? "";
      reject(
        new Error(
          /permitted|permission|root/i.test(said) ? `${program}: only root may list the rules` : `${program}: ${said}`,
        ),
      );
    });
  });
}
