// House rules that are programs: import ranks, who may touch the world, and file length (docs/ARCHITECTURE.md).
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "..");
const LINES_MAX = 320;

/** Folder (or file) below src/ → rank. Imports go to a lower rank, or stay in the folder. */
const RANKS = {
  bytes: 0,
  cache: 0,
  order: 0,
  "ports.ts": 0.5,
  "limits.ts": 0,
  dhcp: 1,
  tftp: 1,
  nfs: 1,
  disk: 1,
  pi: 1,
  system: 1,
  cluster: 2,
  tree: 2,
  boot: 3,
  provision: 3,
  simulator: 3,
  manager: 4,
  cli: 5,
};
const WORLD_FOLDERS = new Set(["system", "manager", "cli"]);
const WORLD_MODULES =
  /^(node:)?(fs|fs\/promises|net|dgram|child_process|http|https|tls|os|worker_threads|cluster|timers|timers\/promises|dns)$|^(koffi|lmdb|fastify)$/;
const WORLD_CALLS =
  /\b(Date\.now\(|new Date\(\)|Math\.random\(|setTimeout\(|setInterval\(|performance\.now\(|process\.(hrtime|env|exit|cwd)\b|randomBytes\(|randomUUID\(|fetch\()/;

const problems = [];

function* sourceFiles(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sourceFiles(path);
    else if (entry.name.endsWith(".ts") || entry.name.endsWith(".mjs")) yield path;
  }
}

function unitOf(path) {
  return relative(join(ROOT, "src"), path).split("/")[0];
}

function checkImports(path, text) {
  const unit = unitOf(path);
  const rank = RANKS[unit];
  if (rank === undefined) {
    problems.push(
      `${relative(ROOT, path)}: "${unit}" has no rank; give it one in tools/check-source.mjs and ARCHITECTURE.md`,
    );
    return;
  }
  for (const [, specifier] of text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)) {
    if (specifier.startsWith(".")) {
      const target = unitOf(resolve(path, "..", specifier));
      const allowed = target === unit || RANKS[target] < rank;
      if (!allowed) problems.push(`${relative(ROOT, path)}: rank ${rank} imports ${target} (rank ${RANKS[target]})`);
    } else if (WORLD_MODULES.test(specifier) && !WORLD_FOLDERS.has(unit)) {
      problems.push(`${relative(ROOT, path)}: only system/, manager/ and cli/ may import "${specifier}"`);
    }
  }
}

function checkWorldCalls(path, text) {
  if (WORLD_FOLDERS.has(unitOf(path))) return;
  text.split("\n").forEach((line, index) => {
    const code = line.replace(/\/\/.*|^\s*\*.*/, "");
    if (WORLD_CALLS.test(code)) {
      problems.push(
        `${relative(ROOT, path)}:${index + 1}: time, random and processes come through ports.ts: ${line.trim()}`,
      );
    }
  });
}

/** An npm run on one platform may drop the optional packages of the others from the lock; newer `npm ci` then refuses it. */
function checkLock() {
  const { packages } = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8"));
  for (const [path, { optionalDependencies = {} }] of Object.entries(packages)) {
    for (const name of Object.keys(optionalDependencies)) {
      if (packages[`node_modules/${name}`] || packages[`${path}/node_modules/${name}`]) continue;
      problems.push(`package-lock.json: "${name}", optional for ${path}, has no entry; "npm ci" would fail`);
    }
  }
}

checkLock();
const folders = ["src", "test", "bench", "tools"];
for (const folder of folders) {
  for (const path of sourceFiles(join(ROOT, folder))) {
    const text = readFileSync(path, "utf8");
    const lines = text.split("\n").length;
    const isTest = path.endsWith(".test.ts");
    if (!isTest && lines > LINES_MAX) problems.push(`${relative(ROOT, path)}: ${lines} lines; ${LINES_MAX} at most`);
    if (/(^|\/)(util|utils|helpers|common|misc)(\.|\/|$)/.test(relative(ROOT, path))) {
      problems.push(`${relative(ROOT, path)}: the name says nothing; name it after what it holds`);
    }
    if (folder === "src" && !isTest) {
      checkImports(path, text);
      checkWorldCalls(path, text);
    }
  }
}

for (const problem of problems) console.error(problem);
if (problems.length > 0) {
  console.error(`${problems.length} problems`);
  process.exit(1);
}
console.log("source rules: ok");
