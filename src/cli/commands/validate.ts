import type { Command } from "commander";
import { ManifestError } from "../../manager/manifest-error.ts";
import { globalOptions, loadManifestOf, printJson } from "../context.ts";
import { formatCount } from "../table.ts";

export function addValidate(bramble: Command): void {
  bramble
    .command("validate")
    .description("check the manifest: every problem at once, with its line and what to do")
    .action(async (_, command: Command) => {
      const { json, manifest: path } = globalOptions(command);
      try {
        const { manifest } = await loadManifestOf(command);
        if (json) printJson({ ok: true, problems: [] });
        else console.log(`${path}: ok, ${formatCount(manifest.nodes.length, "node")}`);
      } catch (error) {
        if (!json || !(error instanceof ManifestError)) throw error;
        printJson({ ok: false, problems: error.problems });
        process.exitCode = 3;
      }
    });
}

export function addSchema(bramble: Command): void {
  bramble
    .command("schema")
    .description("print the JSON Schema of the manifest, for editors")
    .action(async () => {
      const { manifestJsonSchema } = await import("../../cluster/manifest.ts");
      printJson(manifestJsonSchema());
    });
}
