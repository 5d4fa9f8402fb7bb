/** A manager on a machine whose port 111 is rpcbind's: it registers there, and is gone from there when it stops. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { BootEvent } from "../../src/cluster/event.ts";
import { createLabNetwork } from "../../src/system/lab-network.ts";
import { demoImage } from "./demo-image.ts";
import { enterNetworkNamespace, missingRoot } from "./network-namespace.ts";
import { requireTools } from "./required-tools.ts";
import { BRAMBLE } from "./simulation.ts";

const skipped = missingRoot() || requireTools(["ip", "unshare", "rpcbind", "rpcinfo"]);

const manifest = (image: string) => `cluster: attic
network: { interface: eth0, dhcp: proxy, ports: { nfs: 12049, mount: 12050 } }
image: ${image}
nodes: [{ name: node1, mac: "dc:a6:32:00:00:01" }]
`;

describe.skipIf(skipped)("beside rpcbind", () => {
  let folder: string;
  let image: string;
  let rpcbind: ChildProcess | undefined;
  let stopManager = async () => {};

  beforeAll(async () => {
    image = demoImage();
    enterNetworkNamespace();
    await createLabNetwork({ taps: 0, bridge: "eth0" });
    folder = mkdtempSync(join(tmpdir(), "bramble-rpcbind-"));
    writeFileSync(join(folder, "bramble.yaml"), manifest(image));
  }, 300_000);
  afterEach(() => stopManager());
  afterAll(() => {
    rpcbind?.kill();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Starts `bramble up`; resolves, when it serves, with the manager's warnings. */
  async function up(): Promise<string[]> {
    const words = ["--manifest", join(folder, "bramble.yaml"), "--state", join(folder, "state"), "up", "--json"];
    const child = spawn(process.execPath, [BRAMBLE, ...words], { stdio: ["ignore", "pipe", "pipe"] });
    const events: BootEvent[] = [];
    createInterface({ input: child.stdout }).on("line", (line) => events.push(JSON.parse(line) as BootEvent));
    let errors = "";
    await new Promise<void>((resolve, reject) => {
      child.stderr.on("data", (bytes: Buffer) => {
        errors += bytes.toString();
        if (errors.includes("serving")) resolve();
      });
      child.once("exit", () => reject(new Error(`bramble up has ended: ${errors}`)));
    });
    stopManager = async () => {
      if (child.exitCode !== null) return;
      const exited = once(child, "exit");
      child.kill("SIGTERM");
      await exited;
    };
    // Those of a node are about its image.
    return events.flatMap((event) => (event.kind === "warning" && event.node === undefined ? [event.message] : []));
  }

  const registrations = () => execFileSync("rpcinfo", ["-p", "127.0.0.1"], { encoding: "utf8" });

  it("the manager registers its ports, and takes them back", async () => {
    // A /run of its own keeps it away from this machine's rpcbind.
    const words = ["-m", "sh", "-c", "mount -t tmpfs run /run && exec rpcbind -f"];
    rpcbind = spawn("unshare", words, { stdio: "ignore" });
    await expect.poll(registrations, { timeout: 10_000 }).toContain("portmapper");

    const warnings = await up();
    const registered = registrations();
    expect(registered).toMatch(/100003\s+3\s+tcp\s+12049/);
    expect(registered).toMatch(/100005\s+3\s+tcp\s+12050/);
    expect(warnings).toEqual([]);
    await stopManager();
    expect(registrations()).not.toMatch(/100003|100005/);
  }, 60_000);

  it("a port that is somebody else's, who takes no registrations, is a warning that names them", async () => {
    rpcbind?.kill();
    await once(rpcbind!, "exit");
    const program = 'require("net").createServer().listen(111, "0.0.0.0")';
    const owner = spawn(process.execPath, ["-e", program], { stdio: "ignore" });
    await expect.poll(() => execFileSync("ss", ["-ltn"], { encoding: "utf8" })).toContain(":111 ");
    try {
      const [warning] = await up();
      expect(warning).toMatch(/^Cannot use TCP port 111 of 10\.77\.0\.1: node .*has it.*initramfs/);
    } finally {
      owner.kill();
    }
  }, 60_000);
});
