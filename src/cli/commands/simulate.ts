import { randomInt } from "node:crypto";
import { resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { findVirtualModel, VIRTUAL_MODELS } from "../../simulator/models.ts";
import { insideLab, runInsideLab } from "../../system/lab-network.ts";
import { globalOptions } from "../context.ts";
import { UserError } from "../user-error.ts";

export interface SimulateOptions {
  nodes?: number;
  model: string[];
  image?: string;
  firmwareOnly?: boolean;
  /** A real network, and no manager. */
  interface?: string;
  /** With `interface`: which node of the manifest to be. */
  node?: string;
  /** No story, a table at the end. */
  report?: boolean;
  /** Of the frames, each way: from 0 to 1. */
  loss: number;
  /** Milliseconds from one board to the next; 0 for all together. */
  powerOn: number;
  seed: number;
  once?: boolean;
  timeout: number;
  memory: number;
}

export function addSimulate(bramble: Command): void {
  bramble
    .command("simulate")
    .description(
      "boot virtual Pis on an isolated network, with a manager of its own: those of the manifest, or made-up ones with --image",
    )
    .option("-n, --nodes <count>", "how many (default: all of the manifest, 2 with --image)", positive)
    .option("--model <models>", "which models, as 4 or 4,5; given out in turn", models, ["4"])
    .option("--image <source>", "an OS image, instead of a manifest")
    .option("--firmware-only", "stop where the kernel would start")
    .option(
      "--interface <name>",
      "firmware only, on a real network as a spare Pi would: is it ready? No manager is started",
    )
    .option("--node <name>", "with --interface: be this node of the manifest, whose board must be off")
    .option("--report", "firmware only, and a table at the end: how long it took, what failed and why")
    .option("--loss <percent>", "lose so many of the frames while firmware loads, as 2%", percent, 0)
    .option("--power-on <how>", "together, or one after the other, as staggered:5s", powerOn, 0)
    .option("--seed <number>", "of the made-up chance, as an earlier report says", wholeNumber, newSeed())
    .option("--once", "end when all are up, with exit code 0")
    .option(
      "--timeout <seconds>",
      "with --once or --firmware-only: fail when they are not there by then",
      positive,
      900,
    )
    .option("--memory <MiB>", "of each virtual Pi", positive, 1024)
    .action(async (options: SimulateOptions, command: Command) => {
      const { manifest, state, json } = globalOptions(command);
      if (options.interface !== undefined) {
        const { simulateSpare } = await import("../simulation-spare.ts");
        const where = { interface: options.interface, manifestPath: manifest, stateFolder: state, json: json ?? false };
        process.exitCode = await simulateSpare({ ...options, ...where });
        return;
      }
      if (!insideLab()) {
        process.exitCode = await runInsideLab(process.argv.slice(2));
        return;
      }
      const { simulate } = await import("../simulation.ts");
      process.exitCode = await simulate({
        ...options,
        ...(options.report && { firmwareOnly: true }),
        manifestPath: resolve(manifest),
        stateFolder: resolve(state ?? ".bramble-simulation"),
        json: json ?? false,
      });
    });
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError("Expected a whole number above 0");
  return value;
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > 0xffff_ffff) throw new InvalidArgumentError("Expected a number up to 4294967295");
  return value;
}

function newSeed(): number {
  return randomInt(0x1_0000_0000);
}

function percent(text: string): number {
  const value = /^(\d+(?:\.\d+)?)%$/.exec(text)?.[1];
  if (value === undefined || Number(value) > 100) throw new InvalidArgumentError("Expected a part of all, as 2%");
  return Number(value) / 100;
}

const UNIT_MS = { ms: 1, s: 1000, min: 60_000 };

/** In milliseconds from one board to the next. */
function powerOn(text: string): number {
  if (text === "together") return 0;
  const [, number, unit] = /^staggered:(\d+(?:\.\d+)?)(ms|s|min)$/.exec(text) ?? [];
  if (number === undefined) throw new InvalidArgumentError("Expected together, or a time as staggered:5s");
  return Number(number) * UNIT_MS[unit as keyof typeof UNIT_MS];
}

function models(text: string): string[] {
  const names = text.split(",").map((name) => name.trim());
  for (const name of names) {
    if (!findVirtualModel(name))
      throw new UserError(
        `Cannot simulate model ${name}: there are ${VIRTUAL_MODELS.map(({ pi }) => pi.id).join(", ")}`,
        2,
      );
  }
  return names;
}
