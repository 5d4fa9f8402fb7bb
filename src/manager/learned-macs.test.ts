import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Mac } from "../bytes/addresses.ts";
import { LearnedMacs } from "./learned-macs.ts";

const mac1 = "dc:a6:32:70:da:b0" as Mac;
const mac2 = "dc:a6:32:70:da:b1" as Mac;

describe("learned MAC addresses", () => {
  let folder: string;
  const errors: string[] = [];
  const open = (name = "macs.json") => new LearnedMacs(join(folder, name), (message) => errors.push(message));

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-macs-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("outlive the manager, the last one of each serial number", () => {
    const macs = open();
    macs.set("91cdf03d", mac1);
    macs.set("91cdf03d", mac2);
    macs.set("11111111", mac1);
    const again = open();
    expect(["91cdf03d", "11111111", "22222222"].map((serial) => again.get(serial))).toEqual([mac2, mac1, undefined]);
  });

  it("are known until the restart when they cannot be kept, and somebody is told", () => {
    open("file").set("91cdf03d", mac1);
    const macs = open("file/below-a-file.json");
    macs.set("91cdf03d", mac2);
    expect(macs.get("91cdf03d")).toBe(mac2);
    expect(errors).toEqual([expect.stringMatching(/^Cannot remember the MAC address dc:a6:32:70:da:b1 of serial/)]);
  });
});
