/**
 * What the values of a manifest must be together. Works on the plain data, also when parts of it have the wrong shape,
 * so that these problems are reported along with those.
 */
import { type Ipv4, ipv4FromNumber, ipv4ToNumber, parseIpv4, parseMac } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import type { LocatedProblem, ManifestPath } from "./manifest-problem.ts";

export interface ManifestSurroundings {
  /** Whether a file that the manifest names (image, key, file source) is there; `~` and relative paths are the caller's. */
  fileExists: (path: string) => boolean;
  /** Names that `image:` may use for images imported before. */
  imageNames?: readonly string[];
  /** The network of the interface, as `192.168.1.0/24`, for when the manifest does not say. */
  interfaceSubnet?: string;
}

type Plain = Record<string, unknown>;

export function checkManifest(data: unknown, surroundings: ManifestSurroundings): LocatedProblem[] {
  if (!isPlain(data)) return [];
  return [
    ...duplicates(data),
    ...addressesOutside(data, surroundings.interfaceSubnet),
    ...rangeOrder(data),
    ...missingAddresses(data),
    ...missingFiles(data, surroundings),
    ...missingImages(data),
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

function addressesOutside(data: Plain, interfaceSubnet: string | undefined): LocatedProblem[] {
  const network = plainAt(data, "network");
  const text = typeof network.subnet === "string" ? network.subnet : interfaceSubnet;
  const subnet = text === undefined ? undefined : parseSubnet(text);
  if (!subnet) return [];
  const range = plainAt(network, "range");
  const places: { path: ManifestPath; value: unknown }[] = [
    { path: ["network", "address"], value: network.address },
    { path: ["network", "router"], value: network.router },
    { path: ["network", "range", "from"], value: range.from },
    { path: ["network", "range", "to"], value: range.to },
    ...nodesOf(data).map((node, index) => ({ path: ["nodes", index, "address"], value: node.address })),
  ];
  return places.flatMap(({ path, value }) => {
    const address = addressOf(value);
    if (address === undefined) return [];
    const hint = `Use one from ${ipv4FromNumber(subnet.first + 1)} to ${ipv4FromNumber(subnet.last - 1)}`;
    const at = ipv4ToNumber(address);
    if (at < subnet.first || at > subnet.last)
      return [{ path, message: `The address ${address} is outside the network ${text}`, hint }];
    if (at === subnet.first || at === subnet.last) {
      return [
        { path, message: `The address ${address} is that of the network ${text} itself, or its broadcast`, hint },
      ];
    }
    return serverConflict(network, path, address);
  });
}

function serverConflict(network: Plain, path: ManifestPath, address: Ipv4): LocatedProblem[] {
  if (path[0] !== "nodes") return [];
  for (const [key, owner] of [
    ["address", "the manager"],
    ["router", "the router"],
  ] as const) {
    if (network[key] === address) return [{ path, message: `The address ${address} is already that of ${owner}` }];
  }
  return [];
}

function rangeOrder(data: Plain): LocatedProblem[] {
  const range = plainAt(plainAt(data, "network"), "range");
  const [from, to] = [addressOf(range.from), addressOf(range.to)];
  if (!from || !to || ipv4ToNumber(from) <= ipv4ToNumber(to)) return [];
  return [
    {
      path: ["network", "range"],
      message: `The range ends at ${to}, before it starts at ${from}`,
      hint: "Swap from and to",
    },
  ];
}

function missingAddresses(data: Plain): LocatedProblem[] {
  const network = plainAt(data, "network");
  if (network.dhcp !== "server" || network.range !== undefined) return [];
  return nodesOf(data).flatMap((node, index) =>
    node.address === undefined
      ? [
          {
            path: ["nodes", index],
            message: `Node ${node.name} would get no address: dhcp is "server", and there is neither an address for it nor a range`,
            hint: "Add network.range, or an address to the node",
          },
        ]
      : [],
  );
}

const PUBLIC_KEY = /^(ssh|ecdsa|sk)-\S+\s+\S|\s(ssh|ecdsa|sk)-\S+\s+AAAA/;

/** Whether an entry of `authorizedKeys` is a key itself, and not the path of a file with keys. */
export function isPublicKey(entry: string): boolean {
  return PUBLIC_KEY.test(entry);
}

function missingFiles(data: Plain, { fileExists, imageNames = [] }: ManifestSurroundings): LocatedProblem[] {
  const scopes = [
    { path: [] as ManifestPath, scope: data },
    ...nodesOf(data).map((scope, index) => ({ path: ["nodes", index], scope })),
  ];
  const named = scopes.flatMap(({ path, scope }) => [
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

/** First and last address as numbers. `undefined` for text that is not a network. */
export function parseSubnet(text: string): { first: number; last: number; prefixBits: number } | undefined {
  const [address, bits] = text.split("/");
  const network = addressOf(address);
  const prefixBits = Number(bits);
  if (network === undefined || !Number.isInteger(prefixBits) || prefixBits < 0 || prefixBits > 32) return undefined;
  const size = 2 ** (32 - prefixBits);
  const first = Math.floor(ipv4ToNumber(network) / size) * size;
  return { first, last: first + size - 1, prefixBits };
}

function addressOf(value: unknown): Ipv4 | undefined {
  return typeof value === "string" ? attempt(() => parseIpv4(value)) : undefined;
}

function attempt<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

function isPlain(value: unknown): value is Plain {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function plainAt(data: Plain, key: string): Plain {
  const value = data[key];
  return isPlain(value) ? value : {};
}

function listAt(data: Plain, key: string): unknown[] {
  const value = data[key];
  return Array.isArray(value) ? value : [];
}

/** Keeps positions: an entry that is not a map stands as an empty one. */
function nodesOf(data: Plain): Plain[] {
  return listAt(data, "nodes").map((entry) => (isPlain(entry) ? entry : {}));
}
