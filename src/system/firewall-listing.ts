/** The packet filter's rules, as the programs print that come with it. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";

export type FirewallListing =
  | { format: "iptables"; text: string }
  | { format: "nft"; text: string; withIptables: boolean };

const LISTING_BYTES_MAX = 64 * 2 ** 20;
const LISTING_TIME_MAX_MS = 5000;
/** Ordinary users often lack the last two. */
const PATH = `${process.env.PATH ?? ""}:/usr/sbin:/sbin`;

/** All that are in force. Rejects with the reason why they cannot be listed. */
export async function firewallListings(): Promise<FirewallListing[]> {
  const legacy = usesLegacyTables() ? [await iptables("iptables-legacy-save", "iptables-save")] : [];
  const nft = await unlessMissing(run("nft", ["-j", "list", "ruleset"]));
  if (nft !== undefined) {
    // Rules that iptables made, as ufw does: their matches and targets are blanks to nft.
    const translated = nft.includes('"xt"') ? await unlessMissing(run("iptables-nft-save", [])) : undefined;
    return [
      { format: "nft", text: nft, withIptables: translated === undefined },
      ...(translated === undefined ? [] : [{ format: "iptables" as const, text: translated }]),
      ...legacy,
    ];
  }
  if (legacy.length > 0) return legacy;
  return [await iptables("iptables-save")];
}

async function iptables(...programs: readonly string[]): Promise<FirewallListing> {
  for (const program of programs) {
    const text = await unlessMissing(run(program, []));
    if (text !== undefined) return { format: "iptables", text };
  }
  throw new Error("neither nft nor iptables-save is installed; if a firewall runs, look at its rules");
}

async function unlessMissing(listing: Promise<string>): Promise<string | undefined> {
  try {
    return await listing;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
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
