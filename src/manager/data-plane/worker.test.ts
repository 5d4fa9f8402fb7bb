import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { expect, it } from "vitest";

/** Also of several lines, and by `import()`; not of types only, which are gone when it runs. */
const IMPORT = /(?:^(?:import|export) (?!type\b)[\w\s{},*]*?(?:from )?|import\()"([^"]+)"/gm;

/** Packages that a file needs when it runs, with all that it imports. */
function packagesOf(path: string, seen = new Set<string>()): Set<string> {
  const packages = new Set<string>();
  if (seen.has(path)) return packages;
  seen.add(path);
  for (const [, specifier] of readFileSync(path, "utf8").matchAll(IMPORT)) {
    if (specifier!.startsWith(".")) {
      for (const each of packagesOf(resolve(dirname(path), specifier!), seen)) packages.add(each);
    } else if (!specifier!.startsWith("node:")) packages.add(specifier!);
  }
  return packages;
}

it("needs no package but those for sockets and the store: each of up to 16 workers would hold it in memory", () => {
  expect([...packagesOf(resolve(import.meta.dirname, "worker.ts"))].sort()).toEqual(["koffi", "lmdb"]);
  // Those of the manager's own process are found in the same way.
  expect([...packagesOf(resolve(import.meta.dirname, "../manager.ts"))]).toEqual(
    expect.arrayContaining(["fastify", "yaml", "zod"]),
  );
});
