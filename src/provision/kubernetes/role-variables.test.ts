import { expect, it } from "vitest";
import { parseManifest } from "../../cluster/manifest.ts";
import { kubernetesRole } from "./role-variables.ts";

const [A, B] = ["aa".repeat(32), "bb".repeat(32)];

function roleOf(orchestrator: string) {
  const text = `cluster: attic\nimage: pi.img\nstorage: { kind: loop, size: 8GiB }\norchestrator: { ${orchestrator} }\nnodes: [{ name: a, serial: 1 }]\n`;
  const result = parseManifest(text, { fileExists: () => true });
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return kubernetesRole(result.manifest, (path) => `/cluster/${path}`);
}

it.each([
  ["of Swarm nothing", "kind: swarm", undefined],
  [
    "of k3s its program and images",
    `kind: k3s, version: v1.31.4+k3s1, binary: { source: k3s, sha256: ${A} }, airgapImages: { source: "https://example.org/images", sha256: ${B} }`,
    {
      role: "k3s",
      variables: {
        k3s_version: "v1.31.4+k3s1",
        k3s_binary_source: "/cluster/k3s",
        k3s_binary_sha256: A,
        k3s_airgap_source: "https://example.org/images",
        k3s_airgap_sha256: B,
      },
    },
  ],
  [
    "of kubeadm all of its files",
    `kind: kubeadm, version: v1.31.4, binaries: { kubeadm: { source: a, sha256: ${A} }, kubelet: { source: b, sha256: ${A} }, kubectl: { source: c, sha256: ${A} } }, cniPlugins: { source: p, sha256: ${B} }, cni: { source: n, sha256: ${B} }`,
    {
      role: "kubeadm",
      variables: {
        kubeadm_version: "v1.31.4",
        kubeadm_binaries: {
          kubeadm: { source: "/cluster/a", sha256: A },
          kubelet: { source: "/cluster/b", sha256: A },
          kubectl: { source: "/cluster/c", sha256: A },
        },
        kubeadm_cni_plugins_source: "/cluster/p",
        kubeadm_cni_plugins_sha256: B,
        kubeadm_cni_source: "/cluster/n",
        kubeadm_cni_sha256: B,
        kubeadm_pause_image: "registry.k8s.io/pause:3.10",
      },
    },
  ],
])("a role is told %s", (_, orchestrator, expected) => expect(roleOf(orchestrator)).toEqual(expected));
