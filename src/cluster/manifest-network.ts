/** The `network` section of the manifest: the networks the Pis are on, and what DHCP tells on each of them. */
import { z } from "zod";
import { domainName, duration, ipv4, mac, port, subnet } from "./manifest-values.ts";

/** What one DHCP answer has room for beside everything else. */
const ADDRESSES_MAX = 16;
const NAMES_MAX = 16;
const OPTION_BYTES_MAX = 255;

const interfaceName = z
  .string()
  .min(1)
  .max(15, { error: "Expected an interface name of at most 15 characters" })
  .describe("The manager's interface on this network");

const addressRange = z.strictObject({ from: ipv4, to: ipv4 });

const leaseTime = duration.refine((seconds) => seconds >= 60, {
  error: "Expected at least 60s: clients ask again at half of the time",
});

const unsigned = (bits: 8 | 16 | 32) =>
  z
    .int()
    .min(0)
    .max(2 ** bits - 1);

/** The value of a DHCP option, with its type as the key. */
const dhcpOption = z.union(
  [
    z.strictObject({
      text: z
        .string()
        .min(1)
        .max(OPTION_BYTES_MAX)
        .regex(/^[\x20-\x7e]*$/),
    }),
    z.strictObject({ addresses: z.array(ipv4).min(1).max(ADDRESSES_MAX) }),
    z.strictObject({ names: z.array(domainName).min(1).max(NAMES_MAX) }),
    z.strictObject({ u8: unsigned(8) }),
    z.strictObject({ u16: unsigned(16) }),
    z.strictObject({ u32: unsigned(32) }),
    z.strictObject({ hex: z.string().regex(/^([0-9a-fA-F]{2}[ :]?){1,255}$/) }),
  ],
  { error: "Expected one of { text }, { addresses }, { names }, { u8 }, { u16 }, { u32 } and { hex }, with its value" },
);
export type ManifestDhcpOption = z.output<typeof dhcpOption>;

const addressList = z.array(ipv4).max(ADDRESSES_MAX);

/** What clients of one network are given. Where nothing stands, the first network's value counts for the others. */
const shared = {
  dns: addressList.exactOptional(),
  domain: domainName.exactOptional(),
  search: z.array(domainName).max(NAMES_MAX).exactOptional().describe("Domains in which names are looked for"),
  ntp: addressList.exactOptional().describe("Time servers"),
  leaseTime: leaseTime.exactOptional().describe("For all but nodes, whose leases have no end; 12h"),
};

/** What belongs to one network alone. */
const own = {
  address: ipv4.exactOptional().describe("The manager's own address; by default the interface's"),
  range: addressRange.exactOptional().describe("Addresses for clients that have none of their own (dhcp: server)"),
  exclude: z
    .array(z.union([ipv4, addressRange], { error: "Expected an address, or a map of from and to" }))
    .exactOptional(),
  reservations: z
    .array(z.strictObject({ mac, address: ipv4 }))
    .exactOptional()
    .describe("For clients that are no nodes"),
  router: ipv4.exactOptional(),
  mtu: z.int().min(576).max(9000).exactOptional(),
  options: z
    .record(z.string().regex(/^\d{1,3}$/), dhcpOption)
    .exactOptional()
    .describe("More DHCP options, by number, for clients that ask for them"),
};

const other = z.strictObject({
  subnet,
  interface: interfaceName.exactOptional().describe("Without it, the network is behind a relay agent"),
  ...own,
  ...shared,
});

const ports = z.strictObject({
  dhcp: port.default(67),
  tftp: port.default(69),
  nfs: port.default(2049),
  mount: port.default(20048),
  portmap: port.default(111),
  netconsole: port.default(6666).describe("Where nodes send what they print while they boot; 0 for none"),
});

export const network = z.strictObject({
  interface: interfaceName.exactOptional(),
  dhcp: z
    .enum(["proxy", "server", "external"])
    .default("proxy")
    .describe(
      "proxy: the router keeps giving addresses; server: Bramble does; external: something else does all of it",
    ),
  subnet: subnet.exactOptional(),
  ...own,
  ...shared,
  dns: addressList.default([]),
  others: z.array(other).exactOptional().describe("More networks: of other interfaces, or behind relay agents"),
  ports: ports.prefault({}),
});

export type ManifestNetwork = z.output<typeof network>;
export type OtherNetwork = NonNullable<ManifestNetwork["others"]>[number];
