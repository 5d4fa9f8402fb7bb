/** How OpenSSH's client reaches a node whose host key the manager made: settings of ssh_config(5). */

export interface SshFiles {
  /** Absolute paths: the private key that every node lets in, and the host keys of all nodes by node name. */
  managerKey: string;
  knownHosts: string;
}

/** `-o`, `Key=value`, …: the node's host key is the one that the manager made, whatever address the node has. */
export function pinnedHostKeyOptions(node: string, { knownHosts }: SshFiles): string[] {
  const settings = {
    UserKnownHostsFile: configPath(knownHosts),
    GlobalKnownHostsFile: "/dev/null",
    HostKeyAlias: node,
    StrictHostKeyChecking: "yes",
    UpdateHostKeys: "no",
  };
  return Object.entries(settings).flatMap(([key, value]) => ["-o", `${key}=${value}`]);
}

/** Of a path with spaces ssh would make two, and `%` begins a token. */
function configPath(path: string): string {
  return `"${path.replace(/["\\]/g, "\\$&").replaceAll("%", "%%")}"`;
}
