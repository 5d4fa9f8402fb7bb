/**
 * Ethernet address prefixes of Raspberry Pi. The list grows with new boards, and an owner can set any address,
 * so a prefix can suggest a Pi but its absence proves nothing.
 */
import type { Mac } from "../bytes/addresses.ts";

export const RASPBERRY_PI_OUIS: readonly string[] = [
  "b8:27:eb",
  "dc:a6:32",
  "e4:5f:01",
  "28:cd:c1",
  "d8:3a:dd",
  "2c:cf:67",
  "88:a2:9e",
];

export function hasRaspberryPiOui(mac: Mac): boolean {
  return RASPBERRY_PI_OUIS.includes(mac.slice(0, 8));
}

/**
 * Up to the 3B+ the address is `b8:27:eb` and the low three bytes of the serial, so six of its eight digits are known.
 * The 3B ROM tells nothing else about itself.
 */
export function serialTailFromMac(mac: Mac): string | undefined {
  return mac.startsWith("b8:27:eb") ? mac.slice(9).replaceAll(":", "") : undefined;
}
