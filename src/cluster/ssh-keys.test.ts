import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { requireTools } from "../../test/lab/required-tools.ts";
import { createNodeSecrets, encodeSshKey } from "./ssh-keys.ts";

/** RFC 8032 7.1, test 1: the secret and the public key. */
const RFC_SEED = Buffer.from("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "hex");
const RFC_PUBLIC = Buffer.from("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "hex");

describe("an SSH host key", () => {
  it("has the public key of the standard's example", () => {
    const blob = Buffer.from(encodeSshKey(RFC_SEED, new Uint8Array(4)).publicKey.split(" ")[1]!, "base64");
    expect(blob.subarray(0, 19).toString("latin1")).toBe("\0\0\0\x0bssh-ed25519\0\0\0\x20");
    expect(blob.subarray(19)).toEqual(RFC_PUBLIC);
  });

  it.skipIf(requireTools(["ssh-keygen"]))("is read by OpenSSH, which finds the same public key in it", () => {
    const folder = mkdtempSync(join(tmpdir(), "bramble-ssh-"));
    try {
      for (let seed = 0; seed < 5; seed++) {
        const key = encodeSshKey(new Uint8Array(32).fill(seed), new Uint8Array(4).fill(seed));
        const file = join(folder, "key");
        writeFileSync(file, key.privateKey);
        chmodSync(file, 0o600);
        expect(execFileSync("ssh-keygen", ["-y", "-f", file], { encoding: "utf8" }).trim()).toBe(key.publicKey);
        rmSync(file);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("the secrets of a node", () => {
  it("come from the random bytes alone, and differ with them", () => {
    const secrets = (fill: number) => createNodeSecrets({ bytes: (count) => new Uint8Array(count).fill(fill) });
    expect(secrets(7)).toEqual(secrets(7));
    expect(secrets(7).machineId).not.toBe(secrets(8).machineId);
    expect(secrets(7).sshHostKey.publicKey).not.toBe(secrets(8).sshHostKey.publicKey);
  });

  it("have a machine id that is a random UUID to systemd", () => {
    for (const fill of [0, 0xff]) {
      const { machineId } = createNodeSecrets({ bytes: (count) => new Uint8Array(count).fill(fill) });
      expect(machineId).toMatch(/^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
    }
  });
});
