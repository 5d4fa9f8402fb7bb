#!/usr/bin/env node
/**
 * The command line. Each command lives in `commands/`; this file names them and turns failures into exit codes. A command
 * imports what is large only when it runs: otherwise every command would wait for the modules of all.
 */
import { Command, CommanderError } from "commander";
import { DecodeError } from "../bytes/decode-error.ts";
import { ManifestError } from "../manager/manifest-error.ts";
import { VERSION } from "../manager/version.ts";
import { addCapture } from "./commands/capture.ts";
import { addClusterCommands } from "./commands/cluster.ts";
import { addConfigure } from "./commands/configure.ts";
import { addConsole } from "./commands/console.ts";
import { addDoctor } from "./commands/doctor.ts";
import { addExplain } from "./commands/explain.ts";
import { addFsck } from "./commands/fsck.ts";
import { addImageCommands } from "./commands/image.ts";
import { addInit } from "./commands/init.ts";
import { addInventory } from "./commands/inventory.ts";
import { addLogs } from "./commands/logs.ts";
import { addNodesCommands } from "./commands/nodes.ts";
import { addPlan } from "./commands/plan.ts";
import { addReport } from "./commands/report.ts";
import { addSimulate } from "./commands/simulate.ts";
import { addSsh } from "./commands/ssh.ts";
import { addStatus } from "./commands/status.ts";
import { addTop } from "./commands/top.ts";
import { addUp } from "./commands/up.ts";
import { addSchema, addValidate } from "./commands/validate.ts";
import { addWatch } from "./commands/watch.ts";
import { formatCount } from "./table.ts";
import { UserError } from "./user-error.ts";

/** 0 done · 1 failed · 2 used wrongly · 3 the manifest is wrong. */
const EXIT_USAGE = 2;
const EXIT_MANIFEST = 3;

function program(): Command {
  const bramble = new Command("bramble")
    .description("Boots Raspberry Pis without SD cards from one OS image file, and makes a cluster of them")
    .version(VERSION)
    .option("-m, --manifest <file>", "the manifest", "bramble.yaml")
    .option("--state <folder>", "where state is kept, instead of what the manifest says")
    .option("--json", "print data for programs instead of text for people")
    .showHelpAfterError()
    .exitOverride();
  addInit(bramble);
  addDoctor(bramble);
  addUp(bramble);
  addStatus(bramble);
  addWatch(bramble);
  addTop(bramble);
  addLogs(bramble);
  addCapture(bramble);
  addReport(bramble);
  addExplain(bramble);
  addPlan(bramble);
  addValidate(bramble);
  addNodesCommands(bramble);
  addImageCommands(bramble);
  addSimulate(bramble);
  addFsck(bramble);
  addSsh(bramble);
  addInventory(bramble);
  addClusterCommands(bramble);
  addConfigure(bramble);
  addConsole(bramble);
  addSchema(bramble);
  return bramble;
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
  if (error instanceof ManifestError) {
    console.error(error.message);
    console.error(`${formatCount(error.problems.length, "problem")} in the manifest`);
    return EXIT_MANIFEST;
  }
  if (error instanceof UserError) {
    console.error(`bramble: ${error.message}`);
    return error.exitCode;
  }
  // What we wrote for people has a sentence; what we did not foresee is more use with its stack.
  const foreseen = error instanceof DecodeError || (error instanceof Error && error.message.startsWith("Cannot "));
  console.error(foreseen ? `bramble: ${error.message}` : error);
  return 1;
}

// Whoever read our output has seen enough: "bramble watch | head".
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

try {
  await program().parseAsync();
} catch (error) {
  process.exitCode = exitCodeOf(error);
}
