/** What `npm install` would get: the packed files run without the checkout around them. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, expect, it } from "vitest";

const CHECKOUT = resolve(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "bramble-package-"));

afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("runs as a package with nothing but its dependencies beside it", () => {
  // Without scripts: the build is there, and other tests are using it.
  const packed = execFileSync("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", folder], {
    cwd: CHECKOUT,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [{ filename, version, files }] = JSON.parse(packed) as [
    { filename: string; version: string; files: { path: string }[] },
  ];
  const paths = files.map((file) => file.path);
  expect(paths.filter((path) => /\.test\.|^(src|test|bench)\//.test(path))).toEqual([]);
  const modules = join(folder, "node_modules");
  mkdirSync(modules);
  execFileSync("tar", ["-xzf", join(folder, filename), "-C", folder]);
  for (const name of ["commander", "fastify", "fzstd", "koffi", "lmdb", "xz-decompress", "yaml", "yauzl", "zod"]) {
    symlinkSync(join(CHECKOUT, "node_modules", name), join(modules, name));
  }
  const bramble = (...words: string[]) =>
    execFileSync(process.execPath, [join(folder, "package/dist/cli/main.js"), ...words], {
      cwd: folder,
      encoding: "utf8",
    });
  expect(bramble("--version")).toBe(`${version}\n`);
  expect(JSON.parse(bramble("schema"))).toMatchObject({ title: "Bramble manifest" });
});
