/**
 * What the values of a manifest must be together. Works on the plain data, also when parts of it have the wrong shape,
 * so that these problems are reported along with those.
 */
import { parseMac } from "../bytes/addresses.ts";
import { checkConfigure } from "./manifest-configure.ts";
import { checkKubernetes } from "./manifest-kubernetes.ts";
import { checkNetworks } from "./manifest-network-checks.ts";
import { attempt, isPlain, listAt, nodesOf, type Plain, plainAt } from "./manifest-plain.ts";
import type { LocatedProblem, ManifestPath } from "./manifest-problem.ts";
import { checkStorage } from "./manifest-storage.ts";
import { fullUnitName } from "./manifest-system.ts";
import { keepsItsState } from "./orchestrator-managers.ts";

export interface ManifestSurroundings {
  /** Whether a file that the manifest names (image, key, file source) is there; `~` and relative paths are the caller's. */
  fileExists: (path: string) => boolean;
  /** Names that `image:` may use for images imported before. */
  imageNames?: readonly string[];
  /** The network of the interface, as `192.168.1.0/24`, for when the manifest does not say. */
  interfaceSubnet?: string;
}

export function checkManifest(data: unknown, surroundings: ManifestSurroundings): LocatedProblem[] {
  if (!isPlain(data)) return [];
  return [
    ...duplicates(data),
    ...checkNetworks(data, surroundings.interfaceSubnet),
    ...missingFiles(data, surroundings),
    ...missingImages(data),
    ...contradictoryUnits(data),
    ...adoptedWithoutAddress(data),
    ...checkStorage(data),
    ...managersThatAreNoNodes(data),
    ...managersThatForget(data),
    ...checkConfigure(data, surroundings.fileExists),
    ...checkKubernetes(data, surroundings.fileExists),
  ];
}

/** Adopted nodes get their names later: a manager may be one of them. */
function managersThatAreNoNodes(data: Plain): LocatedProblem[] {
  if (adoptsByItself(data)) return [];
  const names = new Set(nodesOf(data).map((node) => node.name));
  return listAt(plainAt(data, "orchestrator"), "managers").flatMap((name, index) =>
    typeof name !== "string" || names.has(name)
      ? []
      : [
          {
            path: ["orchestrator", "managers", index],
            message: `There is no node ${name}`,
            hint: "Name a node of the list nodes, or add it there",
          },
        ],
  );
}

/** What a cluster is made of lies on its managers: it must outlive a boot. */
function managersThatForget(data: Plain): LocatedProblem[] {
  if (!isPlain(data.orchestrator)) return [];
  const nodes = nodesOf(data);
  const forgetful = new Set(nodes.filter((node) => !keepsItsState(data, node)).map(({ name }) => name));
  const { managers } = data.orchestrator;
  const hint = "Give managers root: persistent, and storage that is not of kind memory";
  if (Array.isArray(managers)) {
    return managers.flatMap((name, index) =>
      forgetful.has(name)
        ? [
            {
              path: ["orchestrator", "managers", index],
              message: `${name} would manage the cluster, and forget it when it boots again`,
              hint,
            },
          ]
        : [],
    );
  }
  if (nodes.length === 0 || forgetful.size < nodes.length) return [];
  return [
    { path: ["orchestrator"], message: "No node can manage the cluster: each forgets it when it boots again", hint },
  ];
}

function adoptsByItself({ adopt }: Plain): boolean {
  return (isPlain(adopt) ? adopt.mode : adopt) === "auto";
}

/** Nodes that come by themselves have no address in the manifest, and no image of their own. */
function adoptedWithoutAddress(data: Plain): LocatedProblem[] {
  if (!adoptsByItself(data)) return [];
  const network = plainAt(data, "network");
  const ranges = [network, ...listAt(network, "others")].map((each) => (isPlain(each) ? each.range : undefined));
  const problem = (message: string, hint: string) => ({ path: ["adopt"], message, hint });
  return [
    ...(network.dhcp === "server" && ranges.every((range) => range === undefined)
      ? [problem('Adopted nodes would get no address: dhcp is "server", and there is no range', "Add network.range")]
      : []),
    ...(data.image === undefined
      ? [
          problem(
            "Adopted nodes would have no image",
            "Add image: to the manifest (a path, a URL, or a name from: bramble image list)",
          ),
        ]
      : []),
  ];
}

const UNIQUE: readonly { key: string; what: string; normal: (text: string) => string | undefined }[] = [
  { key: "name", what: "name", normal: (text) => text },
  { key: "mac", what: "MAC address", normal: (text) => attempt(() => parseMac(text)) },
  {
    key: "serial",
    what: "serial number",
    normal: (text) => text.toLowerCase().replace(/^0x/, "").padStart(8, "0").slice(-8),
  },
  { key: "address", what: "address", normal: (text) => text },
];

/** What no two nodes may have in common, in normal form: `name node1`, `mac dc:a6:32:70:da:b0`. */
export function uniqueValues(node: unknown): string[] {
  if (!isPlain(node)) return [];
  return UNIQUE.flatMap(({ key, normal }) => {
    const text = node[key];
    const value = typeof text === "string" ? normal(text) : undefined;
    return value === undefined ? [] : [`${key} ${value}`];
  });
}

function duplicates(data: Plain): LocatedProblem[] {
  const nodes = nodesOf(data);
  return UNIQUE.flatMap(({ key, what, normal }) => {
    const firstAt = new Map<string, number>();
    return nodes.flatMap((node, index) => {
      const text = node[key];
      const value = typeof text === "string" ? normal(text) : undefined;
      if (value === undefined) return [];
      const first = firstAt.get(value);
      if (first === undefined) {
        firstAt.set(value, index);
        return [];
      }
      const other = key === "name" ? `nodes[${first}]` : (nodes[first]?.name ?? `nodes[${first}]`);
      return [
        {
          path: ["nodes", index, key],
          message: `The ${what} ${text} is already that of ${other}`,
          other: ["nodes", first],
          hint: "Give each node its own",
        },
      ];
    });
  });
}

const PUBLIC_KEY = /^(ssh|ecdsa|sk)-\S+\s+\S|\s(ssh|ecdsa|sk)-\S+\s+AAAA/;

/** Whether an entry of `authorizedKeys` is a key itself, and not the path of a file with keys. */
export function isPublicKey(entry: string): boolean {
  return PUBLIC_KEY.test(entry);
}

/** What counts for all nodes, and each node. */
function scopesOf(data: Plain): { path: ManifestPath; scope: Plain }[] {
  return [{ path: [], scope: data }, ...nodesOf(data).map((scope, index) => ({ path: ["nodes", index], scope }))];
}

/** A node may enable what is masked for all; one and the same place cannot say both. */
function contradictoryUnits(data: Plain): LocatedProblem[] {
  return scopesOf(data).flatMap(({ path, scope }) => {
    const units = plainAt(scope, "units");
    const names = (key: string) =>
      listAt(units, key).map((name) => (typeof name === "string" ? fullUnitName(name) : undefined));
    const enabled = new Set(names("enable"));
    return names("mask").flatMap((name, index) =>
      name === undefined || !enabled.has(name)
        ? []
        : [
            {
              path: [...path, "units", "mask", index],
              message: `The unit ${name} would be enabled and masked`,
              hint: "Leave it in one of the two lists",
            },
          ],
    );
  });
}

function missingFiles(data: Plain, { fileExists, imageNames = [] }: ManifestSurroundings): LocatedProblem[] {
  const named = scopesOf(data).flatMap(({ path, scope }) => [
    ...imagePlaces(path, scope.image, imageNames),
    ...listAt(scope, "files").map((entry, index) => ({
      path: [...path, "files", index, "source"],
      value: isPlain(entry) ? entry.source : undefined,
      what: "file",
    })),
  ]);
  const keys = listAt(plainAt(data, "access"), "authorizedKeys").map((value, index) => ({
    path: ["access", "authorizedKeys", index],
    value,
    what: "public key",
  }));
  return [...named, ...keys].flatMap(({ path, value, what }) => {
    if (typeof value !== "string" || value === "" || (what === "public key" && isPublicKey(value)) || fileExists(value))
      return [];
    return [
      {
        path,
        message: `The ${what} ${value} is not there`,
        hint: "Relative paths start at the manifest's own directory",
      },
    ];
  });
}

function imagePlaces(path: ManifestPath, image: unknown, imageNames: readonly string[]) {
  const at = isPlain(image)
    ? { path: [...path, "image", "source"], value: image.source }
    : { path: [...path, "image"], value: image };
  const elsewhere = typeof at.value === "string" && (/^https?:\/\//.test(at.value) || imageNames.includes(at.value));
  return elsewhere ? [] : [{ ...at, what: "image" }];
}

/** Every node needs an image, its own or the cluster's. */
function missingImages(data: Plain): LocatedProblem[] {
  return nodesOf(data).flatMap((node, index) =>
    data.image === undefined && node.image === undefined
      ? [
          {
            path: ["nodes", index],
            message: `Node ${node.name} has no image`,
            hint: "Add image: to the manifest (a path, a URL, or a name from: bramble image list)",
          },
        ]
      : [],
  );
}
