/**
 * Lets users other than root run `ping`. Images give the program a file capability, an extended attribute, which NFS
 * version 3 does not carry: it then needs the kernel's leave to send echo requests (net.ipv4.ping_group_range, icmp(7)).
 */
import type { GeneratedFile } from "../generated-file.ts";
import { type GenerationInput, textFile } from "./placing.ts";

/** sysctl.d(5): files are read in the order of their names, so any other that says something wins. */
const PATH = "/etc/sysctl.d/00-bramble-ping.conf";

const TEXT = `# ping needs this where its file capability is not there: NFS version 3 does not carry it. Every group may.
net.ipv4.ping_group_range = 0 2147483647
`;

export function pingFiles({ root }: GenerationInput): GeneratedFile[] {
  const hasPing = root.exists("/usr/bin/ping") || root.exists("/bin/ping");
  const readsSysctls = root.isDirectory("/usr/lib/sysctl.d") || root.isDirectory("/etc/sysctl.d");
  return hasPing && readsSysctls ? [textFile(PATH, TEXT, "ping without file capabilities")] : [];
}
