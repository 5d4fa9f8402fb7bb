/** `orchestrator:` of kind k3s and kubeadm: what it looks like, and what it must be beside `storage`. */
import { z } from "zod";
import { findPiModel } from "../pi/models.ts";
import { isPlain, listAt, nodesOf, type Plain, plainAt } from "./manifest-plain.ts";
import type { LocatedProblem } from "./manifest-problem.ts";
import type { Manifest } from "./manifest-schema.ts";
import { sha256, subnet } from "./manifest-values.ts";
import { managersOf } from "./orchestrator-managers.ts";

const K3S_VERSION = /^v1\.\d{1,3}\.\d{1,3}\+k3s\d{1,2}$/;
const KUBERNETES_VERSION = /^v1\.\d{1,3}\.\d{1,3}$/;
/** Names of labels and taints: an optional DNS name, a slash, and up to 63 letters, digits, `-`, `_`, `.`. */
const QUALIFIED_NAME = `([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?`;
const LABEL_VALUE = `([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?`;
const LABEL_NAME = new RegExp(`^${QUALIFIED_NAME}$`);
const TAINT = new RegExp(`^${QUALIFIED_NAME}(=${LABEL_VALUE})?:(NoSchedule|PreferNoSchedule|NoExecute)$`);

/** A file of the manager's that nodes get: what runs as root there is pinned. */
const pinnedFile = z.strictObject({
  source: z.string().min(1, { error: "Expected a path on the manager, or a URL" }),
  sha256,
});

const perModel = z.strictObject({
  labels: z
    .record(
      z.string().regex(LABEL_NAME, { error: "Expected a label's name, as example.org/disk" }),
      z.string().regex(new RegExp(`^${LABEL_VALUE}$`), {
        error: "Expected a label's value: letters, digits, - _ and . between them, at most 63",
      }),
    )
    .default({}),
  taints: z
    .array(
      z.string().regex(TAINT, { error: "Expected a taint, as small=true:NoSchedule (or PreferNoSchedule, NoExecute)" }),
    )
    .default([]),
});

const shared = {
  managers: z
    .array(z.string())
    .refine(({ length }) => length === 1 || length === 3, {
      error: "Expected 1 or 3 nodes for the control plane: with 2 the loss of either one stops the cluster",
    })
    .exactOptional()
    .describe("Names of the nodes of the control plane; the others are workers"),
  podCidr: subnet.exactOptional().describe("Addresses of pods"),
  serviceCidr: subnet.exactOptional().describe("Addresses of services"),
  airgapImages: pinnedFile.exactOptional().describe("An archive of container images that each node loads"),
  models: z
    .record(
      z.string().refine((id) => findPiModel(id) !== undefined, { error: "Expected a model, as 3b or 4" }),
      perModel,
    )
    .default({})
    .describe("Labels and taints of nodes by their model"),
};

export const k3s = z.strictObject({
  kind: z.literal("k3s"),
  version: z.string().regex(K3S_VERSION, { error: "Expected a version of k3s, as v1.31.4+k3s1" }),
  binary: pinnedFile.describe("The program k3s for arm64, of this version"),
  flannel: z.enum(["vxlan", "host-gw", "wireguard-native", "none"]).default("vxlan"),
  disable: z
    .array(z.enum(["coredns", "local-storage", "metrics-server", "servicelb", "traefik"]))
    .default([])
    .describe("Parts of k3s that are not wanted"),
  ...shared,
});

export const kubeadm = z.strictObject({
  kind: z.literal("kubeadm"),
  version: z.string().regex(KUBERNETES_VERSION, { error: "Expected a version of Kubernetes, as v1.31.4" }),
  binaries: z
    .strictObject({ kubeadm: pinnedFile, kubelet: pinnedFile, kubectl: pinnedFile })
    .describe("The programs for arm64, of this version"),
  cniPlugins: pinnedFile.describe("The archive of the CNI plug-ins for arm64"),
  cni: pinnedFile.describe("The manifest of a pod network, applied when the cluster is made"),
  pauseImage: z
    .string()
    .regex(/^[a-z0-9][a-z0-9./_-]*:[\w.-]{1,128}$/, {
      error: "Expected an image with its tag, as registry.k8s.io/pause:3.10",
    })
    .default("registry.k8s.io/pause:3.10"),
  endpoint: z
    .string()
    .regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/, {
      error: "Expected a name or address without port, as 192.168.1.9",
    })
    .exactOptional()
    .describe("Where the API is reached when it moves between three nodes; otherwise the first manager's address"),
  ...shared,
});

export type K3sManifest = z.output<typeof k3s>;
export type KubeadmManifest = z.output<typeof kubeadm>;
export type KubernetesManifest = K3sManifest | KubeadmManifest;
export type PinnedFile = z.output<typeof pinnedFile>;

/** Where `orchestrator:` names files: paths below it. */
const FILE_PLACES: readonly (readonly string[])[] = [
  ["binary"],
  ["airgapImages"],
  ["cniPlugins"],
  ["cni"],
  ["binaries", "kubeadm"],
  ["binaries", "kubelet"],
  ["binaries", "kubectl"],
];

export function checkKubernetes(data: Plain, fileExists: (path: string) => boolean): LocatedProblem[] {
  const orchestrator = plainAt(data, "orchestrator");
  if (orchestrator.kind !== "k3s" && orchestrator.kind !== "kubeadm") return [];
  return [
    ...missingFiles(orchestrator, fileExists),
    ...managersTwice(orchestrator),
    ...overlappingNetworks(orchestrator),
    ...nodesWithoutStorage(data, orchestrator.kind),
  ];
}

function missingFiles(orchestrator: Plain, fileExists: (path: string) => boolean): LocatedProblem[] {
  return FILE_PLACES.flatMap((place) => {
    const file = place.reduce<unknown>((value, key) => (isPlain(value) ? value[key] : undefined), orchestrator);
    const source = isPlain(file) ? file.source : undefined;
    if (typeof source !== "string" || source === "" || /^https?:\/\//.test(source) || fileExists(source)) return [];
    return [
      {
        path: ["orchestrator", ...place, "source"],
        message: `The file ${source} is not there`,
        hint: "Relative paths start at the manifest's own directory",
      },
    ];
  });
}

function managersTwice(orchestrator: Plain): LocatedProblem[] {
  const managers = listAt(orchestrator, "managers");
  return managers.flatMap((name, index) =>
    managers.indexOf(name) === index
      ? []
      : [
          {
            path: ["orchestrator", "managers", index],
            message: `The node ${name} is named twice`,
            hint: "Name 1 or 3 different nodes",
          },
        ],
  );
}

function overlappingNetworks({ podCidr, serviceCidr }: Plain): LocatedProblem[] {
  if (typeof podCidr !== "string" || podCidr !== serviceCidr) return [];
  const message = "The addresses of services are those of pods";
  return [{ path: ["orchestrator", "serviceCidr"], message, hint: "Give each a network of its own" }];
}

/** Without nodes, what counts for all: those that are adopted get it. */
function nodesWithoutStorage(data: Plain, kind: string): LocatedProblem[] {
  const nodes = nodesOf(data);
  const scopes: Plain[] = nodes.length === 0 ? [{}] : nodes;
  const lacks = (storage: unknown) => storage === undefined || (isPlain(storage) && storage.kind === "none");
  const without = scopes.flatMap((node, index) => (lacks(node.storage ?? data.storage) ? [{ node, index }] : []));
  if (without.length === 0) return [];
  const everywhere = without.length === scopes.length && data.storage === undefined;
  const hint = "Add storage: { kind: loop, size: 8GiB }";
  const message = `${kind} needs storage: overlayfs, which its containers are made of, does not work on a root over NFS`;
  return everywhere
    ? [{ path: ["orchestrator"], message, hint }]
    : without.map(({ node, index }) => ({
        path: node.storage === undefined ? ["nodes", index] : ["nodes", index, "storage"],
        message: `${node.name}: ${message}`,
        hint,
      }));
}

/** What works, but may not go well. */
export function kubernetesWarnings(
  manifest: Pick<Manifest, "orchestrator" | "nodes" | "root" | "storage">,
  node: { name: string; model?: string },
): string[] {
  if (manifest.orchestrator === undefined || manifest.orchestrator.kind === "swarm") return [];
  const model = node.model === undefined ? undefined : findPiModel(node.model);
  if (model === undefined || model.memoryMaxMiB > 1024 || !managersOf(manifest).includes(node.name)) return [];
  return [
    `${node.name} is a ${model.name} with ${model.memoryMaxMiB} MiB at most, which is little for a control plane: name others as orchestrator.managers if you can`,
  ];
}
