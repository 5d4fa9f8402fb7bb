import { existsSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import type { Command } from "commander";
import { loadManifestOf } from "../context.ts";
import { UserError } from "../user-error.ts";

/** Ctrl-], as telnet has it: nothing on a console needs it. */
const LEAVE = "\u001d";

export function addConsole(bramble: Command): void {
  bramble
    .command("console <node>")
    .description("watch and type on the serial console of a virtual Pi; Ctrl-] leaves")
    .action(async (node: string, _, command: Command) => {
      const { stateFolder } = await loadManifestOf(command);
      const { CONSOLE_FOLDER } = await import("../simulation.ts");
      const path = join(stateFolder, CONSOLE_FOLDER, `${node}.sock`);
      if (!existsSync(path)) {
        throw new UserError(
          `Cannot open the console of ${node}: no simulation with that node runs from ${stateFolder}`,
        );
      }
      await attach(path);
    });
}

function attach(path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const console = connect(path);
    const { stdin, stdout } = process;
    stdin.setRawMode?.(true);
    stdin.setEncoding("utf8");
    stdin.on("data", (text: string) => {
      if (text.includes(LEAVE)) console.end();
      else console.write(text);
    });
    console.pipe(stdout, { end: false });
    console.once("error", (error) => reject(new UserError(`Cannot open the console ${path}: ${error.message}`)));
    console.once("close", () => {
      stdin.setRawMode?.(false);
      stdin.pause();
      resolve();
    });
  });
}
