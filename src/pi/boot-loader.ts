/**
 * Which program of a Raspberry Pi sent a DISCOVER. They want different things from a DHCP server, and fail differently.
 * Told by option 97, and by what option 55 begins with: bootcode.bin and the ROM of the 3B+ send the same bytes.
 */
import type { PiIdentity } from "./option97.ts";

/** The boot ROM of the 2B v1.2, 3B and CM3; that of the 3B+, or any `bootcode.bin`; the EEPROM of the 4 and 5 families. */
export type BootLoader = "rom-3b" | "bootcode" | "eeprom";

const SUBNET_MASK = 1;
const VENDOR_SPECIFIC = 43;

/** `undefined`: not a DISCOVER of Pi firmware, or of none that is known. */
export function bootLoaderOf(
  identity: PiIdentity | undefined,
  parameters: Uint8Array | undefined,
): BootLoader | undefined {
  if (identity === undefined || parameters === undefined) return undefined;
  if (identity.form === "rom-3b") return "rom-3b";
  if (parameters[0] === VENDOR_SPECIFIC) return "bootcode";
  return parameters[0] === SUBNET_MASK ? "eeprom" : undefined;
}
