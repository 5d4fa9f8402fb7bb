/**
 * Kubernetes by kubeadm, as scripts. Documents: kubernetes.io "Creating a cluster with kubeadm", "Creating Highly Available Clusters",
 * "kubeadm Configuration (v1beta3, v1beta4)", "Upgrading kubeadm clusters", "kubeadm reset"; etcd, "Runtime reconfiguration".
 * Left out: an external etcd, dual stack, a load balancer before the API (`endpoint` names one that is there).
 */
import type { KubeadmManifest } from "../../cluster/manifest-kubernetes.ts";
import type { DesiredCluster, DesiredMember } from "../orchestrator.ts";
import { CHECK_SUM, LOOK_AT_NODE, NAME_FAILURE } from "./common-scripts.ts";
import type { Flavour, JoinSecrets } from "./flavour.ts";
import { managersOf } from "./plan.ts";
import { changingScript, fileWritten, PROGRAMS_FOLDER, SECRETS_FOLDER, script } from "./script.ts";

const PROGRAMS = ["kubeadm", "kubelet", "kubectl"] as const;
const SETTINGS_PATH = `${SECRETS_FOLDER}/kubeadm.yaml`;
const ADMIN = "/etc/kubernetes/admin.conf";
const KUBECTL = `kubectl --kubeconfig ${ADMIN}`;
/** On the storage for containers itself: etcd waits for the disk at each change. */
const ETCD_FOLDER = "/var/lib/bramble/containers/etcd";
export const CNI_MANIFEST_PATH = `${PROGRAMS_FOLDER}/kubernetes/cni.yaml`;
const RUNTIME = "unix:///run/containerd/containerd.sock";
const TOKEN_TTL = "15m0s";
const API_PORT = 6443;

export function kubeadmFlavour(cluster: string, manifest: KubeadmManifest, managerCount: number): Flavour {
  const { version } = manifest;
  return {
    settings: { what: "Kubernetes", cluster, version, models: manifest.models, isShared: true },
    access: { kubectl: KUBECTL, forget: managerCount > 1 ? FORGET_IN_ETCD : ":", pauseImage: manifest.pauseImage },
    observe: observeScript,
    init: (member, desired) =>
      changingScript(
        FUNCTIONS,
        `trap 'rm -f ${SETTINGS_PATH}' EXIT
${placed(version, manifest)}
check_sum ${CNI_MANIFEST_PATH} ${manifest.cni.sha256}
${fileWritten(SETTINGS_PATH, initSettings(manifest, member, desired), "0600")}
systemctl enable kubelet > /dev/null 2>&1 || fail missing "its unit kubelet.service"
kube init --config ${SETTINGS_PATH} --skip-token-print
said=$(${KUBECTL} apply -f ${CNI_MANIFEST_PATH} 2>&1) || fail api "$said"`,
      ),
    joinSecrets: (node, kind) => joinSecretsScript(node, kind, version),
    join: (member, kind, apiAddress, secrets) =>
      changingScript(
        FUNCTIONS,
        `trap 'rm -f ${SETTINGS_PATH}' EXIT
${placed(version, manifest)}
${fileWritten(SETTINGS_PATH, joinSettings(version, member, kind, `${manifest.endpoint ?? apiAddress}:${API_PORT}`, secrets), "0600")}
systemctl enable kubelet > /dev/null 2>&1 || fail missing "its unit kubelet.service"
kube join --config ${SETTINGS_PATH}`,
      ),
    start: (_member, runs) => changingScript(FUNCTIONS, `${placed(runs, manifest)}\nrestart_kubelet`),
    upgrade: (_member, to, isFirst) =>
      changingScript(
        FUNCTIONS,
        `${check(to, manifest)}
${link("kubeadm", to)}
${isFirst ? `kube upgrade apply ${to} --yes` : "kube upgrade node"}
${placed(to, manifest)}
restart_kubelet`,
      ),
    reset: resetScript,
    kubeconfig: () => script("", `cat ${ADMIN} || fail api 'there is no admin.conf'`),
  };
}

const folderOf = (version: string) => `${PROGRAMS_FOLDER}/kubernetes/${version}`;

function check(version: string, manifest: KubeadmManifest): string {
  return PROGRAMS.map((program) => {
    const path = `${folderOf(version)}/${program}`;
    return version === manifest.version
      ? `check_sum ${path} ${manifest.binaries[program].sha256}`
      : `[ -x ${path} ] || fail missing ${version}`;
  }).join("\n");
}

function link(program: string, version: string): string {
  const at = `/usr/local/bin/${program}`;
  return `ln -sfn ${folderOf(version)}/${program} ${at}.new && mv -T ${at}.new ${at} || fail not-started "/usr/local/bin cannot be written"`;
}

function placed(version: string, manifest: KubeadmManifest): string {
  return [check(version, manifest), ...PROGRAMS.map((program) => link(program, version))].join("\n");
}

/** v1beta3 left with 1.31's successor in view; v1beta4 came with 1.31. What is used here is the same in both. */
function apiVersionOf(version: string): string {
  const minor = Number(/^v1\.(\d+)/.exec(version)?.[1]);
  return `kubeadm.k8s.io/${minor >= 31 ? "v1beta4" : "v1beta3"}`;
}

/** JSON is YAML, and `---` parts its documents. */
function documents(...parts: object[]): string {
  return parts.map((part) => JSON.stringify(part)).join("\n---\n");
}

function initSettings(manifest: KubeadmManifest, member: DesiredMember, desired: DesiredCluster): string {
  const apiVersion = apiVersionOf(manifest.version);
  const { podCidr, serviceCidr, endpoint } = manifest;
  const host = endpoint ?? member.address ?? member.name;
  const addresses = managersOf(desired).flatMap(({ address }) => address ?? []);
  return documents(
    {
      apiVersion,
      kind: "InitConfiguration",
      bootstrapTokens: [{ ttl: TOKEN_TTL, usages: ["signing", "authentication"] }],
      nodeRegistration: { name: member.name, criSocket: RUNTIME },
      ...(member.address && { localAPIEndpoint: { advertiseAddress: member.address, bindPort: API_PORT } }),
    },
    {
      apiVersion,
      kind: "ClusterConfiguration",
      clusterName: desired.name,
      kubernetesVersion: manifest.version,
      controlPlaneEndpoint: `${host}:${API_PORT}`,
      networking: { ...(podCidr && { podSubnet: podCidr }), ...(serviceCidr && { serviceSubnet: serviceCidr }) },
      apiServer: { certSANs: [...new Set([host, ...addresses])] },
      etcd: { local: { dataDir: ETCD_FOLDER } },
    },
    {
      apiVersion: "kubelet.config.k8s.io/v1beta1",
      kind: "KubeletConfiguration",
      cgroupDriver: "systemd",
      failSwapOn: false,
    },
  );
}

function joinSettings(
  version: string,
  { name, address }: DesiredMember,
  kind: "join-server" | "join-agent",
  apiServerEndpoint: string,
  { byName }: JoinSecrets,
): string {
  return documents({
    apiVersion: apiVersionOf(version),
    kind: "JoinConfiguration",
    discovery: {
      bootstrapToken: {
        token: byName.get("token"),
        apiServerEndpoint,
        caCertHashes: [`sha256:${byName.get("authority")}`],
      },
    },
    nodeRegistration: { name, criSocket: RUNTIME },
    ...(kind === "join-server" && {
      controlPlane: {
        certificateKey: byName.get("certificateKey"),
        ...(address && { localAPIEndpoint: { advertiseAddress: address, bindPort: API_PORT } }),
      },
    }),
  });
}

/** The key of the certificates goes by a file: words of a command line are seen by everybody on the node. */
function joinSecretsScript(node: string, kind: "join-server" | "join-agent", version: string): string {
  const certificates = `
key=$(kubeadm certs certificate-key) || fail api "no key for the certificates"
trap 'rm -f ${SETTINGS_PATH}' EXIT
mkdir -p ${SECRETS_FOLDER}
printf '{"apiVersion":"${apiVersionOf(version)}","kind":"InitConfiguration","certificateKey":"%s"}\\n' "$key" > ${SETTINGS_PATH}
said=$(kubeadm init phase upload-certs --upload-certs --skip-certificate-key-print --config ${SETTINGS_PATH} 2>&1) || fail api "$said"
say certificateKey "$key"`;
  return script(
    "",
    `export KUBECONFIG=${ADMIN}
token=$(kubeadm token create --ttl ${TOKEN_TTL} --description "Bramble: ${node}" 2> /dev/null) || fail api "no token was made"
authority=$(openssl x509 -pubkey -noout -in /etc/kubernetes/pki/ca.crt | openssl pkey -pubin -outform DER | sha256sum)
say token "$token"
say authority "\${authority%% *}"${kind === "join-server" ? certificates : ""}`,
  );
}

/** A member of etcd that is gone counts for its quorum until it is taken out, which etcd refuses in the first seconds after its start. */
const FORGET_IN_ETCD = `
etcd_pod=$(${KUBECTL} -n kube-system get pods -l component=etcd --field-selector status.phase=Running -o 'jsonpath={.items[*].metadata.name}')
for pod in $etcd_pod; do
  [ "$pod" != "etcd-$node" ] || continue
  etcdctl="${KUBECTL} -n kube-system exec $pod -- etcdctl --endpoints https://127.0.0.1:2379 --cacert /etc/kubernetes/pki/etcd/ca.crt --cert /etc/kubernetes/pki/etcd/server.crt --key /etc/kubernetes/pki/etcd/server.key"
  members=$($etcdctl member list 2> /dev/null) || continue
  id=$(printf '%s\\n' "$members" | grep -F ", $node, " | cut -d, -f1)
  [ -z "$id" ] || said=$($etcdctl member remove "$id" 2>&1) || fail etcd "$node is still a member of etcd: $(printf '%s\\n' "$said" | sed -n 's/^Error: //p')"
  break
done`;

function observeScript(): string {
  return script(
    LOOK_AT_NODE,
    `look_at_node /var/lib/containerd /var/lib/kubelet
for program in ${PROGRAMS_FOLDER}/kubernetes/*/kubeadm; do
  folder=\${program%/kubeadm}
  [ -x "$program" ] && [ -x "$folder/kubelet" ] && [ -x "$folder/kubectl" ] || continue
  say version "\${folder##*/}"
  look_at_program "$folder/kubelet"
done
current=$(readlink /usr/local/bin/kubelet) && current=\${current%/kubelet} && say current "\${current##*/}"
identity=none
if [ -f /etc/kubernetes/manifests/kube-apiserver.yaml ]; then identity=server
elif [ -f /etc/kubernetes/kubelet.conf ]; then identity=agent; fi
say identity "$identity"
service=$(service_state kubelet)
say service "$service"
say shared yes
say configured yes
if [ "$identity" = server ] && [ "$service" = active ] && timeout 20 ${KUBECTL} get --raw /readyz > /dev/null 2>&1; then
  say healthy yes
  say clusterId "$(timeout 20 ${KUBECTL} get namespace kube-system -o 'jsonpath={.metadata.uid}')"
fi
say end yes`,
  );
}

/** `kube WORD…`: kubeadm, whose output may hold what nobody else should see: its last words are told. */
const FUNCTIONS = `${CHECK_SUM}${NAME_FAILURE}
kube() {
  if said=$(kubeadm "$@" 2>&1); then return 0; fi
  said=$(printf '%s\\n' "$said" | grep -v -e '^To see the stack trace' -e '^$' | tail -n 4)
  why=$(name_failure "$said")
  fail "\${why:-refused}" "$said"
}
restart_kubelet() {
  systemctl daemon-reload
  systemctl enable kubelet > /dev/null 2>&1 || fail missing "its unit kubelet.service"
  systemctl restart kubelet || fail not-started "$(journalctl -u kubelet -n 5 -o cat --no-pager 2> /dev/null)"
}
`;

function resetScript(): string {
  return changingScript(
    "",
    `systemctl disable kubelet > /dev/null 2>&1
said=$(kubeadm reset --force --cri-socket ${RUNTIME} 2>&1) || fail reset "$said"
rm -rf --one-file-system ${SETTINGS_PATH} /etc/cni/net.d ${ETCD_FOLDER} /var/lib/cni
for link in cni0 flannel.1 vxlan.calico; do ip link delete "$link" > /dev/null 2>&1; done
[ ! -e /etc/kubernetes/kubelet.conf ] || fail reset "/etc/kubernetes cannot be removed"`,
  );
}
