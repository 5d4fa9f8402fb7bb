/** What the addresses of a manifest must be together: those of the networks, of what DHCP tells there, and of the nodes. */
import { type Ipv4, ipv4FromNumber, ipv4ToNumber, parseMac } from "../bytes/addresses.ts";
import { DHCP_RANGE_ADDRESSES_MAX } from "../limits.ts";
import {
  addressOf,
  attempt,
  isPlain,
  listAt,
  nodesOf,
  type Plain,
  parseSubnet,
  plainAt,
  plainListAt,
} from "./manifest-plain.ts";
import type { LocatedProblem, ManifestPath } from "./manifest-problem.ts";

interface Network {
  path: ManifestPath;
  data: Plain;
  /** As `192.168.1.0/24`; `undefined` where only the interface knows. */
  text: string | undefined;
  span: { first: number; last: number } | undefined;
}

interface PlacedAddress {
  path: ManifestPath;
  address: Ipv4;
}

export function checkNetworks(data: Plain, interfaceSubnet: string | undefined): LocatedProblem[] {
  const section = plainAt(data, "network");
  const networks = networksOf(section, interfaceSubnet);
  return [
    ...networks.flatMap((network) => [
      ...outside(addressesOf(network), [network]),
      ...rangesOf(network).flatMap(rangeProblems),
      ...optionProblems(network),
    ]),
    ...nodeAddresses(data, networks),
    ...reservationProblems(data, networks),
    ...otherNetworks(section, networks),
    ...missingAddresses(data, section, networks),
  ];
}

function networksOf(section: Plain, interfaceSubnet: string | undefined): Network[] {
  const network = (path: ManifestPath, data: Plain, otherwise?: string): Network => {
    const text = typeof data.subnet === "string" ? data.subnet : otherwise;
    return { path, data, text, span: text === undefined ? undefined : parseSubnet(text) };
  };
  const others = plainListAt(section, "others");
  return [
    network(["network"], section, interfaceSubnet),
    ...others.map((data, index) => network(["network", "others", index], data)),
  ];
}

function addressesOf({ path, data }: Network): PlacedAddress[] {
  const range = plainAt(data, "range");
  const places: [ManifestPath, unknown][] = [
    [["address"], data.address],
    [["router"], data.router],
    [["range", "from"], range.from],
    [["range", "to"], range.to],
    ...listAt(data, "exclude").flatMap((entry, index): [ManifestPath, unknown][] =>
      isPlain(entry)
        ? [
            [["exclude", index, "from"], entry.from],
            [["exclude", index, "to"], entry.to],
          ]
        : [[["exclude", index], entry]],
    ),
    ...plainListAt(data, "reservations").map((entry, index): [ManifestPath, unknown] => [
      ["reservations", index, "address"],
      entry.address,
    ]),
  ];
  return places.flatMap(([below, value]) => {
    const address = addressOf(value);
    return address === undefined ? [] : [{ path: [...path, ...below], address }];
  });
}

/** Addresses that are in none of the networks, or are not those of a host there. Silent while a network is not known. */
function outside(places: readonly PlacedAddress[], networks: readonly Network[]): LocatedProblem[] {
  return places.flatMap(({ path, address }) => {
    const at = ipv4ToNumber(address);
    const home = networks.find(({ span }) => span && at >= span.first && at <= span.last);
    if (!home && networks.some(({ span }) => span === undefined)) return [];
    const { first, last } = (home ?? networks[0]!).span!;
    const hint = `Use one from ${ipv4FromNumber(first + 1)} to ${ipv4FromNumber(last - 1)}`;
    if (!home) {
      const texts = networks.map(({ text }) => text);
      const named = texts.length === 1 ? `the network ${texts[0]}` : `the networks ${texts.join(", ")}`;
      return [{ path, message: `The address ${address} is outside ${named}`, hint }];
    }
    if (at !== first && at !== last) return [];
    return [
      { path, message: `The address ${address} is that of the network ${home.text} itself, or its broadcast`, hint },
    ];
  });
}

function nodeAddresses(data: Plain, networks: readonly Network[]): LocatedProblem[] {
  const places = nodesOf(data).flatMap((node, index): PlacedAddress[] => {
    const address = addressOf(node.address);
    return address === undefined ? [] : [{ path: ["nodes", index, "address"], address }];
  });
  const taken = new Map<unknown, string>();
  for (const network of networks) {
    taken.set(network.data.address, "the manager");
    taken.set(network.data.router, "the router");
  }
  return [
    ...outside(places, networks),
    ...places.flatMap(({ path, address }) => {
      // On loopback, where tests and benches have their node, one machine is both.
      const owner = address.startsWith("127.") ? undefined : taken.get(address);
      return owner === undefined ? [] : [{ path, message: `The address ${address} is already that of ${owner}` }];
    }),
  ];
}

function rangesOf({ path, data }: Network): { path: ManifestPath; range: Plain; isExcluded: boolean }[] {
  return [
    { path: [...path, "range"], range: plainAt(data, "range"), isExcluded: false },
    ...plainListAt(data, "exclude").map((range, index) => ({
      path: [...path, "exclude", index],
      range,
      isExcluded: true,
    })),
  ];
}

function rangeProblems({ path, range, isExcluded }: ReturnType<typeof rangesOf>[number]): LocatedProblem[] {
  const [from, to] = [addressOf(range.from), addressOf(range.to)];
  if (!from || !to) return [];
  const count = ipv4ToNumber(to) - ipv4ToNumber(from) + 1;
  if (count < 1) {
    return [{ path, message: `The range ends at ${to}, before it starts at ${from}`, hint: "Swap from and to" }];
  }
  if (isExcluded || count <= DHCP_RANGE_ADDRESSES_MAX) return [];
  return [
    {
      path,
      message: `The range has ${count} addresses`,
      hint: `Use at most ${DHCP_RANGE_ADDRESSES_MAX}: each that is given is remembered`,
    },
  ];
}

/** Options of the protocol itself. */
const PROTOCOL_OPTIONS = new Set([0, 50, 52, 53, 54, 55, 56, 57, 61, 82, 97, 255]);
/** Options that other keys are for. */
const OPTION_KEYS: ReadonlyMap<number, string> = new Map([
  [1, "subnet"],
  [3, "router"],
  [6, "dns"],
  [15, "domain"],
  [26, "mtu"],
  [42, "ntp"],
  [51, "leaseTime"],
  [119, "search"],
]);

function optionProblems({ path, data }: Network): LocatedProblem[] {
  return Object.keys(plainAt(data, "options")).flatMap((text) => {
    const at = { path: [...path, "options", text] };
    const key = OPTION_KEYS.get(Number(text));
    if (key !== undefined) return [{ ...at, message: `DHCP option ${text} has a key of its own`, hint: `Use ${key}` }];
    if (!PROTOCOL_OPTIONS.has(Number(text)) && Number(text) < 255) return [];
    return [{ ...at, message: `DHCP option ${text} cannot be set: it is part of the protocol, or there is none` }];
  });
}

function reservationProblems(data: Plain, networks: readonly Network[]): LocatedProblem[] {
  const reservations = networks.flatMap(({ path, data: network }) =>
    plainListAt(network, "reservations").map((entry, index) => ({
      path: [...path, "reservations", index],
      mac: typeof entry.mac === "string" ? attempt(() => parseMac(entry.mac as string)) : undefined,
      address: addressOf(entry.address),
      network,
    })),
  );
  if (reservations.length === 0) return [];
  const owners = new Map<unknown, string>();
  for (const node of nodesOf(data)) {
    const name = `node ${node.name}`;
    if (typeof node.mac === "string")
      owners.set(
        attempt(() => parseMac(node.mac as string)),
        name,
      );
    owners.set(addressOf(node.address), name);
  }
  for (const { data: network } of networks) {
    owners.set(addressOf(network.address), "the manager");
    owners.set(addressOf(network.router), "the router");
  }
  owners.delete(undefined);
  return reservations.flatMap(({ path, mac, address }) =>
    [mac, address].flatMap((value) => {
      const owner = owners.get(value);
      // A client has one address on each of the networks, so only addresses must be unique among reservations.
      if (value !== undefined && value === address) owners.set(value, "another reservation");
      if (value === undefined || owner === undefined) return [];
      return [{ path, message: `The reservation of ${value} is not possible: it is that of ${owner}` }];
    }),
  );
}

function otherNetworks(section: Plain, networks: readonly Network[]): LocatedProblem[] {
  const [first, ...others] = networks;
  const interfaces = new Map<unknown, string>([[section.interface, "network"]]);
  return others.flatMap(({ path, data, text, span }, index): LocatedProblem[] => {
    const problems: LocatedProblem[] = [];
    const overlapping = [first!, ...others.slice(0, index)].find(
      (other) => span && other.span && span.first <= other.span.last && span.last >= other.span.first,
    );
    if (overlapping) {
      problems.push({ path, message: `The network ${text} overlaps ${overlapping.text}`, other: overlapping.path });
    }
    if (data.interface === undefined) {
      if (section.dhcp === "server") return problems;
      const message = `The network ${text} has no interface: behind a relay agent, only dhcp: server gives addresses`;
      return [...problems, { path, message, hint: "Add the interface, or set network.dhcp to server" }];
    }
    if (section.interface === undefined) {
      const message = "With several interfaces, the first must be named too";
      problems.push({ path: ["network"], message, hint: "Add network.interface" });
    }
    const earlier = interfaces.get(data.interface);
    interfaces.set(data.interface, `network.others[${index}]`);
    if (earlier === undefined || section.interface === undefined) return problems;
    const message = `The interface ${data.interface} is already that of ${earlier}`;
    return [...problems, { path: [...path, "interface"], message, hint: "Each network needs an interface of its own" }];
  });
}

function missingAddresses(data: Plain, section: Plain, networks: readonly Network[]): LocatedProblem[] {
  if (section.dhcp !== "server" || networks.some(({ data: network }) => network.range !== undefined)) return [];
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
