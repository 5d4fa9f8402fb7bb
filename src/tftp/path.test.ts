import { describe, expect, it } from "vitest";
import { normalisePath } from "./path.ts";

describe("requested paths", () => {
  const clean: [string, string][] = [
    ["config.txt", "config.txt"],
    ["91cdf03d//cmdline.txt", "91cdf03d/cmdline.txt"],
    ["/start4.elf", "start4.elf"],
    ["overlays\\vc4-kms-v3d.dtbo", "overlays/vc4-kms-v3d.dtbo"],
    ["./a/./b/", "a/b"],
    ["..hidden/a..b", "..hidden/a..b"],
    ["x".repeat(512), "x".repeat(512)],
  ];
  it.each(clean)("%j becomes %j", (requested, path) => expect(normalisePath(requested)).toEqual({ path }));

  const refused: [string, string][] = [
    ["../etc/shadow", "leads out"],
    ["a/../../b", "leads out"],
    ["a\\..\\b", "leads out"],
    ["a\0b", "NUL"],
    ["", "empty"],
    ["//", "empty"],
    ["x".repeat(513), "513 bytes; 512 at most"],
  ];
  it.each(refused)("%j is refused", (requested, why) => {
    expect(normalisePath(requested)).toEqual({ refused: expect.stringContaining(why) });
  });
});
