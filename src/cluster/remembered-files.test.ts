import { describe, expect, it } from "vitest";
import { memoryFiles } from "../../test/memory-files.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import type { ImageFiles } from "./generated-file.ts";
import { rememberFiles } from "./remembered-files.ts";

/** Counts how often the image is really asked. */
function counted(files: ImageFiles): { files: ImageFiles; asked: () => number } {
  let asked = 0;
  const count =
    <Arguments extends unknown[], Answer>(ask: (...given: Arguments) => Answer) =>
    (...given: Arguments) => {
      asked++;
      return ask(...given);
    };
  const { readFile, exists, isDirectory, list, measure } = files;
  return {
    files: {
      readFile: count(readFile),
      exists: count(exists),
      isDirectory: count(isDirectory),
      list: count(list),
      measure: count(measure),
    },
    asked: () => asked,
  };
}

describe("remembered files", () => {
  const image = memoryFiles({ "/a/b": "text", "/large": new Uint8Array(100_000) });

  it("answer as the image does, and ask it once", () => {
    const { files, asked } = counted(image);
    const remembered = rememberFiles(files);
    for (let time = 0; time < 3; time++) {
      expect(remembered.readFile("/a/b")).toEqual(Buffer.from("text"));
      expect(remembered.readFile("/missing")).toBeUndefined();
      expect(remembered.exists("/a/b")).toBe(true);
      expect(remembered.exists("/missing")).toBe(false);
      expect(remembered.isDirectory("/a")).toBe(true);
      expect(remembered.list("/a")).toEqual(["b"]);
      expect(remembered.measure(4096).inodes).toBe(4);
    }
    expect(asked()).toBe(7);
  });

  it("do not keep large files", () => {
    const { files, asked } = counted(image);
    const remembered = rememberFiles(files);
    expect(remembered.readFile("/large")).toHaveLength(100_000);
    expect(remembered.readFile("/large")).toHaveLength(100_000);
    expect(asked()).toBe(2);
  });

  it("refuse a file that is too large for this caller, though another one had it", () => {
    const remembered = rememberFiles(image);
    expect(remembered.readFile("/a/b", 10)).toHaveLength(4);
    expect(() => remembered.readFile("/a/b", 3)).toThrow(DecodeError);
  });

  it("do not grow without end", () => {
    const { files, asked } = counted(image);
    const remembered = rememberFiles(files);
    for (let index = 0; index < 5000; index++) remembered.exists(`/${index}`);
    remembered.exists("/0");
    expect(asked()).toBe(5001);
  });
});
