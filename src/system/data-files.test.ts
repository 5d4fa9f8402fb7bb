import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openTreeCatalog } from "../tree/tree-catalog.ts";
import { Storage } from "../tree/tree-fixture.ts";
import { openDataFiles } from "./data-files.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bramble-data-files-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it("makes a new file's name durable with its contents, also when it was closed in between", async () => {
  const files = openDataFiles(folder);
  (await files.open("a/1", { make: true })).close();
  const again = await files.open("a/1", { make: false });
  // With the folder out of the way nobody can sync it: the promise of `sync` cannot be kept.
  renameSync(join(folder, "a"), join(folder, "b"));
  await expect(again.sync()).rejects.toThrow("ENOENT");
  renameSync(join(folder, "b"), join(folder, "a"));
  await again.sync();
  renameSync(join(folder, "a"), join(folder, "b"));
  await again.sync();
  again.close();
});

it("forgets names that were removed before they were durable", async () => {
  const files = openDataFiles(folder);
  for (const remove of [() => files.remove("a/1"), () => files.removeFolder("a")]) {
    const file = await files.open("a/1", { make: true });
    await remove();
    rmSync(join(folder, "a"), { recursive: true, force: true });
    await file.sync();
    file.close();
  }
});

it("may lie on a disk of their own: what is no layer's is left alone when leftovers are removed", async () => {
  for (const name of ["lost+found", "1f", "feed.old"]) mkdirSync(join(folder, name));
  await openTreeCatalog({ ...new Storage(), dataFiles: openDataFiles(folder) });
  expect(readdirSync(folder).sort()).toEqual(["feed.old", "lost+found"]);
});
