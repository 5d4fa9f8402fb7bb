// Runs bench/NAME.ts, or all of them, and prints a line for each measure:
//   bench NAME ours=N peer=N unit=U ratio=R goal=>=G
// They are compiled as the program is, so that what is measured is the code that users run.
import { execFileSync } from "node:child_process";
import { copyFileSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "..");
const OUTPUT = join(ROOT, ".cache/bench");

const names = readdirSync(join(ROOT, "bench"))
  .filter((file) => file.endsWith(".ts"))
  .map((file) => file.slice(0, -".ts".length));

/** Four digits that count; whole numbers whole. */
function figure(value) {
  return Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(4)));
}

function print({ name, ours, peer, unit, goal }) {
  const ratio = figure(ours / peer);
  console.log(`bench ${name} ours=${figure(ours)} peer=${figure(peer)} unit=${unit} ratio=${ratio} goal=${goal}`);
}

async function runBenches(wanted) {
  const unknown = wanted.filter((name) => !names.includes(name));
  if (unknown.length > 0) {
    throw new Error(
      `Cannot run the bench "${unknown.join(" ")}": there is none of that name; have: ${names.join(" ")}`,
    );
  }
  process.chdir(ROOT);
  execFileSync(join(ROOT, "node_modules/.bin/tsc"), ["-p", "tsconfig.bench.json"], { stdio: "inherit" });
  // The program reads its version from there, and it says that the files are modules.
  copyFileSync("package.json", join(OUTPUT, "package.json"));
  for (const name of wanted.length > 0 ? wanted : names) {
    const { run } = await import(join(OUTPUT, "bench", `${name}.js`));
    await run(print);
  }
}

try {
  await runBenches(process.argv.slice(2));
} catch (error) {
  console.error(error.stdout ? "Cannot compile the benches" : error.message);
  process.exitCode = 1;
}
