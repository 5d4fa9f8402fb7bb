// Runs what takes long: node tools/run-soak.mjs NAME [ROUNDS] [SEED]. Compiled as the program is, to be killed as it is.
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync } from "node:fs";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "..");
const OUTPUT = join(ROOT, ".cache/soak");

const [name = "crash", ...words] = process.argv.slice(2);
process.chdir(ROOT);
execFileSync(join(ROOT, "node_modules/.bin/tsc"), ["-p", "tsconfig.soak.json"], { stdio: "inherit" });
copyFileSync("package.json", join(OUTPUT, "package.json"));
const { status } = spawnSync(process.execPath, [join(OUTPUT, "test/soak", `${name}.js`), ...words], {
  stdio: "inherit",
});
process.exitCode = status ?? 1;
