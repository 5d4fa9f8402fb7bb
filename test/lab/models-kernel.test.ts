/**
 * Other models than the Pi 4 up to a running system, with a real kernel.
 *
 * A Pi 5: its firmware in full, then QEMU's `virt` machine. The demo's kernel is too old to bring a device tree for it, so the image
 * is given a file of that name; the machine has its own. A Pi 3B: a machine that is one by its device tree, QEMU's raspi3b,
 * with the network at its USB port; several times as slow, so `make soak` only.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { demoImage } from "./demo-image.ts";
import { debianImage, missingImages } from "./images.ts";
import { leftToSoak, requireTools } from "./required-tools.ts";
import { Simulation } from "./simulation.ts";

const BOOT_TIMEOUT_MS = 300_000;
const PI_3B_TIMEOUT_MS = 900_000;
/** Of the boot partition of the demo's image. */
const BOOT_OFFSET = "4M";
const skipped = requireTools(["ip", "unshare", "qemu-system-aarch64", "mcopy", "cp"]);

describe("with a real kernel", () => {
  let folder: string;
  let cluster: Simulation | undefined;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-models-"));
  });
  afterEach(async () => {
    await cluster?.stop();
    cluster = undefined;
    rmSync(folder, { recursive: true, force: true });
  }, 60_000);

  function imageForPi5(): string {
    const image = join(folder, "pi5.img");
    execFileSync("cp", ["--sparse=always", "--reflink=auto", demoImage(), image]);
    const deviceTree = join(folder, "device-tree");
    const env = { ...process.env, MTOOLS_SKIP_CHECK: "1" };
    for (const words of [
      ["::bcm2711-rpi-4-b.dtb", deviceTree],
      [deviceTree, "::bcm2712-rpi-5-b.dtb"],
    ]) {
      execFileSync("mcopy", ["-i", `${image}@@${BOOT_OFFSET}`, ...words], { env });
    }
    return image;
  }

  it.skipIf(skipped)(
    "a Pi 5 boots the demo's system, and reports itself up",
    async () => {
      cluster = new Simulation({ image: imageForPi5(), nodes: 1, model: "5" });
      await cluster.waitUp("node1", BOOT_TIMEOUT_MS);
      expect(cluster.status().nodes[0]).toMatchObject({ name: "node1", stage: "up", model: "5" });
      const files = cluster.events.flatMap((event) => (event.kind === "file-loaded" ? [event.path] : []));
      expect(files.join(" ")).not.toMatch(/start\d?\.elf/);
      // The kernel's own words, after the firmware's.
      expect(cluster.console("node1")).toMatch(/Linux version/);
    },
    BOOT_TIMEOUT_MS,
  );

  it.skipIf(leftToSoak || missingImages())(
    "a Pi 3B boots Debian's kernel with the 3B's device tree, and reports itself up",
    async () => {
      cluster = new Simulation({ image: debianImage(), nodes: 1, model: "3b" });
      await cluster.waitUp("node1", PI_3B_TIMEOUT_MS);
      expect(cluster.console("node1")).toContain("Machine model: Raspberry Pi 3 Model B");
      expect(cluster.status().nodes[0]).toMatchObject({ name: "node1", stage: "up", model: "3b" });
    },
    PI_3B_TIMEOUT_MS,
  );
});
