import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ImageStore, type ImportProgress } from "../../src/manager/image-store.ts";
import { requireTools } from "../lab/required-tools.ts";
import { makeOsImage, OS_IMAGE_COMMANDS } from "./os-image-file.ts";

const missing = requireTools(OS_IMAGE_COMMANDS);

interface Request {
  path: string;
  range: string | undefined;
  ifRange: string | undefined;
}

describe.skipIf(missing)("ImageStore with a URL", () => {
  let folder = "";
  let stateDir = "";
  let content = Buffer.alloc(0);
  /** Another image, of another time. */
  let older = Buffer.alloc(0);
  let server: Server;
  let base = "";
  let requests: Request[] = [];
  let answer: (request: IncomingMessage, response: ServerResponse) => void = () => {};
  let store = new ImageStore({ stateDir: "" });

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "bramble-download-"));
    const tree = join(folder, "tree");
    mkdirSync(tree);
    writeFileSync(join(tree, "file"), "content");
    makeOsImage(join(folder, "pi.img"), { bootTree: tree, rootTree: tree });
    content = readFileSync(join(folder, "pi.img"));
    older = Buffer.from(content);
    older.write("older", 0);
    server = createServer((request, response) => {
      requests.push({ path: request.url ?? "", range: request.headers.range, ifRange: header(request, "if-range") });
      answer(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  beforeEach(() => {
    requests = [];
    stateDir = mkdtempSync(join(folder, "state-"));
    store = new ImageStore({ stateDir, retryDelayMs: 1 });
  });
  afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

  const header = (request: IncomingMessage, name: string): string | undefined => request.headers[name]?.toString();
  const inStore = (): string[] => readdirSync(join(stateDir, "images"));

  /** Serves `content` with ranges; breaks the connection off after `bytesMax` bytes of each answer. */
  function serve({ etag = '"one"', bytesMax = Number.POSITIVE_INFINITY, ranges = true } = {}) {
    return (request: IncomingMessage, response: ServerResponse): void => {
      const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
      const isRest = ranges && from > 0 && header(request, "if-range") === etag;
      const body = isRest ? content.subarray(from) : content;
      response.writeHead(isRest ? 206 : 200, {
        etag,
        "content-length": body.length,
        ...(isRest && { "content-range": `bytes ${from}-${content.length - 1}/${content.length}` }),
      });
      if (body.length <= bytesMax) response.end(body);
      else response.write(body.subarray(0, bytesMax), () => response.socket?.destroySoon());
    };
  }

  it("downloads, unpacks, and stands for the same image from then on", async () => {
    answer = serve();
    const progress: ImportProgress[] = [];
    const image = await store.import(`${base}/images/pi.img`, { onProgress: (one) => progress.push(one) });
    expect(image).toMatchObject({ name: "pi", source: `${base}/images/pi.img`, sizeBytes: content.length });
    expect(image.containerSha256).toBe(createHash("sha256").update(content).digest("hex"));
    expect(progress).toContainEqual({ phase: "download", doneBytes: content.length, totalBytes: content.length });
    expect(inStore()).toEqual([image.contentSha256]);

    answer = (_, response) => response.writeHead(500).end();
    expect(await store.import(`${base}/images/pi.img`)).toEqual(image);
    expect(requests).toHaveLength(1);
  });

  it("goes on where the connection broke off", async () => {
    answer = serve({ bytesMax: 3_000_000 });
    const image = await store.import(`${base}/pi.img`);
    expect(image.containerSha256).toBe(createHash("sha256").update(content).digest("hex"));
    // What was under way when the connection broke may be lost, but no more than that.
    const starts = requests.map(({ range }) => Number(/^bytes=(\d+)-$/.exec(range ?? "bytes=0-")?.[1]));
    for (const [index, start] of starts.slice(1).entries()) {
      expect(start).toBeGreaterThan(starts[index]!);
      expect(start).toBeLessThanOrEqual(starts[index]! + 3_000_000);
    }
    expect(starts.length).toBeGreaterThanOrEqual(5);
    expect(starts.length).toBeLessThan(10);
    expect(requests[1]?.ifRange).toBe('"one"');
  });

  it("goes on with what an earlier process had", async () => {
    answer = serve({ bytesMax: 3_000_000 });
    const stop = new AbortController();
    const stopped = store.import(`${base}/pi.img`, {
      signal: stop.signal,
      onProgress: ({ doneBytes }) => doneBytes > 5_000_000 && stop.abort(),
    });
    await expect(stopped).rejects.toMatchObject({ name: "AbortError" });
    expect(await store.list()).toEqual([]);
    const before = requests.length;

    answer = serve();
    await new ImageStore({ stateDir }).import(`${base}/pi.img`);
    expect(requests.slice(before)).toHaveLength(1);
    expect(requests.at(-1)?.range).toMatch(/^bytes=[5-9]\d{6}-$/);
    expect(inStore()).toHaveLength(1);
  });

  it.each([
    ["the file on the server has changed", { etag: '"two"' }],
    ["the server knows no ranges", { ranges: false }],
  ])("starts again when %s", async (_title, settings) => {
    let isFirst = true;
    answer = (request, response) => {
      serve(isFirst ? { bytesMax: 3_000_000 } : settings)(request, response);
      isFirst = false;
    };
    const image = await store.import(`${base}/pi.img`);
    expect(image.containerSha256).toBe(createHash("sha256").update(content).digest("hex"));
    expect(requests).toHaveLength(2);
  });

  it("tries again when the server is overloaded", async () => {
    answer = (request, response) => {
      if (requests.length < 3) response.writeHead(503).end();
      else serve()(request, response);
    };
    await store.import(`${base}/pi.img`);
    expect(requests).toHaveLength(3);
  });

  it("follows redirects", async () => {
    answer = (request, response) => {
      if (request.url === "/latest") response.writeHead(302, { location: "/pi.img" }).end();
      else serve()(request, response);
    };
    expect((await store.import(`${base}/latest`)).name).toBe("latest");
  });

  it("asks again when told to refresh", async () => {
    answer = serve();
    const first = await store.import(`${base}/pi.img`);
    expect(await store.import(`${base}/pi.img`, { refresh: true })).toMatchObject({
      contentSha256: first.contentSha256,
    });
    expect(requests).toHaveLength(2);
    expect(inStore()).toEqual([first.contentSha256]);
  });

  it("asks again when the file it has is not the one with the checksum", async () => {
    answer = (_, response) => response.end(older);
    const first = await store.import(`${base}/pi.img`);
    answer = serve();
    const expectedSha256 = createHash("sha256").update(content).digest("hex");
    const second = await store.import(`${base}/pi.img`, { expectedSha256 });
    expect(second.containerSha256).toBe(expectedSha256);
    expect(await store.import(`${base}/pi.img`, { expectedSha256: first.containerSha256 })).toEqual(first);
    expect(requests).toHaveLength(2);
  });

  it("takes an address with a percent sign for what it is", async () => {
    answer = serve();
    expect((await store.import(`${base}/100%.img`)).name).toBe("100%");
  });

  it.each([
    ["knows no end of what it had", (response: ServerResponse) => response.writeHead(416).end()],
    ["sends another part", (response: ServerResponse) => response.writeHead(206).end(content.subarray(9_000_000))],
  ])("starts again when the server %s", async (_title, answerRange) => {
    answer = (request, response) => {
      if (requests.length === 1) serve({ bytesMax: 3_000_000 })(request, response);
      else if (request.headers.range !== undefined) answerRange(response);
      else serve()(request, response);
    };
    const image = await store.import(`${base}/pi.img`);
    expect(image.containerSha256).toBe(createHash("sha256").update(content).digest("hex"));
    expect(requests.map(({ range }) => range !== undefined)).toEqual([false, true, false]);
  });

  it.each<[string, (request: IncomingMessage, response: ServerResponse) => void, string, number]>([
    [
      "404",
      (_, response) => void response.writeHead(404).end(),
      "the server answered 404 Not Found; check the address",
      1,
    ],
    [
      "500 all the time",
      (_, response) => void response.writeHead(500).end(),
      "the download failed 6 times, at last because the server answered 500 Internal Server Error; try again later",
      6,
    ],
    [
      "a web page instead",
      (_, response) => void response.end("<html>".padEnd(2000, "Sign in to this hotel's network. ")),
      "it is no OS image for the Raspberry Pi: it has no boot signature (55 aa), so this is no disk image (MBR, byte 510)",
      1,
    ],
  ])("says so when the server answers %s", async (_title, answering, why, times) => {
    answer = answering;
    await expect(store.import(`${base}/pi.img`)).rejects.toThrow(`Cannot import ${base}/pi.img: ${why}`);
    expect(requests).toHaveLength(times);
    expect(await store.list()).toEqual([]);
  });

  it("says so when there is no server", async () => {
    const free = createServer();
    await new Promise<void>((resolve) => free.listen(0, "127.0.0.1", resolve));
    const { port } = free.address() as AddressInfo;
    await new Promise((resolve) => free.close(resolve));
    await expect(store.import(`http://127.0.0.1:${port}/pi.img`)).rejects.toThrow(/at last because .*ECONNREFUSED/);
  });
});
