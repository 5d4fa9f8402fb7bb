import { DecodeError } from "./decode-error.ts";

declare const brand: unique symbol;

/** An Ethernet address as lower-case text with colons: `dc:a6:32:70:da:b0`. */
export type Mac = string & { readonly [brand]: "Mac" };

/** An IPv4 address as a dotted quad without leading zeros: `192.0.2.1`. */
export type Ipv4 = string & { readonly [brand]: "Ipv4" };

const MAC_TEXT = /^([0-9a-f]{2})([:-]?)[0-9a-f]{2}(?:\2[0-9a-f]{2}){4}$/i;

/** Accepts `:`, `-` or no separator, upper or lower case. Throws `DecodeError`. */
export function parseMac(text: string): Mac {
  if (!MAC_TEXT.test(text)) {
    throw new DecodeError(
      "MAC address",
      JSON.stringify(text),
      "expected six pairs of hex digits, as dc:a6:32:70:da:b0",
    );
  }
  const digits = text.toLowerCase().replace(/[:-]/g, "");
  return digits.replace(/(..)(?=.)/g, "$1:") as Mac;
}

export function macFromBytes(bytes: Uint8Array): Mac {
  if (bytes.length !== 6) throw new DecodeError("MAC address", "length", `${bytes.length} bytes instead of 6`);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":") as Mac;
}

export function macToBytes(mac: Mac): Uint8Array {
  return Uint8Array.from(mac.split(":"), (pair) => Number.parseInt(pair, 16));
}

/** Throws `DecodeError` for anything but four decimal numbers from 0 to 255. */
export function parseIpv4(text: string): Ipv4 {
  const parts = text.split(".");
  const valid = parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255);
  if (!valid) throw new DecodeError("IPv4 address", JSON.stringify(text), "expected four numbers, as 192.0.2.1");
  return text as Ipv4;
}

export function ipv4FromBytes(bytes: Uint8Array): Ipv4 {
  if (bytes.length !== 4) throw new DecodeError("IPv4 address", "length", `${bytes.length} bytes instead of 4`);
  return bytes.join(".") as Ipv4;
}

export function ipv4ToBytes(address: Ipv4): Uint8Array {
  return Uint8Array.from(address.split("."), Number);
}

/** The address as an unsigned 32-bit number, for ranges and masks. */
export function ipv4ToNumber(address: Ipv4): number {
  return address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

export function ipv4FromNumber(value: number): Ipv4 {
  return [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff].join(".") as Ipv4;
}

export const IPV4_ANY = "0.0.0.0" as Ipv4;
export const IPV4_BROADCAST = "255.255.255.255" as Ipv4;
