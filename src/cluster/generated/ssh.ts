/** The SSH server: started, with the host key that the manager made and no other. */
import type { GeneratedFile } from "../generated-file.ts";
import {
  enableUnit,
  type GenerationInput,
  hasUnit,
  maskUnit,
  removed,
  symlink,
  textFile,
  unitPath,
} from "./placing.ts";

const REASON = "SSH";
const HOST_KEY = "/etc/ssh/ssh_host_ed25519_key";
/** They make new host keys at the first boot, and would replace ours. */
const KEY_MAKERS = ["regenerate_ssh_host_keys.service", "sshd-keygen.service", "ssh-keygen.service"];

export function sshFiles(input: GenerationInput): GeneratedFile[] {
  const { facts, root, secrets } = input;
  if (facts.sshServer !== "openssh") return [];
  const others = root
    .list("/etc/ssh")
    .filter((name) => /^ssh_host_/.test(name) && !HOST_KEY.endsWith(name) && !`${HOST_KEY}.pub`.endsWith(name));
  return [
    textFile(HOST_KEY, secrets.sshHostKey.privateKey, REASON, { mode: 0o600, secret: true }),
    textFile(`${HOST_KEY}.pub`, `${secrets.sshHostKey.publicKey} ${input.node.name}\n`, REASON),
    ...others.map((name) => removed(`/etc/ssh/${name}`, REASON)),
    ...KEY_MAKERS.filter((unit) => hasUnit(root, unit)).map((unit) => maskUnit(unit, REASON)),
    ...(root.exists("/etc/ssh/sshd_not_to_be_run") ? [removed("/etc/ssh/sshd_not_to_be_run", REASON)] : []),
    ...startFiles(input),
  ];
}

/** Where the image starts sshd by a socket, it stays so. */
function startFiles({ facts, root }: GenerationInput): GeneratedFile[] {
  const bySocket = root.exists("/etc/systemd/system/sockets.target.wants/ssh.socket");
  if (facts.init !== "systemd" || bySocket) return [];
  const path = unitPath(root, "ssh.service") ?? unitPath(root, "sshd.service");
  if (path === undefined) return [];
  const unit = path.slice(path.lastIndexOf("/") + 1);
  const alias = unit === "ssh.service" ? [symlink("/etc/systemd/system/sshd.service", path, REASON)] : [];
  return [enableUnit(unit, path, REASON), ...alias];
}
