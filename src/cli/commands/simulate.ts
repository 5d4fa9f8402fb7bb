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
    .option("--once", "end when all are up, with exit code 0")
    .option(
      "--timeout <seconds>",
      "with --once or --firmware-only: fail when they are not there by then",
      positive,
      900,
    )
    .option("--memory <MiB>", "of each virtual Pi", positive, 1024)
    .action(async (options: SimulateOptions, command: Command) => {
      if (!insideLab()) {
        process.exitCode = await runInsideLab(process.argv.slice(2));
        return;
      }
      const { manifest, state, json } = globalOptions(command);
      const { simulate } = await import("../simulation.ts");
      process.exitCode = await simulate({
        ...options,
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
