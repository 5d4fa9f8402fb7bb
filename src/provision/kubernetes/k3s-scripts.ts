/**
 * k3s on a node, as scripts. Documents: docs.k3s.io "Configuration Options", "k3s token", "High Availability Embedded etcd", "Manual
 * Upgrades", "Uninstalling", and the source of k3s 1.31: an agent that has its certificate, and a server that has its database, need no
 * token, so none is kept; the password of a node is a secret of the cluster that belongs to the node's entry.
 * Left out: external databases, dual stack, private registries (`registries.yaml` may be placed by `files:`).
 */
import type { K3sManifest } from "../../cluster/manifest-kubernetes.ts";
import type { DesiredMember } from "../orchestrator.ts";
import { CHECK_SUM, LOOK_AT_NODE, NAME_FAILURE } from "./common-scripts.ts";
import type { Flavour, JoinSecrets } from "./flavour.ts";
import { changingScript, fileWritten, PROGRAMS_FOLDER, SECRETS_FOLDER, script } from "./script.ts";

const DATA = "/var/lib/rancher/k3s";
const SETTINGS_PATH = "/etc/rancher/k3s/config.yaml";
/** Beside the settings, because it may name another node each time. */
const SERVER_PATH = `${SETTINGS_PATH}.d/bramble-server.yaml`;
/** Read by both units, which begin without knowing a cluster only while it is there: as long as a node joins. */
const SECRETS_PATH = `${SECRETS_FOLDER}/k3s.env`;
const TOKEN_TTL = "15m";
const START_LIMIT_S = 420;
/** What k3s runs as the first container of each pod; it is among its air-gap images. */
const PAUSE_IMAGE = "rancher/mirrored-pause:3.6";

export function k3sFlavour(cluster: string, manifest: K3sManifest, managerCount: number): Flavour {
  const isShared = managerCount > 1;
  const settingsText = (member: DesiredMember) => k3sSettings(manifest, member, isShared);
  const place = (version: string) => placed(version, manifest);
  const settle = (member: DesiredMember) => fileWritten(SETTINGS_PATH, settingsText(member), "0600");
  return {
    settings: { what: "k3s", cluster, version: manifest.version, models: manifest.models, isShared },
    access: {
      kubectl: "k3s kubectl",
      forget: `k3s kubectl -n kube-system delete secret "$node.node-password.k3s" --ignore-not-found > /dev/null 2>&1`,
      pauseImage: PAUSE_IMAGE,
    },
    observe: (member) => observeScript(settingsText(member)),
    init: (member) =>
      changingScript(
        FUNCTIONS,
        `trap 'rm -f ${SECRETS_PATH}' EXIT
${place(manifest.version)}
${settle(member)}
rm -rf ${SERVER_PATH}
${fileWritten(SECRETS_PATH, "", "0600")}
start k3s`,
      ),
    joinSecrets: joinSecretsScript,
    join: (member, kind, apiAddress, secrets) =>
      changingScript(
        FUNCTIONS,
        `trap 'rm -f ${SECRETS_PATH}' EXIT
${place(manifest.version)}
${settle(member)}
${kind === "join-agent" ? serverFile(apiAddress) : `rm -rf ${SERVER_PATH}`}
${fileWritten(SECRETS_PATH, secretsText(kind, apiAddress, secrets), "0600")}
start ${unitOf(member)}`,
      ),
    start: (member, version, apiAddress) =>
      changingScript(
        FUNCTIONS,
        `${place(version)}
${settle(member)}
${member.role === "worker" && apiAddress !== undefined ? serverFile(apiAddress) : ":"}
start ${unitOf(member)}`,
      ),
    upgrade: (member, version) =>
      changingScript(FUNCTIONS, `${place(version)}\n${settle(member)}\nstart ${unitOf(member)}`),
    reset: resetScript,
    kubeconfig: () => script("", "cat /etc/rancher/k3s/k3s.yaml || fail api 'there is no k3s.yaml'"),
  };
}

/** JSON is YAML, so that no value needs another quoting. */
export function k3sSettings(manifest: K3sManifest, { name, role, address }: DesiredMember, isShared: boolean): string {
  const { flannel, podCidr, serviceCidr, disable } = manifest;
  const forAll = { "node-name": name, ...(address && { "node-ip": address }) };
  const forServers = {
    ...(isShared && { "cluster-init": true }),
    "write-kubeconfig-mode": "0600",
    "flannel-backend": flannel,
    ...(podCidr && { "cluster-cidr": podCidr }),
    ...(serviceCidr && { "service-cidr": serviceCidr }),
    ...(disable.length > 0 && { disable }),
    ...(flannel === "none" && { "disable-network-policy": true }),
  };
  const lines = Object.entries({ ...forAll, ...(role === "manager" && forServers) });
  return `# Written by Bramble.\n${lines.map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`).join("")}`;
}

const unitOf = ({ role }: DesiredMember) => (role === "manager" ? "k3s" : "k3s-agent");

const serverFile = (address: string) =>
  fileWritten(SERVER_PATH, `# Written by Bramble.\nserver: "https://${address}:6443"`, "0600");

/** Of a version that is not the manifest's any more the checksum is not known: it ran before. */
function placed(version: string, { version: wanted, binary }: K3sManifest): string {
  const program = `${PROGRAMS_FOLDER}/k3s/${version}/k3s`;
  return `${version === wanted ? `check_sum ${program} ${binary.sha256}` : `[ -x ${program} ] || fail missing ${version}`}
ln -sfn ${program} /usr/local/bin/k3s.new && mv -T /usr/local/bin/k3s.new /usr/local/bin/k3s || fail not-started "/usr/local/bin cannot be written"`;
}

function secretsText(kind: "join-server" | "join-agent", apiAddress: string, { byName }: JoinSecrets): string {
  const token = `K3S_TOKEN=${byName.get("token")}`;
  return kind === "join-agent" ? token : `${token}\nK3S_URL=https://${apiAddress}:6443`;
}

/** Only agents may join with a token that ends: a server needs the cluster's own, which k3s keeps on each server anyway. */
function joinSecretsScript(node: string, kind: "join-server" | "join-agent"): string {
  const forget = `k3s kubectl -n kube-system delete secret ${node}.node-password.k3s --ignore-not-found > /dev/null 2>&1`;
  return kind === "join-agent"
    ? script(
        "",
        `${forget}
token=$(k3s token create --ttl ${TOKEN_TTL} --description "Bramble: ${node}" 2>&1) || fail api "$token"
say token "$token"`,
      )
    : script(
        "",
        `${forget}
token=$(cat ${DATA}/server/token) || fail api "its token cannot be read"
say token "$token"`,
      );
}

function observeScript(settings: string): string {
  return script(
    LOOK_AT_NODE,
    `look_at_node ${DATA} /var/lib/kubelet
for program in ${PROGRAMS_FOLDER}/k3s/*/k3s; do
  [ -x "$program" ] || continue
  version=\${program%/k3s}
  say version "\${version##*/}"
  look_at_program "$program"
done
current=$(readlink /usr/local/bin/k3s) && current=\${current%/k3s} && say current "\${current##*/}"
unit=k3s-agent
if [ -d ${DATA}/server/db ]; then
  say identity server
  unit=k3s
elif [ -s ${DATA}/agent/client-kubelet.crt ]; then say identity agent
else say identity none; fi
service=$(service_state "$unit")
say service "$service"
[ ! -d ${DATA}/server/db/etcd ] || say shared yes
if cmp -s - ${SETTINGS_PATH} <<'BRAMBLE_END_OF_FILE'; then say configured yes; fi
${settings.trimEnd()}
BRAMBLE_END_OF_FILE
if [ "$unit" = k3s ] && [ "$service" = active ] && timeout 20 k3s kubectl get --raw /readyz > /dev/null 2>&1; then
  say healthy yes
  say clusterId "$(timeout 20 k3s kubectl get namespace kube-system -o 'jsonpath={.metadata.uid}')"
fi
say end yes`,
  );
}

/**
 * `start UNIT`: started again and followed until it is part of the cluster: a server when it answers, an agent when it has its
 * certificate and goes on running. Not longer than it takes to see that it will not.
 */
const FUNCTIONS = `${CHECK_SUM}${NAME_FAILURE}
is_part() {
  if [ "$1" = k3s ]; then timeout 20 k3s kubectl get --raw /readyz > /dev/null 2>&1
  else [ -s ${DATA}/agent/client-kubelet.crt ] && [ "$(systemctl is-active k3s-agent)" = active ]; fi
}
start() {
  begun=$(date +%s)
  systemctl daemon-reload
  systemctl enable "$1" > /dev/null 2>&1 || fail missing "its unit $1.service"
  systemctl reset-failed "$1" > /dev/null 2>&1
  systemctl restart --no-block "$1" || fail not-started "systemd refuses"
  until is_part "$1"; do
    said=$(journalctl -u "$1" --since "@$begun" -n 40 -o cat --no-pager 2> /dev/null)
    why=$(name_failure "$said")
    [ -z "$why" ] || { systemctl stop "$1"; fail "$why" "$said"; }
    [ $(($(date +%s) - begun)) -lt ${START_LIMIT_S} ] || fail not-started "$said"
    sleep 2
  done
}
`;

/** As k3s's own uninstall script does, but for the program, the units and the air-gap images: they are the role's. */
function resetScript(): string {
  return changingScript(
    "",
    `systemctl disable --now k3s k3s-agent > /dev/null 2>&1
for process in /proc/[0-9]*; do
  case $(tr '\\0' ' ' < "$process/cmdline" 2> /dev/null) in
    ${DATA}/data/*/bin/containerd-shim*) kill -9 "\${process#/proc/}" 2> /dev/null ;;
  esac
done
while read -r _ at _; do
  case $at in /run/k3s/* | /var/lib/kubelet/pods/* | /run/netns/cni-*) echo "$at" ;; esac
done < /proc/self/mounts | sort -r | while read -r at; do umount -l "$at"; done
for link in cni0 flannel.1 flannel-wg; do ip link delete "$link" > /dev/null 2>&1; done
rm -rf --one-file-system ${SECRETS_PATH} ${SERVER_PATH} ${SETTINGS_PATH} /etc/rancher/node /etc/rancher/k3s/k3s.yaml /run/k3s /run/flannel /var/lib/cni
for entry in ${DATA}/server ${DATA}/agent/*; do
  [ "$entry" = ${DATA}/agent/images ] || rm -rf --one-file-system "$entry"
done
rm -rf --one-file-system /var/lib/kubelet/* 2> /dev/null
[ ! -e ${DATA}/server ] || fail reset "${DATA}/server cannot be removed"`,
  );
}
