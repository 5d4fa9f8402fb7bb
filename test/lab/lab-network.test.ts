/** The isolated network, made for real: who is in it, who can get in, and what is left of it. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createLabNetwork,
  labEnterCommand,
  readLabRecord,
  recordLab,
  runInsideLab,
} from "../../src/system/lab-network.ts";
import { enterNetworkNamespace } from "./network-namespace.ts";
import { requireRoot, requireTools } from "./required-tools.ts";

const skipped = requireRoot() || requireTools(["ip", "unshare", "setpriv", "nsenter"]);

describe.skipIf(skipped)("the lab network", () => {
  let folder: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-lab-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("runs the program again where there is only a loopback interface, and passes its exit code on", async () => {
    const program = join(folder, "program.mjs");
    const result = join(folder, "result");
    const text = `
      import { execFileSync } from "node:child_process";
      import { writeFileSync } from "node:fs";
      const links = execFileSync("ip", ["-o", "link"], { encoding: "utf8" }).trim().split("\\n").length;
      writeFileSync(process.argv[2], JSON.stringify({ links, lab: process.env.BRAMBLE_LAB }));
      process.exit(7);`;
    writeFileSync(program, text);
    expect(await runInsideLab([result], program)).toBe(7);
    expect(JSON.parse(readFileSync(result, "utf8"))).toEqual({ links: 1, lab: "root" });
  });

  it("is a switch with an address and one port for each Pi, and others can get into it", async () => {
    enterNetworkNamespace();
    const lab = await createLabNetwork({ taps: 2 });
    expect(lab).toEqual({ bridge: "br0", address: "10.77.0.1", prefixLength: 24, taps: ["tap0", "tap1"] });

    const path = join(folder, "state/lab.json");
    const forget = recordLab(path);
    const record = readLabRecord(path);
    expect(record).toEqual({ pid: process.pid, userNamespace: false });
    const [program, ...words] = labEnterCommand(record!);
    const inside = (command: string) => execFileSync(program!, [...words, ...command.split(" ")], { encoding: "utf8" });
    expect(inside("ip -o -4 addr show br0")).toContain("inet 10.77.0.1/24");
    expect(inside("ip -o link show master br0").match(/tap\d/g)).toEqual(["tap0", "tap1"]);

    forget();
    expect(existsSync(path)).toBe(false);
    expect(readLabRecord(path)).toBeUndefined();
  });

  it("says what failed when a name is taken", async () => {
    await expect(createLabNetwork({ taps: 0 })).rejects.toThrow(
      /^Cannot set up the lab network: "ip link add br0 type bridge forward_delay 0": RTNETLINK answers: File exists$/,
    );
  });

  it("takes the record of a process that is gone for no lab", () => {
    const path = join(folder, "gone.json");
    writeFileSync(path, '{"pid": 4194304, "userNamespace": false}');
    expect(readLabRecord(path)).toBeUndefined();
  });
});
