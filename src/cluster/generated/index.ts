/** The generated layer of a node's root tree: one generator for each concern, in one sorted list without duplicates. */
import type { GeneratedFile } from "../generated-file.ts";
import { containerStorageFiles, containerStorageWarnings } from "./container-storage.ts";
import { firstBootFiles } from "./first-boot.ts";
import { fstabFiles } from "./fstab.ts";
import { identityFiles } from "./identity.ts";
import { kernelSettingFiles, kernelSettingWarnings } from "./kernel-settings.ts";
import { localeFiles, localeWarnings } from "./locale.ts";
import { logFiles, logWarnings } from "./logs.ts";
import { manifestFiles } from "./manifest-files.ts";
import { nameServerFiles, nameServerWarnings } from "./name-servers.ts";
import { networkFiles } from "./network.ts";
import { packageFiles, packageWarnings } from "./packages.ts";
import { pingFiles } from "./ping.ts";
import type { GenerationInput, Generator } from "./placing.ts";
import { ramRootFiles } from "./ram-root.ts";
import { sshFiles } from "./ssh.ts";
import { swapFiles, swapWarnings } from "./swap.ts";
import { planUnits } from "./units.ts";
import { upReportFiles } from "./up-report.ts";
import { authorizedKeys, userFiles } from "./user.ts";

export { logsOf } from "./logs.ts";
export { packagesOf } from "./packages.ts";
export type { GenerationInput } from "./placing.ts";
export { RAM_ROOT_INIT, ramRootProblems } from "./ram-root.ts";
export { swapOf } from "./swap.ts";
export { parseUpReport, UP_REPORT_PATH, type UpReport } from "./up-report.ts";

/** A later one wins where two place the same path. */
const GENERATORS: readonly Generator[] = [
  firstBootFiles,
  identityFiles,
  fstabFiles,
  localeFiles,
  networkFiles,
  nameServerFiles,
  pingFiles,
  kernelSettingFiles,
  sshFiles,
  containerStorageFiles,
  logFiles,
  swapFiles,
  packageFiles,
  upReportFiles,
  userFiles,
  manifestFiles,
];

/** The files, and what will not be as the manifest wishes, or as its owner expects. */
export function generateRoot(input: GenerationInput): { files: GeneratedFile[]; warnings: string[] } {
  const placed = GENERATORS.flatMap((generate) => generate(input));
  const units = planUnits(input, placed);
  const files = [...placed, ...units.files];
  const byPath = new Map([...files, ...ramRootFiles(input, files)].map((file) => [file.path, file]));
  return {
    files: [...byPath.values()].sort((a, b) => (a.path < b.path ? -1 : 1)),
    warnings: [...generationWarnings(input), ...units.warnings],
  };
}

function generationWarnings(input: GenerationInput): string[] {
  const { manifest, facts } = input;
  const { user, passwordHash } = manifest.access;
  const warnings = [
    ...localeWarnings(input),
    ...nameServerWarnings(input),
    ...kernelSettingWarnings(input),
    ...containerStorageWarnings(input),
    ...logWarnings(input),
    ...swapWarnings(input),
    ...packageWarnings(input),
  ];
  if (passwordHash === undefined && authorizedKeys(input).length === 0) {
    warnings.push(
      `Nobody can log in as ${user}: the manifest has neither access.authorizedKeys nor access.passwordHash`,
    );
  }
  if (facts.sshServer !== "openssh")
    warnings.push("The image has no OpenSSH server; bramble ssh will not reach the node");
  return warnings;
}
