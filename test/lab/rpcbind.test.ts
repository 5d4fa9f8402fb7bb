/** A manager on a machine whose port 111 is rpcbind's: it registers there, and is gone from there when it stops. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createLabNetwork } from "../../src/system/lab-network.ts";
import { demoImage } from "./demo-image.ts";
import { ManagerProcess } from "./manager-process.ts";
import { enterNetworkNamespace } from "./network-namespace.ts";
import { requireRoot, requireTools } from "./required-tools.ts";

const skipped = requireRoot() || requireTools(["ip", "ss", "unshare", "rpcbind", "rpcinfo"]);

describe.skipIf(skipped)("beside rpcbind", () => {
  let manifest: string;
  let rpcbind: ChildProcess | undefined;
  let manager: ManagerProcess | undefined;

  beforeAll(async () => {
    manifest = `cluster: attic
network: { interface: eth0, dhcp: proxy, ports: { nfs: 12049, mount: 12050 } }
image: ${JSON.stringify(demoImage())}
nodes: [{ name: node1, mac: "dc:a6:32:00:00:01" }]
`;
    enterNetworkNamespace();
    await createLabNetwork({ taps: 0, bridge: "eth0" });
  }, 300_000);
  afterEach(() => manager?.stop());
  afterAll(() => void rpcbind?.kill());

  const registrations = () => execFileSync("rpcinfo", ["-p", "127.0.0.1"], { encoding: "utf8", stdio: "pipe" });

  it("the manager registers its ports, and takes them back", async () => {
    // A /run of its own keeps it away from this machine's rpcbind.
    const words = ["-m", "sh", "-c", "mount -t tmpfs run /run && exec rpcbind -f"];
    rpcbind = spawn("unshare", words, { stdio: "ignore" });
    await expect.poll(registrations, { timeout: 10_000 }).toContain("portmapper");

    manager = await ManagerProcess.start(manifest);
    const registered = registrations();
    expect(registered).toMatch(/100003\s+3\s+tcp\s+12049/);
    expect(registered).toMatch(/100005\s+3\s+tcp\s+12050/);
    expect(manager.warnings).toEqual([]);
    await manager.stop();
    expect(registrations()).not.toMatch(/100003|100005/);
  }, 60_000);

  it("a port that is somebody else's, who takes no registrations, is a warning that names them", async () => {
    rpcbind?.kill();
    await once(rpcbind!, "exit");
    const program = 'require("net").createServer().listen(111, "0.0.0.0")';
    const owner = spawn(process.execPath, ["-e", program], { stdio: "ignore" });
    try {
      await expect.poll(() => execFileSync("ss", ["-ltn"], { encoding: "utf8" })).toContain(":111 ");
      manager = await ManagerProcess.start(manifest);
      expect(manager.warnings).toEqual([
        expect.stringMatching(/^Cannot use TCP port 111 of 10\.77\.0\.1: node .*has it.*initramfs/),
      ]);
    } finally {
      owner.kill();
    }
  }, 60_000);
});
