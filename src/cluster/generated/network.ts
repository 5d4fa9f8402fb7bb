/**
 * The interface the node booted from: whatever manages networks must leave it as the kernel or the initramfs set it up,
 * or the root file system hangs. Other interfaces (wireless) stay with the image's own settings.
 */
import type { GeneratedFile } from "../generated-file.ts";
import type { NetworkManager } from "../image-facts.ts";
import { networkOfNode } from "../node-network.ts";
import { type GenerationInput, type Generator, imageText, textFile } from "./placing.ts";

const REASON = "boot interface";
/** Names a wired interface may get, for a node of which only the serial is known. */
const WIRED_NAMES = ["eth*", "en*"];
const WIRED_NAME = /^(eth|en)\S*$/;

/** netplan only writes settings for the two first, which our files precede. */
const GENERATORS: Readonly<Record<NetworkManager, Generator>> = {
  networkmanager: (input) => [
    textFile("/etc/NetworkManager/conf.d/90-bramble.conf", networkManagerConf(input), REASON),
  ],
  "systemd-networkd": (input) => [textFile("/etc/systemd/network/00-bramble.network", networkdUnit(input), REASON)],
  dhcpcd: dhcpcdFiles,
  ifupdown: ifupdownFiles,
  netplan: () => [],
};

export function networkFiles(input: GenerationInput): GeneratedFile[] {
  return input.facts.networkManagers.flatMap((manager) => GENERATORS[manager](input));
}

/** NetworkManager.conf(5). It would also empty /etc/resolv.conf for want of a connection that it manages. */
function networkManagerConf({ node }: GenerationInput): string {
  const devices = node.mac ? [`mac:${node.mac}`] : WIRED_NAMES.map((name) => `interface-name:${name}`);
  return `[main]\ndns=none\n\n[keyfile]\nunmanaged-devices+=${devices.join(";")}\n`;
}

/**
 * systemd.network(5). Kept rather than unmanaged: then systemd-networkd-wait-online sees that the network is there.
 * The name sorts before those of netplan and of the image.
 */
function networkdUnit({ manifest, node }: GenerationInput): string {
  const { dns, searchDomains } = networkOfNode(manifest, node);
  return [
    "[Match]",
    ...(node.mac ? [`MACAddress=${node.mac}`] : [`Name=${WIRED_NAMES.join(" ")}`]),
    "Type=ether",
    "",
    "[Network]",
    "KeepConfiguration=yes",
    "LinkLocalAddressing=ipv6",
    ...dns.map((server) => `DNS=${server}`),
    ...(searchDomains.length > 0 ? [`Domains=${searchDomains.join(" ")}`] : []),
    "",
  ].join("\n");
}

/** dhcpcd.conf(5): what stands before the first `interface` line holds for all. */
function dhcpcdFiles({ root }: GenerationInput): GeneratedFile[] {
  const text = imageText(root, "/etc/dhcpcd.conf") ?? "";
  return [textFile("/etc/dhcpcd.conf", `denyinterfaces ${WIRED_NAMES.join(" ")}\n${text}`, REASON)];
}

/** interfaces(5), the main file and those it sources. */
function ifupdownFiles({ root }: GenerationInput): GeneratedFile[] {
  const folder = "/etc/network/interfaces.d";
  const sourced = root.list(folder).map((name) => `${folder}/${name}`);
  return ["/etc/network/interfaces", ...sourced].flatMap((path) => {
    const text = imageText(root, path);
    const kept = text === undefined ? undefined : withoutWired(text);
    return kept === undefined || kept === `${text?.trimEnd()}\n` ? [] : [textFile(path, kept, REASON)];
  });
}

/** Drops the stanzas of wired interfaces: a stanza runs to the next word that starts one. */
export function withoutWired(text: string): string {
  let dropping = false;
  const lines = text.split("\n").flatMap((line) => {
    const [word = "", ...names] = line.trim().split(/\s+/);
    if (word === "auto" || word.startsWith("allow-")) {
      dropping = false;
      const others = names.filter((name) => !WIRED_NAME.test(name));
      if (others.length === names.length) return [line];
      return others.length === 0 ? [] : [`${word} ${others.join(" ")}`];
    }
    if (/^(iface|mapping|source|source-directory)$/.test(word))
      dropping = word === "iface" && WIRED_NAME.test(names[0] ?? "");
    return dropping ? [] : [line];
  });
  return `${lines.join("\n").trimEnd()}\n`;
}
