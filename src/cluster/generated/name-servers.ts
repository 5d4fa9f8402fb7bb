/**
 * /etc/resolv.conf: DHCP was answered before the root was mounted, so nothing that runs later has heard of the name
 * servers. Those of the manifest are written down; otherwise a unit takes over what the kernel or the initramfs noted.
 */
import type { GeneratedFile } from "../generated-file.ts";
import { networkOfNode } from "../node-network.ts";
import { enableUnit, type GenerationInput, textFile } from "./placing.ts";

const REASON = "name servers";
const SCRIPT_PATH = "/usr/lib/bramble/name-servers";
const UNIT = "bramble-name-servers.service";

/** The kernel's note is /proc/net/pnp (nfsroot), that of initramfs-tools /run/net-<interface>.conf. */
const SCRIPT = `#!/bin/sh
# Takes over the name servers that DHCP gave before the root file system was mounted.
known() {
  sed -n -e '/^nameserver 0\\.0\\.0\\.0/d' -e '/^nameserver /p' -e 's/^domain /search /p' /proc/net/pnp
  for lease in /run/net-*.conf; do
    sed -n -e "/'0\\.0\\.0\\.0'/d" -e "s/^IPV4DNS[01]='\\([0-9.]*\\)'/nameserver \\1/p" -e "s/^DNSDOMAIN='\\(..*\\)'/search \\1/p" "$lease"
  done
}
lines=$(known 2>/dev/null)
[ -n "$lines" ] || exit 0
# It may be a link into /run to a file that nobody writes.
rm -f /etc/resolv.conf
printf '%s\\n' "$lines" > /etc/resolv.conf
`;

const UNIT_TEXT = `[Unit]
Description=Take over the name servers that DHCP gave at boot
DefaultDependencies=no
After=local-fs.target
Before=network-pre.target sysinit.target
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=${SCRIPT_PATH}
`;

export function nameServerFiles(input: GenerationInput): GeneratedFile[] {
  const { manifest, node, facts } = input;
  const { dns, searchDomains } = networkOfNode(manifest, node);
  if (usesResolved(input)) {
    if (dns.length === 0) return [];
    const lines = [
      "[Resolve]",
      `DNS=${dns.join(" ")}`,
      ...(searchDomains.length > 0 ? [`Domains=${searchDomains.join(" ")}`] : []),
      "",
    ];
    return [textFile("/etc/systemd/resolved.conf.d/90-bramble.conf", lines.join("\n"), REASON)];
  }
  if (dns.length > 0) {
    const lines = [
      ...(searchDomains.length > 0 ? [`search ${searchDomains.join(" ")}`] : []),
      ...dns.map((server) => `nameserver ${server}`),
      "",
    ];
    return [textFile("/etc/resolv.conf", lines.join("\n"), REASON)];
  }
  // Our own DHCP server gives those of the manifest: none. The kernel would then take the boot server for one.
  if (facts.init !== "systemd" || manifest.network.dhcp === "server") return [];
  const unitPath = `/etc/systemd/system/${UNIT}`;
  return [
    textFile(SCRIPT_PATH, SCRIPT, REASON, { mode: 0o755 }),
    textFile(unitPath, UNIT_TEXT, REASON),
    enableUnit(UNIT, unitPath, REASON),
  ];
}

/** systemd-resolved has a file of its own; it learns nothing from the kernel. */
export function nameServerWarnings(input: Pick<GenerationInput, "manifest" | "node" | "root">): string[] {
  const { dhcp } = input.manifest.network;
  const { dns, router } = networkOfNode(input.manifest, input.node);
  if (dns.length > 0) return [];
  if (dhcp === "server") {
    const hasWayOut = router !== undefined;
    return hasWayOut ? ["The node will resolve no names: set network.dns in the manifest"] : [];
  }
  return usesResolved(input)
    ? [
        "The image resolves names with systemd-resolved, which does not hear of DHCP's name servers; set network.dns in the manifest",
      ]
    : [];
}

function usesResolved({ root }: Pick<GenerationInput, "root">): boolean {
  return (
    root.exists("/etc/systemd/system/sysinit.target.wants/systemd-resolved.service") ||
    root.exists("/etc/systemd/system/multi-user.target.wants/systemd-resolved.service")
  );
}
