import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { exitCodeOf, FINDING_IDS } from "../../cluster/doctor/finding.ts";
import { stateFolderAt, stateFolderOf } from "../../manager/state-folder.ts";
import { globalOptions, printJson } from "../context.ts";
import { doctorText } from "../doctor-text.ts";

interface DoctorFlags {
  interface?: string;
  ignore?: string[];
  offline?: boolean;
}

export function addDoctor(bramble: Command): void {
  bramble
    .command("doctor")
    .description(
      "look for what keeps Pis from booting, in this machine and its network, before the first one is switched on",
    )
    .option("--interface <name>", "look at this interface, instead of the manifest's")
    .option("--ignore <ids>", "leave these findings out, as spanning-tree,mtu-large", findingIds)
    .option("--offline", "ask and hear nothing on the network")
    .action(doctor);
}

async function doctor(flags: DoctorFlags, command: Command): Promise<void> {
  const { manifest, state, json } = globalOptions(command);
  const hasManifest = existsSync(manifest);
  const { collectFacts } = await import("../../manager/doctor/collect.ts");
  const { examine } = await import("../../cluster/doctor/examine.ts");
  const facts = await collectFacts({
    manifestPath: manifest,
    hasManifest,
    stateFolder: resolve(state ?? (hasManifest ? stateFolderAt(manifest) : stateFolderOf(undefined, (path) => path))),
    ...(state !== undefined && { state }),
    ...(flags.interface !== undefined && { interfaceName: flags.interface }),
    asksNetwork: flags.offline !== true,
  });
  const examination = examine(facts, new Set(flags.ignore));
  process.exitCode = exitCodeOf(examination.findings);
  if (json) printJson({ ok: process.exitCode === 0, ...examination });
  else console.log(doctorText(examination));
}

function findingIds(text: string): string[] {
  const ids = text.split(",").map((id) => id.trim());
  const unknown = ids.find((id) => !FINDING_IDS.some((known) => known === id));
  if (unknown !== undefined)
    throw new InvalidArgumentError(`There is no finding ${unknown}; docs/DOCTOR.md lists them`);
  return ids;
}
