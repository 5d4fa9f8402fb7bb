/**
 * An SSH host key for a node, made by the manager so that it knows the key before the node first starts.
 * Documents: RFC 8709 (ssh-ed25519), OpenSSH's PROTOCOL.key (the private key file).
 * Left out: other kinds of keys, and pass phrases.
 */
import { createPrivateKey, createPublicKey } from "node:crypto";
import { Writer } from "../bytes/writer.ts";
import type { Random } from "../ports.ts";

export interface SshHostKey {
  /** The file `/etc/ssh/ssh_host_ed25519_key`. */
  privateKey: string;
  /** `ssh-ed25519 AAAA…`, without a comment. */
  publicKey: string;
}

/** What makes one node itself and must survive the manager's restarts. */
export interface NodeSecrets {
  /** machine-id(5): 32 hex digits. */
  machineId: string;
  sshHostKey: SshHostKey;
}

export function createNodeSecrets(random: Random): NodeSecrets {
  return {
    machineId: createMachineId(random),
    sshHostKey: encodeSshKey(random.bytes(SEED_BYTES), random.bytes(CHECK_BYTES)),
  };
}

/** A version 4 UUID without hyphens, as systemd makes them. */
function createMachineId(random: Random): string {
  const bytes = Uint8Array.from(random.bytes(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return Buffer.from(bytes).toString("hex");
}

const KEY_TYPE = "ssh-ed25519";
const SEED_BYTES = 32;
const CHECK_BYTES = 4;
const LINE_CHARACTERS = 70;
const CIPHER_BLOCK_BYTES = 8;
/** A PKCS #8 frame (RFC 8410) up to the 32 bytes of the seed. */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");

/** `check` is any four bytes: they stand twice in the file, for telling a wrong pass phrase. */
export function encodeSshKey(seed: Uint8Array, check: Uint8Array): SshHostKey {
  const publicBytes = ed25519PublicBytes(seed);
  const publicBlob = sshStrings(KEY_TYPE, publicBytes);
  const secret = new Writer().bytes(check).bytes(check);
  secret.bytes(sshStrings(KEY_TYPE, publicBytes, Buffer.concat([seed, publicBytes]), ""));
  for (let pad = 1; secret.lengthBytes % CIPHER_BLOCK_BYTES !== 0; pad++) secret.u8(pad);

  const file = new Writer().bytes(Buffer.from("openssh-key-v1\0"));
  file
    .bytes(sshStrings("none", "none", ""))
    .u32(1)
    .bytes(sshStrings(publicBlob, secret.finish()));
  const body = Buffer.from(file.finish()).toString("base64");
  const lines = body.match(new RegExp(`.{1,${LINE_CHARACTERS}}`, "g"))!;
  const label = "OPENSSH PRIVATE KEY";
  return {
    privateKey: [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n"),
    publicKey: `${KEY_TYPE} ${Buffer.from(publicBlob).toString("base64")}`,
  };
}

function ed25519PublicBytes(seed: Uint8Array): Uint8Array {
  const key = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: "der", type: "pkcs8" });
  return Buffer.from(createPublicKey(key).export({ format: "jwk" }).x!, "base64url");
}

/** Each with its length before it (RFC 4251 5, "string"). */
function sshStrings(...values: readonly (string | Uint8Array)[]): Uint8Array {
  const writer = new Writer();
  for (const value of values) {
    const bytes = Buffer.from(value as Uint8Array);
    writer.u32(bytes.length).bytes(bytes);
  }
  return writer.finish();
}
