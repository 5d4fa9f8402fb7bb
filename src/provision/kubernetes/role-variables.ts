/** What the roles k3s and kubeadm of the Ansible collection are told: what the manifest has below `orchestrator`. No secret is among it. */
import type { Configure } from "../../cluster/manifest-configure.ts";
import type { PinnedFile } from "../../cluster/manifest-kubernetes.ts";
import type { Manifest } from "../../cluster/manifest-schema.ts";

export interface KubernetesRole {
  role: "k3s" | "kubeadm";
  variables: Configure["variables"];
}

/** `resolve`: of a path of the manifest, the one that Ansible finds. URLs stay. */
export function kubernetesRole(
  { orchestrator }: Pick<Manifest, "orchestrator">,
  resolve: (path: string) => string,
): KubernetesRole | undefined {
  if (orchestrator === undefined || orchestrator.kind === "swarm") return undefined;
  const sourceOf = ({ source }: PinnedFile) => (/^https?:\/\//.test(source) ? source : resolve(source));
  const pinned = (prefix: string, file: PinnedFile | undefined) =>
    file === undefined ? {} : { [`${prefix}_source`]: sourceOf(file), [`${prefix}_sha256`]: file.sha256 };
  if (orchestrator.kind === "k3s") {
    const { version, binary, airgapImages } = orchestrator;
    const variables = { k3s_version: version, ...pinned("k3s_binary", binary), ...pinned("k3s_airgap", airgapImages) };
    return { role: "k3s", variables };
  }
  const { version, binaries, cniPlugins, cni, airgapImages, pauseImage } = orchestrator;
  const programs = Object.entries(binaries).map(([name, file]) => [name, { ...file, source: sourceOf(file) }] as const);
  return {
    role: "kubeadm",
    variables: {
      kubeadm_version: version,
      kubeadm_binaries: Object.fromEntries(programs),
      ...pinned("kubeadm_cni_plugins", cniPlugins),
      ...pinned("kubeadm_cni", cni),
      ...pinned("kubeadm_airgap", airgapImages),
      kubeadm_pause_image: pauseImage,
    },
  };
}
