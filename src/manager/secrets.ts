/**
 * What must stay secret and must survive restarts: the key that seals file handles, the manager's own SSH key, and
 * for each node its machine id and SSH host key. Made once, kept in files that only the manager's user can read.
 *
 *   <stateFolder>/secrets/handle-key            16 bytes, hex
 *   <stateFolder>/secrets/id_ed25519[.pub]      what `bramble ssh` logs in with
 *   <stateFolder>/secrets/nodes/<name>.json     NodeSecrets
 *   <stateFolder>/known_hosts                   the host keys of all nodes, by node name
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createNodeSecrets, encodeSshKey, type NodeSecrets } from "../cluster/ssh-keys.ts";
import { HANDLE_KEY_BYTES } from "../nfs/handle.ts";
import type { Random } from "../ports.ts";
import type { SshFiles } from "../provision/ssh-options.ts";
import { replaceFileDurably, replaceFileUnsynced, writeFileAtomically } from "../system/atomic-file.ts";

const SECRET_FILE_MODE = 0o600;

export function sshPaths(stateFolder: string): SshFiles {
  return { managerKey: join(stateFolder, "secrets/id_ed25519"), knownHosts: join(stateFolder, "known_hosts") };
}

export class Secrets {
  readonly #folder: string;
  readonly #stateFolder: string;
  readonly #random: Random;
  readonly #nodes = new Map<string, NodeSecrets>();
  #managerPublicKey: string | undefined;

  constructor(stateFolder: string, random: Random) {
    this.#stateFolder = stateFolder;
    this.#folder = join(stateFolder, "secrets");
    this.#random = random;
    mkdirSync(join(this.#folder, "nodes"), { recursive: true, mode: 0o700 });
  }

  handleKey(): Uint8Array {
    return Buffer.from(
      this.#once("handle-key", () => hex(this.#random.bytes(HANDLE_KEY_BYTES))),
      "hex",
    );
  }

  /** The manager's public key, a line for `authorized_keys`. */
  managerPublicKey(): string {
    this.#managerPublicKey ??= this.#readManagerPublicKey();
    return this.#managerPublicKey;
  }

  #readManagerPublicKey(): string {
    const { managerKey } = sshPaths(this.#stateFolder);
    if (!existsSync(managerKey) || !existsSync(`${managerKey}.pub`)) {
      const pair = encodeSshKey(this.#random.bytes(32), this.#random.bytes(4));
      writeFileAtomically(`${managerKey}.pub`, `${pair.publicKey} bramble-manager\n`);
      writeFileAtomically(managerKey, pair.privateKey, SECRET_FILE_MODE);
    }
    return readFileSync(`${managerKey}.pub`, "utf8").trim();
  }

  forNode(name: string): NodeSecrets {
    let secrets = this.#nodes.get(name);
    if (!secrets) {
      const path = this.#nodePath(name);
      if (!existsSync(path)) {
        writeFileAtomically(path, encodeNodeSecrets(createNodeSecrets(this.#random)), SECRET_FILE_MODE);
      }
      secrets = JSON.parse(readFileSync(path, "utf8")) as NodeSecrets;
      this.#nodes.set(name, secrets);
    }
    return secrets;
  }

  /** The same, made while the event loop goes on. */
  async prepareNode(name: string): Promise<void> {
    const path = this.#nodePath(name);
    if (existsSync(path)) return;
    const secrets = createNodeSecrets(this.#random);
    await replaceFileDurably(path, encodeNodeSecrets(secrets), { mode: SECRET_FILE_MODE });
    this.#nodes.set(name, secrets);
  }

  /** Lets `ssh` know every node before it is first met. Not forced to disk: it is made anew at each start. */
  writeKnownHosts(names: readonly string[]): void {
    replaceFileUnsynced(sshPaths(this.#stateFolder).knownHosts, names.map((name) => this.#knownHost(name)).join(""));
  }

  /** The same for one node more. */
  addKnownHost(name: string): void {
    appendFileSync(sshPaths(this.#stateFolder).knownHosts, this.#knownHost(name));
  }

  #knownHost(name: string): string {
    return `${name} ${this.forNode(name).sshHostKey.publicKey}\n`;
  }

  #nodePath(name: string): string {
    return join(this.#folder, "nodes", `${name}.json`);
  }

  #once(name: string, make: () => string): string {
    const path = join(this.#folder, name);
    if (!existsSync(path)) writeFileAtomically(path, `${make()}\n`, SECRET_FILE_MODE);
    return readFileSync(path, "utf8").trim();
  }
}

function encodeNodeSecrets(secrets: NodeSecrets): string {
  return `${JSON.stringify(secrets, null, 1)}\n`;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
