/** The C programs beside this file: compiled into a folder, run, and their numbers read. */
import { execFile, execFileSync } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

/** Path of the compiled program. The working folder is the checkout. */
export function compile(
  name: "tftp-load" | "dhcp-load" | "nfs-load" | "nbd-load" | "storm-load",
  folder: string,
): string {
  return compiled(name, folder, []);
}

/** The same of one that runs in the virtual machine, which has no libraries. */
export function compileAlone(name: "nbd-attach", folder: string): string {
  return compiled(name, folder, ["-static"]);
}

function compiled(name: string, folder: string, words: readonly string[]): string {
  const program = join(folder, name);
  execFileSync("gcc", ["-O2", ...words, "-o", program, join("bench/instruments", `${name}.c`)]);
  return program;
}

const MESSAGES_BYTES_MAX = 4 * 1024 * 1024;

/** The numbers of the one line that the program prints. What it complains of is shown. */
export async function numbersOf(program: string, args: readonly string[]): Promise<number[]> {
  const { stdout, stderr } = await promisify(execFile)(program, args, { maxBuffer: MESSAGES_BYTES_MAX });
  if (stderr !== "") process.stderr.write(stderr);
  return stdout.trim().split(" ").map(Number);
}
