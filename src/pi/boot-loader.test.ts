import { expect, it } from "vitest";
import { bootLoaderOf } from "./boot-loader.ts";
import { decodeOption97 } from "./option97.ts";

const hex = (text: string) => Buffer.from(text.replace(/\s+/g, ""), "hex");

it.each([
  ["a 3B's ROM", `00 ${"44".repeat(16)}`, "2b 3c 43 80 81 82 83 84 85 86 87 42", "rom-3b"],
  ["a 3B+'s ROM", `00 ${"164c6cb6".repeat(4)}`, "2b 3c 43 80 81 82 83 84 85 86 87 42 01 03", "bootcode"],
  ["a Pi 4's EEPROM", "00 34695052 1431d000 010902f7 3df0cd91", "01 03 2b 3c 42 43 80 81 82 83 84 85 86 87", "eeprom"],
  ["a Pi 4 with DHCP_OPTION97=0", `00 ${"164c6cb6".repeat(4)}`, "01 03 2b 3c 42 43 80 81 82 83", "eeprom"],
  ["something else", `00 ${"00".repeat(16)}`, "01 03 2b", undefined],
])("tells %s", (_, option97, option55, loader) => {
  expect(bootLoaderOf(decodeOption97(hex(option97)), hex(option55))).toBe(loader);
});
