/**
 * What images do at their first boot from a card and must not do over NFS: grow partitions, make swap files, ask for a
 * user, flash the EEPROM. Only what the image really has is switched off.
 */
import type { GeneratedFile } from "../generated-file.ts";
import { type GenerationInput, hasUnit, maskUnit, textFile } from "./placing.ts";

const REASON = "no first-boot surprises";

const MASKED_UNITS: readonly string[] = [
  // Raspberry Pi OS: the root partition, and the user's wizard.
  "resize2fs_once.service",
  "rpi-resize.service",
  "rpi-resizerootfs.service",
  "userconfig.service",
  "firstboot.service",
  // Swap files do not work on NFS; what else the image has of swap: swap.ts.
  "dphys-swapfile.service",
  "rpi-resize-swap-file.service",
  "rpi-remove-swap-file@.service",
  "rpi-setup-loop@.service",
  // The EEPROM is the manager's to update: the node would write its update among the served boot files.
  "rpi-eeprom-update.service",
  // systemd and e2fsprogs: there is no partition under the root.
  "systemd-growfs-root.service",
  "systemd-repart.service",
  "e2scrub_reap.service",
  "e2scrub_all.timer",
  "fstrim.timer",
];

export function firstBootFiles({ facts, root }: GenerationInput): GeneratedFile[] {
  const masks = facts.init === "systemd" ? MASKED_UNITS.filter((unit) => hasUnit(root, unit)) : [];
  const files = masks.map((unit) => maskUnit(unit, REASON));
  // It would make a user, host keys and network settings of its own, once for every instance id.
  if (root.isDirectory("/etc/cloud")) files.push(textFile("/etc/cloud/cloud-init.disabled", "", REASON));
  return files;
}
