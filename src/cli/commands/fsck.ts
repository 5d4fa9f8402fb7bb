import { resolve } from "node:path";
import type { Command } from "commander";
import { stateFolderAt } from "../../manager/state-folder.ts";
import { globalOptions, printJson } from "../context.ts";
import { formatCount } from "../table.ts";

export function addFsck(bramble: Command): void {
  bramble
    .command("fsck")
    .description(
      "check everything that nodes wrote: records, names, links, contents; exit code 1 when something is wrong",
    )
    .option(
      "--repair",
      "set counters right and remove what is left over; never what a node wrote. Needs a stopped manager",
    )
    .action(async ({ repair = false }: { repair?: boolean }, command: Command) => {
      const { manifest, state, json } = globalOptions(command);
      const { checkStateFolder } = await import("../../manager/store-check.ts");
      const folder = resolve(state ?? stateFolderAt(manifest));
      const { findings, repaired, counts, isInUse } = await checkStateFolder(folder, { repair });
      const isDamaged = findings.some(({ kind }) => kind === "damage");
      if (isDamaged) process.exitCode = 1;
      if (json) {
        const shown = (each: typeof findings) => each.map(({ kind, text }) => ({ kind, text }));
        printJson({ ok: !isDamaged, isInUse, counts, findings: shown(findings), repaired: shown(repaired) });
        return;
      }
      for (const { kind, text } of findings) console.log(`${kind === "damage" ? "wrong" : "left over"}: ${text}`);
      for (const { text } of repaired) console.log(`repaired: ${text}`);
      const looked = [
        formatCount(counts.trees, "tree"),
        formatCount(counts.snapshots, "snapshot"),
        formatCount(counts.layers, "layer"),
        formatCount(counts.records, "record"),
        formatCount(counts.dataFiles, "data file"),
      ].join(", ");
      const beside = isInUse ? ", beside a running manager" : "";
      const result = findings.length === 0 ? "nothing is wrong" : formatCount(findings.length, "finding");
      console.log(`${looked}${beside}: ${result}`);
    });
}
