/** `bramble simulate --report`: many boards in one process on one port of the switch, with a manager of its own process. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FleetReport } from "../../src/simulator/fleet-report.ts";
import { makeSmallImage, SMALL_IMAGE_COMMANDS } from "../cli/small-image.ts";
import { kernel } from "../plan-images.ts";
import { requireTools } from "./required-tools.ts";
import { BRAMBLE } from "./simulation.ts";

const skipped = requireTools(["ip", "unshare", "setpriv", ...SMALL_IMAGE_COMMANDS]);
const TIMEOUT_S = 60;

describe.skipIf(skipped)("a report of many boards", () => {
  let folder: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-fleet-"));
    const boot = {
      "/bootcode.bin": new Uint8Array(52_460),
      "/start.elf": new Uint8Array(20_000),
      "/fixup.dat": new Uint8Array(7000),
      "/start4.elf": new Uint8Array(20_000),
      "/fixup4.dat": new Uint8Array(5000),
      "/config.txt": "arm_64bit=1\nkernel=kernel8.img\n",
      "/kernel8.img": kernel("6.12.47+rpt-rpi-v8"),
      "/bcm2710-rpi-3-b.dtb": "device tree",
      "/bcm2711-rpi-4-b.dtb": "device tree",
    };
    makeSmallImage(join(folder, "small.img"), { boot });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function simulate(...words: string[]): Promise<{ code: number; output: string; errors: string }> {
    const where = ["--state", join(folder, "state")];
    const all = [...where, ...words];
    return new Promise((resolve) => {
      execFile(process.execPath, [BRAMBLE, ...all], { encoding: "utf8" }, (error, output, errors) => {
        resolve({ code: error ? Number(error.code) : 0, output, errors });
      });
    });
  }

  const image = () => join(folder, "small.img");

  it(
    "counts 22 Pi 3Bs and as many Pi 4s that all boot, switched on together",
    async () => {
      const words = ["--json", "simulate", "--image", image(), "--model", "3b,4", "--nodes", "44", "--report"];
      const { code, output, errors } = await simulate(...words, "--seed", "7");
      expect(errors).not.toMatch(/Cannot/);
      const report = JSON.parse(output) as FleetReport & { seed: number };
      expect(report.boards.filter(({ outcome }) => outcome !== "booted")).toEqual([]);
      expect(report.seed).toBe(7);
      expect(report.models.map(({ model, boards, booted }) => [model, boards, booted])).toEqual([
        ["3b", 22, 22],
        ["4", 22, 22],
      ]);
      expect(report.models[0]!.slowest!.durationMs).toBeGreaterThan(report.models[0]!.p50Ms! - 1);
      expect(code).toBe(0);
    },
    TIMEOUT_S * 1500,
  );

  it(
    "boots Pi 4s one after the other with 2 % loss, and says it in a table",
    async () => {
      const words = ["simulate", "--image", image(), "--model", "4", "--nodes", "12", "--report", "--loss", "2%"];
      const { code, output } = await simulate(...words, "--power-on", "staggered:200ms");
      expect(output).toMatch(/^MODEL {2}BOARDS {2}BOOTED +P50 +P99 +SLOWEST$/m);
      expect(output).toMatch(/^4 +12 +12 /m);
      // The last of them had its power 2.2 s after the first.
      const [, seconds] = / in (\d+\.\d) s, /.exec(output) ?? [];
      expect(Number(seconds)).toBeGreaterThan(2.2);
      expect(code).toBe(0);
    },
    TIMEOUT_S * 1500,
  );

  it(
    "says why boards do not boot, and ends with 1",
    async () => {
      // There is no device tree of the Pi 5 in the image.
      const words = ["simulate", "--image", image(), "--model", "5", "--nodes", "3", "--report"];
      const { code, output } = await simulate(...words, "--timeout", "4");
      expect(output).toMatch(/3 boards had not booted when time was up: Cannot start a kernel without its device tree/);
      expect(output).toContain("(node1, node2, node3)");
      expect(code).toBe(1);
    },
    TIMEOUT_S * 1500,
  );
});
