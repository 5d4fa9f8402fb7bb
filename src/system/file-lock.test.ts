import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { systemClock } from "./clock.ts";
import { lockFile, lockFolder } from "./file-lock.ts";

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bramble-lock-"));
  path = join(folder, "lock");
});

afterEach(() => rmSync(folder, { recursive: true }));

it("is had by one at a time", async () => {
  const lock = await lockFile(path, 0, systemClock);
  expect(await lockFile(path, 100, systemClock)).toBeUndefined();
  const waiting = lockFile(path, 10_000, systemClock);
  lock!.release();
  (await waiting)!.release();
});

it("is held by a child that inherited it until that one is gone, however it goes", async () => {
  const lock = await lockFile(path, 0, systemClock);
  const child = spawn("sleep", ["60"], { stdio: ["ignore", "ignore", "ignore", lock!.descriptor] });
  await once(child, "spawn");
  lock!.release();
  expect(await lockFile(path, 100, systemClock)).toBeUndefined();
  child.kill("SIGKILL");
  const again = await lockFile(path, 10_000, systemClock);
  expect(again).toBeDefined();
  again!.release();
});

it("is had of a folder, too, whatever happens to the files in it", async () => {
  const lock = await lockFolder(folder, 0, systemClock);
  writeFileSync(path, "one");
  renameSync(path, join(folder, "other"));
  expect(await lockFolder(folder, 100, systemClock)).toBeUndefined();
  const waiting = lockFolder(folder, 10_000, systemClock);
  lock!.release();
  (await waiting)!.release();
});
