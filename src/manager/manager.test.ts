import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { Manager } from "./manager.ts";
import { loadManifestText } from "./manifest-file.ts";

it("tells a manager that still starts from a node that is not in the manifest", async () => {
  const folder = mkdtempSync(join(tmpdir(), "bramble-starting-"));
  const text = `cluster: attic\nnetwork: { address: 127.0.0.1 }\nimage: os.img\nnodes: [{ name: node1, serial: "7" }]\n`;
  writeFileSync(join(folder, "os.img"), "");
  const manager = new Manager({ loaded: await loadManifestText(join(folder, "bramble.yaml"), text, folder) });
  try {
    const stillStarts = (task: string) => ({
      statusCode: 503,
      message: `Cannot ${task} yet: the manager is still starting`,
    });
    await expect(manager.plan("node1")).rejects.toMatchObject(stillStarts("show the plan of node1"));
    await expect(manager.reset("node1")).rejects.toMatchObject(stillStarts("reset node1"));
    expect(() => manager.layers()).toThrow("Cannot look at what nodes wrote yet: the manager is still starting");
  } finally {
    await manager.stop();
    rmSync(folder, { recursive: true });
  }
});
