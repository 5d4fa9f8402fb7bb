import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, describe, expect, it } from "vitest";
import type { KeyValueStore, Mutation } from "../ports.ts";
import { openLmdbStore } from "./lmdb-store.ts";

const folders: string[] = [];

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "lmdb-store-"));
  folders.push(folder);
  return folder;
}

afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

const bytes = (text: string) => Buffer.from(text, "latin1");
const put = (key: string, value: string): Mutation => ({ put: bytes(key), value: bytes(value) });
/** What every key-value store does is tested in tree/key-value-store.test.ts; this is what a disk adds. */
function keyCount(store: KeyValueStore): number {
  return [...store.range(bytes("\0"), bytes("\xff"))].length;
}

describe("an LMDB store", () => {
  it("lets what is not urgent wait for what is, for its time, or for the end, and keeps the order", async () => {
    const folder = newFolder();
    const store = openLmdbStore(folder);
    const durable: string[] = [];
    const write = (key: string, withinMs?: number) => {
      const written = store.write([put("last", key)], withinMs === undefined ? undefined : { withinMs });
      return written.then(() => durable.push(key));
    };
    const waiting = [write("late", 60_000)];
    await Promise.all([...waiting, write("urgent")]);
    expect(durable).toEqual(["late", "urgent"]);
    await Promise.all([write("sooner", 60_000), write("soon", 10)]);
    expect(durable).toEqual(["late", "urgent", "sooner", "soon"]);
    const left = write("at the end", 60_000);
    await store.close();
    await left;
    const again = openLmdbStore(folder);
    expect(Buffer.from(again.get(bytes("last"))!).toString()).toBe("at the end");
    await again.close();
  });

  it("keeps what is written over a restart, also values of megabytes and 100 MB in all", async () => {
    const folder = newFolder();
    const store = openLmdbStore(folder);
    const large = new Uint8Array(4 << 20).fill(42);
    for (let index = 0; index < 25; index += 1) await store.write([{ put: bytes(`large${index}`), value: large }]);
    await store.close();
    const again = openLmdbStore(folder);
    expect(Buffer.compare(again.get(bytes("large24"))!, large)).toBe(0);
    await again.close();
  });

  it("commits what is in flight before it closes", async () => {
    const folder = newFolder();
    const store = openLmdbStore(folder);
    const written = Array.from({ length: 100 }, (_, index) => store.write([put(`k${index}`, "v")]));
    await store.close();
    await Promise.all(written);
    const again = openLmdbStore(folder);
    expect(keyCount(again)).toBe(100);
    await again.close();
  });

  it("shows what another process has just stored, once it is to catch up", async () => {
    const folder = newFolder();
    const store = openLmdbStore(folder);
    await store.write([put("ours", "v")]);
    expect(keyCount(store)).toBe(1);
    const script = `import { open } from "lmdb";
      const store = open(${JSON.stringify(folder)}, { keyEncoding: "binary", encoding: "binary", maxDbs: 1, mapSize: 2 ** 36 });
      await store.put(Buffer.from("theirs"), Buffer.from("v"));
      await store.close();`;
    execFileSync(process.execPath, ["--input-type=module", "-e", script], { cwd: CHECKOUT });
    store.catchUp();
    expect(store.get(bytes("theirs"))).toBeDefined();
    await store.close();
  });

  it("refuses keys that LMDB cannot hold", () => {
    const store = openLmdbStore(newFolder());
    expect(() => store.write([put("x".repeat(1979), "v")])).toThrow("Cannot store a key of 1979 bytes");
    return store.close();
  });

  it("still has every answered write when the process is killed", async () => {
    const folder = newFolder();
    const answered = await writeUntilKilled(folder, 300);
    const store = openLmdbStore(folder);
    expect(answered).toBeGreaterThanOrEqual(300);
    for (let index = 0; index < answered; index += 1) expect(store.get(bytes(`key${index}`))).toBeDefined();
    await store.close();
  });
});

const CHECKOUT = resolve(import.meta.dirname, "../..");

/** A child process writes keys one after the other and prints each when it is answered; returns how many it printed. */
async function writeUntilKilled(storeFolder: string, killAfter: number): Promise<number> {
  const folder = newFolder();
  const config = {
    extends: join(CHECKOUT, "tsconfig.build.json"),
    compilerOptions: {
      outDir: join(folder, "dist"),
      rootDir: join(CHECKOUT, "src"),
      typeRoots: [join(CHECKOUT, "node_modules/@types")],
    },
    include: [],
    files: [join(import.meta.dirname, "lmdb-store.ts")],
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
  execFileSync(join(CHECKOUT, "node_modules/.bin/tsc"), ["-p", folder]);
  symlinkSync(join(CHECKOUT, "node_modules"), join(folder, "node_modules"));
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  const script = join(folder, "writer.js");
  writeFileSync(
    script,
    `import { openLmdbStore } from "./dist/system/lmdb-store.js";
     const store = openLmdbStore(${JSON.stringify(storeFolder)});
     for (let index = 0; ; index += 1) {
       await store.write([{ put: Buffer.from("key" + index), value: Buffer.from("v") }]);
       console.log(index);
     }`,
  );
  const child = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"] });
  let answered = 0;
  for await (const line of createInterface(child.stdout)) {
    answered = Number(line) + 1;
    if (answered === killAfter) child.kill("SIGKILL");
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  return answered;
}
