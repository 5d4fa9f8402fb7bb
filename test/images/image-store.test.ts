import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { imageFiles } from "../../src/disk/image-files.ts";
import { ImageError } from "../../src/manager/image-error.ts";
import { ImageStore, type ImportProgress } from "../../src/manager/image-store.ts";
import { hashFile } from "../../src/system/file-hash.ts";
import { requireRoot, requireTools } from "../lab/required-tools.ts";
import { makeOsImage, OS_IMAGE_COMMANDS, patchFile } from "./os-image-file.ts";

const missing = requireTools([...OS_IMAGE_COMMANDS, "xz", "zstd", "gzip", "zip"]);
const missingRoot = missing || requireRoot() || requireTools(["mount"]);

describe.skipIf(missing)("ImageStore", () => {
  let folder = "";
  let stateDir = "";
  let raw = "";
  let rawSha256 = "";
  let store = new ImageStore({ stateDir: "" });
  const never = new AbortController().signal;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "bramble-images-"));
    const [bootTree, rootTree] = [join(folder, "boot-tree"), join(folder, "root-tree")];
    mkdirSync(bootTree);
    mkdirSync(join(rootTree, "etc"), { recursive: true });
    writeFileSync(join(bootTree, "config.txt"), "arm_64bit=1\n");
    writeFileSync(join(rootTree, "etc/os-release"), "ID=test\n");
    copyFileSync(process.execPath, join(rootTree, "program"));
    truncateSync(join(rootTree, "program"), 6_000_000);
    mkdirSync(join(folder, "large-tree"));
    copyFileSync(process.execPath, join(folder, "large-tree/program"));
    raw = join(folder, "small.img");
    makeOsImage(raw, { bootTree, rootTree, rootMiB: 16 });
    rawSha256 = await hashFile(raw, never);
    const pack = (script: string) => execFileSync("sh", ["-ec", script], { cwd: folder, stdio: "pipe" });
    makeOsImage(join(folder, "large.img"), { bootTree, rootTree: join(folder, "large-tree"), rootMiB: 120 });
    pack("gzip -1 large.img");
    pack("xz -k -T2 --block-size=2MiB -3 small.img; gzip -k small.img; zstd -q small.img; zip -q small.zip small.img");
    pack("cat small.img | zip -q -fz- stream.zip -; printf '@ -\\n@=streamed.img\\n' | zipnote -w stream.zip");
    pack("split -b 9000000 small.img half-; for half in half-*; do gzip -c $half; done > members.img.gz; rm half-*");
    pack(
      "echo notes > notes.txt; zip -q empty.zip notes.txt; cp small.img other.img; zip -q two.zip small.img other.img",
    );
    pack("zip -q -P secret locked.zip small.img; cp small.img.xz misnamed.txt");
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  beforeEach(() => {
    stateDir = mkdtempSync(join(folder, "state-"));
    store = new ImageStore({ stateDir, unixMs: () => Date.UTC(2026, 0, 2) });
  });
  afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

  const file = (name: string): string => join(folder, name);
  /** What lies in the store, hidden files included. */
  const inStore = (): string[] => (existsSync(join(stateDir, "images")) ? readdirSync(join(stateDir, "images")) : []);

  /** A damaged copy, made by `change`. */
  function damaged(name: string, change: (path: string) => void): string {
    const path = join(stateDir, name);
    copyFileSync(file(name), path);
    change(path);
    return path;
  }

  async function messageOf(source: string, options = {}, from = store): Promise<string> {
    const error = await from.import(source, options).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(ImageError);
    expect(await from.list()).toEqual([]);
    expect(inStore()).toEqual([]);
    return (error as Error).message;
  }

  const CONTAINERS = [
    "small.img",
    "small.img.xz",
    "small.img.gz",
    "small.img.zst",
    "small.zip",
    "members.img.gz",
    "stream.zip",
    "misnamed.txt",
  ];

  it.each(CONTAINERS)("unpacks %s to the very bytes of the image, with holes", async (name) => {
    const image = await store.import(file(name));
    expect(await hashFile(image.path, never)).toBe(rawSha256);
    expect(image).toMatchObject({ containerSha256: await hashFile(file(name), never), sizeBytes: statSync(raw).size });
    const { size, blocks } = statSync(image.path);
    expect(blocks * 512).toBeLessThan(size * 0.7);
    const opened = store.open(image);
    expect(Buffer.from(imageFiles(opened.root).readFile("/etc/os-release") ?? []).toString()).toBe("ID=test\n");
    expect(imageFiles(opened.boot).list("/")).toEqual(["config.txt"]);
    opened.close();
  });

  it.each(CONTAINERS)("unpacks %s to the same without the system's tools", async (name) => {
    const image = await new ImageStore({ stateDir, useSystemTools: false }).import(file(name));
    expect(await hashFile(image.path, never)).toBe(rawSha256);
    expect(image.contentSha256).toBe((await store.import(file("small.img.xz"))).contentSha256);
  });

  it("keeps one image for one content, and knows a file again without reading it", async () => {
    const first = await store.import(file("small.img.xz"));
    expect(await store.import(file("small.img.xz"))).toEqual(first);
    expect((await store.import(file("small.img.gz"))).contentSha256).toBe(first.contentSha256);
    const renamed = join(stateDir, "renamed.img.xz");
    copyFileSync(file("small.img.xz"), renamed);
    expect((await store.import(renamed)).origins).toHaveLength(2);
    expect(inStore()).toEqual([first.contentSha256]);
    expect(await store.list()).toHaveLength(1);

    // Same path, size, time and inode: the file is not read again, so other bytes in it do not matter.
    execFileSync("touch", ["-r", renamed, `${renamed}.time`]);
    patchFile(renamed, 100, Buffer.from("garbage"));
    execFileSync("touch", ["-r", `${renamed}.time`, renamed]);
    expect((await store.import(renamed)).contentSha256).toBe(first.contentSha256);
    execFileSync("touch", [renamed]);
    await expect(store.import(renamed)).rejects.toThrow("Cannot import");
  });

  it("finds images by name and by either hash, opens and removes them", async () => {
    const image = await store.import(file("small.img.xz"), { name: "mine" });
    expect(image).toMatchObject({ name: "mine", source: file("small.img.xz"), importedAt: "2026-01-02T00:00:00.000Z" });
    for (const key of [
      "mine",
      image.contentSha256,
      image.containerSha256.slice(0, 8),
      image.contentSha256.slice(0, 6).toUpperCase(),
    ]) {
      expect(await store.find(key)).toEqual(image);
    }
    expect(await store.find(image.contentSha256.slice(0, 5))).toBeUndefined();
    expect(await store.obtain("mine")).toEqual(image);
    await expect(store.obtain("yours")).rejects.toThrow(
      "Cannot find image yours: there is no such file, and no image of that name",
    );
    await store.remove("mine");
    expect(inStore()).toEqual([]);
    await expect(store.remove("mine")).rejects.toThrow("Cannot remove image mine: there is no such image");
  });

  it("calls an image after its file, without the suffixes", async () => {
    expect((await store.import(file("small.img.zst"))).name).toBe("small");
  });

  it("reports progress in bytes of the file", async () => {
    const seen: ImportProgress[] = [];
    await store.import(file("small.img.xz"), { onProgress: (progress) => seen.push(progress) });
    const totalBytes = statSync(file("small.img.xz")).size;
    expect(seen.at(-1)).toEqual({ phase: "unpack", doneBytes: totalBytes, totalBytes });
  });

  it("joins a second import of the same source to the first", async () => {
    const [one, other] = await Promise.all([store.import(file("small.img.xz")), store.import(file("small.img.xz"))]);
    expect(one).toBe(other);
  });

  it("accepts the checksum of the file and that of the image in it, and no other", async () => {
    const xz = file("small.img.xz");
    const wrong = "0".repeat(64);
    expect(await messageOf(xz, { expectedSha256: wrong })).toBe(
      `Cannot import ${xz}: its SHA-256 is ${await hashFile(xz, never)} (unpacked: ${rawSha256}) instead of ${wrong}; ` +
        "download it again, and compare with the publisher's page",
    );
    await store.import(xz, { expectedSha256: rawSha256.toUpperCase() });
    await store.import(xz, { expectedSha256: await hashFile(xz, never) });
    await expect(store.import(xz, { expectedSha256: wrong })).rejects.toThrow(`instead of ${wrong}`);
    await expect(store.obtain("small", { expectedSha256: wrong })).rejects.toThrow(`instead of ${wrong}`);
  });

  it("checks the checksum of an import that joins another one", async () => {
    const xz = file("small.img.xz");
    const expectedSha256 = "0".repeat(64);
    const [one, other] = await Promise.allSettled([store.import(xz), store.import(xz, { expectedSha256 })]);
    expect(one.status).toBe("fulfilled");
    expect(other).toMatchObject({ status: "rejected", reason: { message: expect.stringContaining("instead of 000") } });
  });

  it("stops when told, and leaves nothing", async () => {
    const stop = new AbortController();
    const importing = store.import(file("small.img.xz"), { signal: stop.signal, onProgress: () => stop.abort() });
    await expect(importing).rejects.toMatchObject({ name: "AbortError" });
    expect(inStore()).toEqual([]);
  });

  describe.each([
    ["with the system's tools", true],
    ["without them", false],
  ])("refuses %s", (_title, useSystemTools) => {
    const why = (source: string) => messageOf(source, {}, new ImageStore({ stateDir, useSystemTools }));

    it.each<[string, string, (path: string) => void, RegExp]>([
      [
        "a truncated xz",
        "small.img.xz",
        (path) => truncateSync(path, 800_000),
        useSystemTools ? /Unexpected end of input$/ : /the xz file is truncated$/,
      ],
      [
        "a bit-flipped xz",
        "small.img.xz",
        (path) => patchFile(path, 700_001, Buffer.of(0x5a)),
        useSystemTools ? /Compressed data is corrupt$/ : /the xz file is corrupt$/,
      ],
      ["a truncated gzip", "small.img.gz", (path) => truncateSync(path, 800_000), /unexpected end of file$/],
      [
        "a bit-flipped gzip",
        "small.img.gz",
        (path) => patchFile(path, 700_001, Buffer.of(0x5a)),
        /(incorrect data check|invalid .*)$/,
      ],
      [
        "a truncated zstd",
        "small.img.zst",
        (path) => truncateSync(path, 800_000),
        useSystemTools ? /premature end$/ : /unexpected EOF$/,
      ],
      ["a truncated zip", "small.zip", (path) => truncateSync(path, 800_000), /[Ee]nd of [Cc]entral [Dd]irectory/],
      [
        "a bit-flipped zip",
        "small.zip",
        (path) => patchFile(path, 700_001, Buffer.of(0x5a)),
        /(checksum of small.img in the zip is wrong|invalid .*|(too many|not enough) bytes in the stream.*)$/,
      ],
      [
        "a truncated image",
        "small.img",
        (path) => truncateSync(path, 9_000_000),
        /it is no OS image for the Raspberry Pi: the image is truncated: it has 9000000 bytes, and the partition ends at byte 22020096; download or copy it again/,
      ],
      ["an empty file", "small.img", (path) => truncateSync(path, 0), /the file is empty$/],
      ["a file of text", "notes.txt", () => {}, /it is no OS image for the Raspberry Pi: the file has only 6 bytes/],
      ["a zip without an image", "empty.zip", () => {}, /the zip holds no \.img file$/],
      [
        "a zip with two images",
        "two.zip",
        () => {},
        /the zip holds several images \(small\.img, other\.img, …\); unpack the one to use$/,
      ],
      ["an encrypted zip", "locked.zip", () => {}, /small\.img in the zip is encrypted; unpack it first$/],
    ])("%s", async (_name, source, change, expected) => {
      const path = damaged(source, change);
      const message = await why(path);
      expect(message).toMatch(expected);
      expect(message.startsWith(`Cannot import ${path}: `)).toBe(true);
    });
  });

  it("refuses a file that changes while it is read", async () => {
    const path = damaged("small.img", () => {});
    const onProgress = () => patchFile(path, 20_000_000, Buffer.from("still being copied"));
    expect(await messageOf(path, { onProgress })).toBe(
      `Cannot import ${path}: the file changed while it was read; try again when it is complete`,
    );
  });

  it("refuses what is not there and what is no file", async () => {
    expect(await messageOf("/nowhere.img")).toBe("Cannot import /nowhere.img: there is no such file");
    expect(await messageOf(folder)).toBe(`Cannot import ${folder}: it is not a plain file`);
  });

  it.each([0.01, 0.5, 0.99])("forgets an import that was killed after %d of the file", async (part) => {
    const script = `
      import { runnerImport } from "vite";
      const { module } = await runnerImport(${JSON.stringify(join(import.meta.dirname, "../../src/manager/image-store.ts"))});
      const store = new module.ImageStore({ stateDir: ${JSON.stringify(stateDir)}, useSystemTools: false });
      await store.import(${JSON.stringify(file("large.img.gz"))}, {
        onProgress: ({ doneBytes, totalBytes }) => doneBytes > ${part} * totalBytes && process.stdout.write("."),
      });`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      cwd: join(import.meta.dirname, "../.."),
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(child.stdout, "data");
    expect(inStore()).toHaveLength(1);
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(await store.list()).toEqual([]);
    const image = await store.import(file("large.img.gz"));
    expect(inStore()).toEqual([image.contentSha256]);
    store.open(image).close();
  });

  it("leaves the work of another import that is still alive alone", async () => {
    const images = join(stateDir, "images");
    const ofTheLiving = `.work-${process.ppid}-abcdef`;
    mkdirSync(join(images, ofTheLiving), { recursive: true });
    mkdirSync(join(images, `.work-${process.pid}-before`));
    const image = await store.import(file("small.img.xz"));
    expect(inStore().sort()).toEqual([ofTheLiving, image.contentSha256]);
  });

  it.skipIf(missingRoot)("says when the disk is full, and leaves nothing behind", async () => {
    const mountPoint = join(folder, "tiny");
    mkdirSync(mountPoint, { recursive: true });
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=3m", "tmpfs", mountPoint]);
    try {
      for (const name of ["small.img", "small.img.xz", "small.img.gz", "small.img.zst", "small.zip"]) {
        const tiny = new ImageStore({ stateDir: mountPoint });
        await expect(tiny.import(file(name))).rejects.toThrow(
          `Cannot import ${file(name)}: the disk that holds ${mountPoint}/images is full; make room there or choose another state directory`,
        );
        expect(readdirSync(join(mountPoint, "images"))).toEqual([]);
      }
    } finally {
      execFileSync("umount", [mountPoint]);
    }
  });

  it("does not take a folder whose metadata is damaged for an image", async () => {
    const image = await store.import(file("small.img.xz"));
    const metadata = join(stateDir, "images", image.contentSha256, "metadata.json");
    const text = readFileSync(metadata, "utf8");
    writeFileSync(metadata, text.slice(0, 100));
    expect(await store.list()).toEqual([]);
    expect((await store.import(file("small.img.xz"))).contentSha256).toBe(image.contentSha256);
    expect(await store.list()).toHaveLength(1);
  });
});
