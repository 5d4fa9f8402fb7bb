import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DecodeError } from "../bytes/decode-error.ts";
import { openFileSource } from "./file-source.ts";

describe("openFileSource()", () => {
  let folder = "";
  let path = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-source-"));
    path = join(folder, "file");
    writeFileSync(path, "0123456789");
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("fills the target from any offset, at once and later", async () => {
    const source = openFileSource(path);
    expect(source.sizeBytes).toBe(10);
    const [now, later] = [Buffer.alloc(4), Buffer.alloc(4)];
    source.readSync(now, 6);
    await source.read(later, 3);
    expect([now.toString(), later.toString()]).toEqual(["6789", "3456"]);
    source.close();
    source.close();
    expect(() => source.readSync(now, 0)).toThrow(`Cannot read ${path}: it is closed`);
  });

  it("calls what reaches past the end truncated, also when the file shrank meanwhile", async () => {
    const shrinking = join(folder, "shrinking");
    writeFileSync(shrinking, "0123456789");
    const source = openFileSource(shrinking);
    expect(() => source.readSync(Buffer.alloc(2), 9)).toThrow(
      "bytes 9 to 11: the image is truncated, it has only 10 bytes",
    );
    truncateSync(shrinking, 5);
    expect(() => source.readSync(Buffer.alloc(4), 4)).toThrow(DecodeError);
    await expect(source.read(Buffer.alloc(4), 4)).rejects.toThrow(DecodeError);
    source.close();
  });

  it("refuses what is no plain file, and passes on the system's errors", () => {
    expect(() => openFileSource(folder)).toThrow(`Cannot open ${folder}: it is not a plain file`);
    expect(() => openFileSource(join(folder, "missing"))).toThrow("ENOENT");
  });
});
