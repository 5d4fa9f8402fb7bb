import { execFileSync } from "node:child_process";
import { resolve } from "node:path";

const BUILDER = resolve(import.meta.dirname, "../../tools/demo-image.mjs");

/** The path of the demo image, built from Debian's packages when it is not there yet (some seconds, or a download). */
export function demoImage(): string {
  return execFileSync(process.execPath, [BUILDER], { encoding: "utf8" }).trim().split("\n").at(-1)!;
}
