/**
 * The script that nodes make their storage for containers with, on file systems and disks of this machine's kernel, in a
 * mount namespace: what it says when containers have filled them, and that they can be emptied again.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Ipv4 } from "../../src/bytes/addresses.ts";
import { parseStorageReport } from "../../src/cluster/container-storage.ts";
import { containerStorageFiles } from "../../src/cluster/generated/container-storage.ts";
import { parseManifest } from "../../src/cluster/manifest.ts";
import { DEBIAN, planImage } from "../plan-images.ts";
import { requireRoot, requireTools } from "./required-tools.ts";

const missing =
  requireTools(["/usr/sbin/mkfs.ext4", "/usr/sbin/wipefs", "losetup", "findmnt", "unshare"]) || requireRoot();
const DEVICE = "/dev/disk/by-id/usb-Maker_Stick_01-0:0";

function scriptFor(storage: string): string {
  const text = `cluster: attic\nimage: pi.img\nnodes: [{ name: node1, mac: dc:a6:32:70:da:b0, storage: ${storage} }]\n`;
  const result = parseManifest(text, { fileExists: () => true });
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  const { manifest } = result;
  const files = containerStorageFiles({
    manifest,
    node: manifest.nodes[0]!,
    rootMode: "persistent",
    ...planImage("pi", DEBIAN),
    serverAddress: "10.77.0.1" as Ipv4,
    ports: { nfs: 2049, mount: 20048 },
    secrets: { machineId: "0".repeat(32), sshHostKey: { privateKey: "private", publicKey: "ssh-ed25519 AAAA" } },
    readSource: () => undefined,
  });
  const script = files.find((file) => file.path === "/usr/lib/bramble/storage");
  return script?.kind === "file" ? Buffer.from(script.content).toString() : "";
}

describe.skipIf(missing)("storage for containers on this machine's kernel", () => {
  let folder: string;
  let device: string | undefined;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-storage-"));
    for (const path of ["run/bramble", "var/lib", "dev/disk/by-id"]) mkdirSync(join(folder, path), { recursive: true });
  });
  afterEach(() => {
    if (device) execFileSync("losetup", ["--detach", device]);
    device = undefined;
    rmSync(folder, { recursive: true });
  });

  /** Boots of one node, all in one mount namespace: the script, shell between, the script again. Its reports. */
  function boots(storage: string, between = "true", before = "true"): { reports: string[]; said: string } {
    const script = scriptFor(storage).replaceAll(/(?<![\w.])\/(run|var|dev\/disk)/g, `${folder}/$1`);
    writeFileSync(join(folder, "script"), script);
    const run = `sh ${folder}/script; cat ${folder}/run/bramble/storage >> ${folder}/reports`;
    const all = `${before}\n${run}\ncd ${folder}/var/lib/docker\n${between}\n${run}\necho "kept after it: $(cat ${folder}/var/lib/docker/kept)"`;
    const { stderr, stdout } = spawnSync("unshare", ["--mount", "sh", "-c", all], { encoding: "utf8" });
    const reports = readFileSync(join(folder, "reports"), "utf8").trim().split("\n");
    rmSync(join(folder, "reports"));
    return { reports, said: stdout + stderr };
  }

  function plugIn(): void {
    const file = join(folder, "stick");
    writeFileSync(file, "");
    truncateSync(file, 64 * 2 ** 20);
    device = execFileSync("losetup", ["--find", "--show", file], { encoding: "utf8" }).trim();
    symlinkSync(device, join(folder, DEVICE));
  }

  it.each([
    ["an image", "{ kind: loop, size: 64MiB }"],
    ["a disk", `{ kind: disk, device: "${DEVICE}" }`],
    ["a tmpfs", "{ kind: memory, size: 64MiB }"],
  ])("%s that containers have filled is full, not broken, and is ready when they are gone", (_, storage) => {
    plugIn();
    const filled = boots(storage, "dd if=/dev/zero of=large bs=64k; dd if=/dev/zero of=rest bs=512; touch kept; ls");
    expect(filled.said).toContain("No space left on device");
    expect(filled.reports.map((text) => parseStorageReport(text))).toEqual([
      { state: "ready", freeKiB: expect.any(Number), sizeKiB: expect.any(Number) },
      { state: "full", freeKiB: 0, sizeKiB: expect.any(Number) },
    ]);
    const { reports } = boots(storage, "rm -f large rest");
    expect(reports.map((text) => text.split(" ")[0])).toEqual([storage.includes("memory") ? "ready" : "full", "ready"]);
  });

  it("an image that its manager's disk had no room for is repaired at the next boot, and has what was synced", () => {
    const below = join(folder, "var/lib/bramble");
    const folders = ["docker", "containerd", "kubelet", "rancher", "bramble/containers"];
    const { reports, said } = boots(
      "{ kind: loop, size: 64MiB }",
      `echo precious > kept && sync -f kept
       dd if=/dev/zero of=large bs=64k count=600 conv=fsync
       echo more > more && sync -f more && echo synced
       mount -o remount,size=200m ${below}
       cd / && for name in ${folders.join(" ")}; do umount ${folder}/var/lib/$name; done`,
      `mkdir ${below} && mount -t tmpfs -o size=24m none ${below}`,
    );
    expect(said).toMatch(/fsync failed for 'large'/);
    expect(said).not.toMatch(/^synced$/m);
    expect(reports.map((text) => text.split(" ")[0])).toEqual(["ready", "ready"]);
    expect(said).toMatch(/^kept after it: precious$/m);
  });

  it("a tmpfs that is larger than what is free is refused, with both", () => {
    const [report] = boots("{ kind: memory, size: 4TiB }").reports;
    const needed = 4 * 2 ** 30 + 128 * 1024;
    const { state, freeKiB, sizeKiB } = parseStorageReport(report!)!;
    expect([state, sizeKiB]).toEqual(["memory-short", needed]);
    expect(freeKiB).toBeLessThan(needed);
  });
});
