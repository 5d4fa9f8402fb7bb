/** What the emulator's failures look like to the user. (test/lab/virtual-pi.test.ts has it run.) */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { parseMac } from "../../src/bytes/addresses.ts";
import { qemuMachines } from "../../src/system/qemu.ts";
import { requireTools } from "./required-tools.ts";

const SETTINGS = {
  name: "node1",
  mac: parseMac("dc:a6:32:70:da:b0"),
  tapName: "lo",
  kernel: new Uint8Array(100),
  commandLine: "",
  memoryMiB: 128,
};
const { PATH } = process.env;

describe.skipIf(requireTools(["setpriv"]))("a machine that cannot start", () => {
  afterEach(() => {
    process.env.PATH = PATH;
  });

  const foldersLeft = () => readdirSync(tmpdir()).filter((name) => name.startsWith("bramble-machine-"));

  it("says how to get QEMU when it is not installed", async () => {
    const folder = mkdtempSync(join(tmpdir(), "bramble-path-"));
    symlinkSync(execFileSync("sh", ["-c", "command -v setpriv"], { encoding: "utf8" }).trim(), join(folder, "setpriv"));
    process.env.PATH = folder;
    await expect(qemuMachines(1).start(SETTINGS)).rejects.toThrow(
      `Cannot start the virtual Pi's machine: qemu-system-aarch64 is not installed; install it with "apt-get install qemu-system-arm"`,
    );
    rmSync(folder, { recursive: true });
  });

  it.skipIf(requireTools(["qemu-system-aarch64"]))("passes on what QEMU says, and leaves nothing behind", async () => {
    const before = foldersLeft();
    await expect(qemuMachines(1).start(SETTINGS)).rejects.toThrow(/^Cannot start the virtual Pi's machine: .*\(lo\)/);
    expect(foldersLeft().filter((name) => !before.includes(name))).toEqual([]);
  });
});
