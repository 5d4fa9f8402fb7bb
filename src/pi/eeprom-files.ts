/**
 * Files that a board flashes into its EEPROM without asking when it finds them among its boot files
 * (Raspberry Pi documentation, "raspberry-pi/boot-eeprom": self-update).
 */
export const EEPROM_UPDATE_FILES: readonly string[] = ["pieeprom.*", "recovery.bin", "vl805.*"];

/** Whatever the folder and the case. `recovery.elf` (NOOBS) is none of them. */
export function isEepromUpdateFile(path: string): boolean {
  return /(^|\/)(pieeprom\.[^/]*|recovery\.bin|vl805\.[^/]*)$/i.test(path);
}
