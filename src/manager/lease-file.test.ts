import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ipv4FromNumber, parseMac } from "../bytes/addresses.ts";
import type { Lease } from "../dhcp/policy.ts";
import { LeaseFile } from "./lease-file.ts";

const lease = (last: number, state: Lease["state"] = "bound"): Lease => ({
  mac: parseMac(`dc:a6:32:00:00:${(last % 256).toString(16).padStart(2, "0")}`),
  address: ipv4FromNumber(0x0a00_0000 + last),
  expiresUnixMs: 1_700_000_000_000,
  state,
});

describe("the lease file", () => {
  let folder = "";
  let path = "";
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-leases-"));
    path = join(folder, "state", "leases.json");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("is empty where there is none", async () => {
    expect(await new LeaseFile(path).load()).toEqual([]);
  });

  it("gives back what was saved, the later lease of an address", async () => {
    const file = new LeaseFile(path);
    await Promise.all([
      file.save(lease(1)),
      file.save({ ...lease(2), hostName: 'a"b' }),
      file.save(lease(1, "released")),
    ]);
    expect(await new LeaseFile(path).load()).toEqual([lease(1, "released"), { ...lease(2), hostName: 'a"b' }]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it("has a lease on disk when its save is done, also where many are saved at once", async () => {
    const file = new LeaseFile(path);
    const missing: string[] = [];
    await Promise.all(
      Array.from({ length: 300 }, async (_, index) => {
        await new Promise((done) => setTimeout(done, index % 7));
        await file.save(lease(index));
        if (!readFileSync(path, "utf8").includes(`"${lease(index).address}"`)) missing.push(lease(index).address);
      }),
    );
    expect(missing).toEqual([]);
    expect(await new LeaseFile(path).load()).toHaveLength(300);
  });

  it("fails for those who wait when it cannot be written, and goes on afterwards", async () => {
    writeFileSync(join(folder, "state"), "");
    const file = new LeaseFile(path);
    const failed = Promise.allSettled([file.save(lease(1)), file.save(lease(2))]);
    expect((await failed).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    rmSync(join(folder, "state"));
    await file.save(lease(3));
    expect(await new LeaseFile(path).load()).toHaveLength(3);
  });

  it.each([
    ["no JSON", "[{", "JSON"],
    ["no leases", '{"mac": 1}', "expected array"],
    ["half a lease", '[{"mac": "dc:a6:32:00:00:01", "address": "10.0.0.1"}]', "expiresUnixMs"],
    ["no address", JSON.stringify([{ ...lease(1), address: "10.0.0.256" }]), "10.0.0.256"],
  ])("is refused with words about what to do when it holds %s", async (_, text, why) => {
    await new LeaseFile(path).save(lease(1));
    writeFileSync(path, text);
    const said = await new LeaseFile(path).load().catch((error: Error) => error.message);
    expect(said).toContain(`Cannot read the DHCP leases in ${path}: `);
    expect(said).toContain(why);
    expect(said).toContain("Put it back from a backup");
  });
});
