/**
 * The shape of `bramble.yaml`, what each value must look like, and its defaults. What values say together (duplicates,
 * addresses outside the network) is checked in `manifest-checks.ts`.
 */
import { z } from "zod";
import { ADOPTED_NODES_DEFAULT, ADOPTED_NODES_MAX } from "../limits.ts";
import { findPiModel } from "../pi/models.ts";
import { configure } from "./manifest-configure.ts";
import { logs } from "./manifest-logs.ts";
import { network } from "./manifest-network.ts";
import { orchestrator } from "./manifest-orchestrator.ts";
import { storage } from "./manifest-storage.ts";
import { swap } from "./manifest-swap.ts";
import { systemSettings } from "./manifest-system.ts";
import { byteSize, ipv4, mac, sha256 } from "./manifest-values.ts";

const HOST_NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const SERIAL = /^(0x)?[0-9a-fA-F]{1,16}$/;
const USER_NAME = /^[a-z_][a-z0-9_-]{0,31}$/;
/** crypt(5): `$id$…`. */
const PASSWORD_HASH = /^\$[0-9a-z]+\$[!-9;-~]+$/;
const ABSOLUTE_PATH = /^\/(?!\/)(?!.*\/\/)(?!.*(^|\/)\.{1,2}(\/|$)).*[^/]$/;
const MODE = /^(0o?)?[0-7]{3,4}$/;
/** What the firmware and the kernel read as it is: printable ASCII on one line. */
const ASCII_LINE = /^[\x20-\x7e]*$/;

const hostName = (what: string) =>
  z
    .string()
    .regex(HOST_NAME, { error: `Expected ${what} of lower-case letters, digits and hyphens, at most 63 of them` });

/** The firmware uses the low 32 bits as eight lower-case digits, whatever `/proc/cpuinfo` prints before them. */
const serial = z
  .string()
  .regex(SERIAL, {
    error: "Expected the serial number in hex digits, as 91cdf03d (the end of Serial in /proc/cpuinfo)",
  })
  .transform((text) => text.toLowerCase().replace(/^0x/, "").padStart(8, "0").slice(-8));

const model = z
  .string()
  .refine((text) => findPiModel(text) !== undefined, {
    error: "Expected a model that boots over the network: 3b, 3b+, cm3, 4, 400, cm4, 5, 500, cm5 or cm5l",
  })
  .transform((text) => findPiModel(text)!.id);

const imageSource = z.string().min(1, { error: "Expected a path, a URL, or the name of an imported image" });
const image = z
  .union([imageSource, z.strictObject({ source: imageSource, sha256: sha256.exactOptional() })], {
    error: "Expected a path, a URL, or the name of an imported image",
  })
  .transform((value): ImageReference => (typeof value === "string" ? { source: value } : value));

/** A file named in the manifest; `sha256` is of the file as it is fetched. */
export interface ImageReference {
  source: string;
  sha256?: string;
}

const rootMode = z.enum(["persistent", "ephemeral", "ram"]);

const durability = z.enum(["sync", "async"]);

/** A list, or one text with a line for each item. */
const lines = z
  .union([z.string().transform((text) => text.split("\n")), z.array(z.string())], { error: "Expected lines of text" })
  .transform((items) => items.map((item) => item.trimEnd()).filter((item) => item !== ""))
  .refine((items) => items.every((item) => ASCII_LINE.test(item)), {
    error: "Expected ASCII only: the firmware and the kernel read nothing else",
  });

const file = z
  .strictObject({
    path: z.string().regex(ABSOLUTE_PATH, { error: "Expected an absolute path without . or .., as /etc/motd" }),
    content: z.string().exactOptional(),
    source: z.string().min(1).exactOptional(),
    mode: z
      .string()
      .regex(MODE, { error: 'Expected permissions in octal digits, as "0644"' })
      .transform((text) => Number.parseInt(text.replace(/^0o/, ""), 8))
      .default(0o644),
    owner: z.union([z.string(), z.int().min(0).transform(String)]).default("root"),
    group: z.union([z.string(), z.int().min(0).transform(String)]).default("root"),
  })
  .refine((value) => (value.content === undefined) !== (value.source === undefined), {
    error: "Expected either content (the text itself) or source (a path on the manager)",
  });

const access = z.strictObject({
  user: z.string().regex(USER_NAME, { error: "Expected a login name of lower-case letters and digits" }).default("pi"),
  passwordHash: z
    .string()
    .regex(PASSWORD_HASH, { error: "Expected a password hash, never the password; make one with: openssl passwd -6" })
    .exactOptional(),
  authorizedKeys: z.array(z.string().min(1)).default([]).describe("Public keys, or files that hold them"),
  sudo: z.enum(["nopasswd", "password", "none"]).default("nopasswd"),
});

const perNode = {
  image: image.exactOptional().describe("A path, a URL, or a name from: bramble image list"),
  files: z.array(file).default([]).describe("Files to place in the node's root file system"),
  config: lines.default([]).describe("Lines to add to config.txt"),
  cmdline: lines.default([]).describe("Words to add to the kernel command line"),
  logs: logs.exactOptional(),
  swap: swap.exactOptional(),
  ...systemSettings,
};

/** One place for the number, and with it a host name: `node%d`, `rack1-%02d`. */
const NAME_PATTERN = /^(?=[^%]*%(0[1-9])?d[^%]*$)(?!-)[a-z0-9%-]{2,56}(?<!-)$/;

const adoptionMode = z.enum(["ask", "auto"]);
const adoptionFields = z.strictObject({
  mode: adoptionMode.default("ask"),
  name: z
    .string()
    .regex(NAME_PATTERN, { error: "Expected a host name with %d where its number goes, as node%d or rack1-%02d" })
    .default("node%d"),
  max: z.int().min(1).max(ADOPTED_NODES_MAX).default(ADOPTED_NODES_DEFAULT),
});
const adoption = z
  .union([adoptionMode, adoptionFields], { error: "Expected ask, auto, or a map of mode, name and max" })
  .transform((value) => (typeof value === "string" ? adoptionFields.parse({ mode: value }) : value))
  .describe("auto: every Pi that asks to boot becomes a node by itself");

export const nodeSchema = z
  .strictObject({
    name: hostName("a host name"),
    mac: mac.exactOptional(),
    serial: serial.exactOptional(),
    address: ipv4.exactOptional(),
    model: model.exactOptional(),
    root: rootMode.exactOptional(),
    durability: durability.exactOptional(),
    quota: byteSize.exactOptional(),
    storage: storage.exactOptional(),
    role: z.string().min(1).exactOptional(),
    ...perNode,
  })
  .refine((value) => value.mac !== undefined || value.serial !== undefined, {
    error: "Expected a mac or a serial: it is how the node is recognised",
  });

export const manifestSchema = z
  .strictObject({
    cluster: hostName("a name"),
    network: network.prefault({}),
    access: access.prefault({}),
    locale: z
      .string()
      .regex(/^[\w.@-]+$/, { error: "Expected a locale, as en_GB.UTF-8" })
      .exactOptional(),
    timezone: z
      .string()
      .regex(/^[\w+-]+(\/[\w+-]+)*$/, { error: "Expected a time zone, as Europe/Berlin" })
      .exactOptional(),
    keymap: z
      .string()
      .regex(/^[\w-]+$/, { error: "Expected a keyboard layout, as de" })
      .exactOptional(),
    root: rootMode.default("persistent").describe("What becomes of a node's changes when it boots again"),
    durability: durability
      .default("sync")
      .describe("sync: what a node was answered survives a power cut; async: the last second may not"),
    quota: byteSize.exactOptional().describe("How much a node may store in all, as 10GiB"),
    storage: storage.exactOptional(),
    stateDir: z.string().min(1).exactOptional().describe("Where the manager keeps images, node layers and keys"),
    adopt: adoption.exactOptional(),
    configure: configure.exactOptional(),
    orchestrator: orchestrator.exactOptional(),
    nodes: z.array(nodeSchema).default([]),
    ...perNode,
  })
  .meta({ title: "Bramble manifest", description: "A cluster of Raspberry Pis that boot over the network" });

export type Manifest = z.output<typeof manifestSchema>;
export type ManifestNode = Manifest["nodes"][number];
export type ManifestFile = ManifestNode["files"][number];
export type RootMode = z.output<typeof rootMode>;

/** For editors: what `bramble.yaml` may hold, as JSON Schema 2020-12. */
export function manifestJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(manifestSchema, { io: "input" }) as Record<string, unknown>;
}
