/** Single values of the manifest that several of its sections use: what each must look like, and its normal form. */
import { z } from "zod";
import { parseIpv4, parseMac } from "../bytes/addresses.ts";
import { FILE_BYTES_MAX } from "../limits.ts";

const MAC = /^[0-9a-fA-F]{2}([:-]?)[0-9a-fA-F]{2}(\1[0-9a-fA-F]{2}){4}$/;
const IPV4 = /^((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(?!$)|$)){4}$/;
const SUBNET = /^(\d+\.){3}\d+\/([89]|[12]\d|30)$/;
/** Each part is a DNS label: at most 63 letters, digits and hyphens. */
const DOMAIN = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;

export const mac = z
  .string()
  .regex(MAC, { error: "Expected an Ethernet address of six pairs of hex digits, as dc:a6:32:70:da:b0" })
  .transform((text) => parseMac(text));

export const ipv4 = z
  .string()
  .regex(IPV4, { error: "Expected an IPv4 address, as 192.168.1.10" })
  .transform((text) => parseIpv4(text));

export const subnet = z.string().regex(SUBNET, { error: "Expected a network with its length, as 192.168.1.0/24" });

export const domainName = z.string().regex(DOMAIN, { error: "Expected a domain name in lower case, as home.arpa" });

export const port = z.int({ error: "Expected a port from 0 to 65535" }).min(0).max(65535);

const UNITS = ["KiB", "MiB", "GiB", "TiB"];

/** In bytes. */
export const byteSize = z
  .string()
  .regex(/^\d{1,9}(\.\d{1,3})? ?(KiB|MiB|GiB|TiB)$/, { error: "Expected a size with its unit, as 10GiB or 500MiB" })
  .transform((text) => Math.floor(Number.parseFloat(text) * 1024 ** (1 + UNITS.indexOf(text.slice(-3)))))
  .refine((bytes) => bytes <= FILE_BYTES_MAX, { error: "Expected less than 16TiB" });

/** In seconds. */
export const duration = z
  .string()
  .regex(/^[1-9]\d{0,5}[smhd]$/, { error: "Expected a time with its unit, as 12h, 30m or 7d" })
  .transform((text) => Number.parseInt(text, 10) * { s: 1, m: 60, h: 3600, d: 86_400 }[text.slice(-1) as "s"]);

export const sha256 = z
  .string()
  .regex(/^[0-9a-fA-F]{64}$/, { error: "Expected a SHA-256 checksum of 64 hex digits" })
  .transform((text) => text.toLowerCase());
