/**
 * Decides how a node's root gets mounted, by the kernel itself or by an initramfs, and what config.txt must say for it.
 * The kernel's own way is preferred where the kernel can: it is quicker, needs no portmapper, and the initramfs of an
 * image made for cards often lacks NFS.
 */
import type { BootLane } from "../pi/cmdline.ts";
import { automaticInitramfs, type BootFiles, evaluateConfigTxt } from "../pi/config-txt.ts";
import type { InitramfsChange } from "../pi/config-txt-patch.ts";
import type { PiModel } from "../pi/models.ts";
import type { KernelFacts } from "./kernel-facts.ts";
import { CANNOT_MOUNT_NFS } from "./plan-wording.ts";

export interface LaneDecision {
  lane: BootLane;
  initramfs: InitramfsChange;
  /** Why no kernel of the image gets to its root. */
  problems: string[];
  warnings: string[];
}

/** A line of the owner's that loads an initramfs; what it loads then mounts the root. */
const LOADS_INITRAMFS = /^\s*(initramfs[\s=]|ramfsfile=|auto_initramfs=1)/;

/**
 * `models` are those the node may be; all of them must boot, since one config.txt serves them. `files` has the owner's
 * `extraLines` in its config.txt already.
 */
export function decideLane(
  models: readonly PiModel[],
  kernels: readonly KernelFacts[],
  files: BootFiles,
  extraLines: readonly string[],
  serial?: string,
): LaneDecision {
  if (extraLines.some((line) => LOADS_INITRAMFS.test(line))) {
    return { lane: "initramfs", initramfs: "keep", problems: [], warnings: [] };
  }
  const boards = models.map((model) => {
    const selection = evaluateConfigTxt(files, { model, ...(serial && { serial }) });
    const kernel = kernels.find((candidate) => candidate.file === selection.kernel);
    return { model, selection, kernel, missing: whatIsMissing(model, kernel) };
  });
  if (boards.every(({ missing }) => missing?.length === 0)) {
    return { lane: "kernel", initramfs: "drop", problems: [], warnings: [] };
  }
  const without = boards.filter(({ selection }) => selection.initramfs.length === 0);
  const initramfs = without.length === 0 ? "keep" : findInitramfs(without, boards.length, files);
  if (initramfs !== undefined) {
    const unread = boards.filter(({ missing }) => missing === undefined).map(({ selection }) => selection.kernel);
    const warnings = [...new Set(unread)].map(
      (file) => `The configuration of the kernel ${file} is not in the image; taking its initramfs to mount the root`,
    );
    return { lane: "initramfs", initramfs, problems: [], warnings };
  }
  const incapable = boards.filter(({ missing }) => missing !== undefined && missing.length > 0);
  return {
    lane: "kernel",
    initramfs: "drop",
    problems: incapable.map(
      ({ model, selection, missing }) =>
        `Cannot boot ${model.name}: the kernel ${selection.kernel} ${CANNOT_MOUNT_NFS} by itself (not built in: ${missing!.join(", ")}), and the image has no initramfs for it`,
    ),
    warnings:
      incapable.length > 0
        ? []
        : [
            "The image tells nothing about its kernel's configuration and has no initramfs; the kernel needs ROOT_NFS and IP_PNP built in",
          ],
  };
}

/** `undefined` when the kernel's configuration is not known. */
function whatIsMissing(model: PiModel, kernel: KernelFacts | undefined): string[] | undefined {
  if (kernel?.missingForNfsRoot === undefined) return undefined;
  const hasNetwork = kernel.networkBuiltInFor?.includes(model.id) ?? false;
  return [...kernel.missingForNfsRoot, ...(hasNetwork ? [] : [model.networkDrivers.join(" or ")])];
}

/**
 * The one `auto_initramfs=1` finds for every board that has none; else, if no board has one, a file that is named after
 * the kernel's release.
 */
function findInitramfs(
  boards: readonly { selection: { kernel: string }; kernel: KernelFacts | undefined }[],
  boardsInAll: number,
  files: BootFiles,
): InitramfsChange | undefined {
  const automatic = boards.map(({ selection }) => automaticInitramfs(selection.kernel));
  if (automatic.every((file) => file !== undefined && files.exists(file))) return "automatic";
  if (boards.length < boardsInAll) return undefined;
  const releases = boards.flatMap(({ kernel }) => kernel?.release ?? []);
  const names = [...new Set(releases)].flatMap((release) => [
    `initrd.img-${release}`,
    `initramfs-${release}`,
    `initramfs-${release}.img`,
  ]);
  const file = [...names, "initrd.img"].find((name) => files.exists(name));
  return file === undefined ? undefined : { file };
}
