/** A manifest as plain data, before its shape is known: what is not there, or is something else, reads as empty. */
import { type Ipv4, ipv4ToNumber, parseIpv4 } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";

export type Plain = Record<string, unknown>;

export function isPlain(value: unknown): value is Plain {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function plainAt(data: Plain, key: string): Plain {
  const value = data[key];
  return isPlain(value) ? value : {};
}

export function listAt(data: Plain, key: string): unknown[] {
  const value = data[key];
  return Array.isArray(value) ? value : [];
}

/** Keeps positions: an entry that is not a map stands as an empty one. */
export function nodesOf(data: Plain): Plain[] {
  return plainListAt(data, "nodes");
}

/** The same for any list. */
export function plainListAt(data: Plain, key: string): Plain[] {
  return listAt(data, key).map((entry) => (isPlain(entry) ? entry : {}));
}

export function addressOf(value: unknown): Ipv4 | undefined {
  return typeof value === "string" ? attempt(() => parseIpv4(value)) : undefined;
}

export function attempt<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
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
