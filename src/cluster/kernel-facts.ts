/** The kernels of an image: where they are, which release, and whether each can mount its root over NFS by itself. */
import { DecodeError } from "../bytes/decode-error.ts";
import { IMAGE_TEXT_BYTES_MAX, KERNEL_BYTES_MAX } from "../limits.ts";
import { missingForNfsRoot, readKernelImage } from "../pi/kernel-config.ts";
import { PI_MODELS } from "../pi/models.ts";
import type { ImageFiles } from "./generated-file.ts";

export interface KernelFacts {
  /** Path in the boot file system, without a leading `/`. */
  file: string;
  release?: string;
  bits?: 32 | 64;
  /**
   * Options that are missing for a root over NFS without an initramfs; empty when the kernel has them all.
   * `undefined` when its configuration is not in the image.
   */
  missingForNfsRoot?: string[];
  /** Models whose network driver is built in. */
  networkBuiltInFor?: string[];
  /** Where the configuration was found: a path in the root file system, or `the kernel image`. */
  configuration?: string;
}

const KERNEL_NAME = /^(kernel[^/]*\.img|vmlinuz[^/]*|Image[^/]*|zImage[^/]*)$/;
/** Folders that `os_prefix` points to in images that keep several systems. */
const PREFIX_FOLDERS_MAX = 16;

export function readKernels(boot: ImageFiles, root: ImageFiles): KernelFacts[] {
  const folders = [
    "",
    ...boot
      .list("/")
      .filter((name) => boot.isDirectory(`/${name}`))
      .slice(0, PREFIX_FOLDERS_MAX)
      .map((name) => `${name}/`),
  ];
  const files = folders.flatMap((folder) =>
    boot
      .list(`/${folder}`)
      .filter((name) => KERNEL_NAME.test(name))
      .map((name) => folder + name),
  );
  return files.sort().map((file) => readKernel(file, boot, root));
}

function readKernel(file: string, boot: ImageFiles, root: ImageFiles): KernelFacts {
  const image = readImage(file, boot);
  const release = image.release ?? /^(?:.*\/)?(?:vmlinuz|Image|zImage)-(\d.*)$/.exec(file)?.[1];
  const path = release === undefined ? undefined : configPaths(release).find((candidate) => root.exists(candidate));
  const bytes = path === undefined ? undefined : root.readFile(path, IMAGE_TEXT_BYTES_MAX);
  const config = bytes ? Buffer.from(bytes).toString("latin1") : image.config;
  return {
    file,
    ...(release && { release }),
    ...(image.bits && { bits: image.bits }),
    ...(config && {
      missingForNfsRoot: missingForNfsRoot(config),
      networkBuiltInFor: PI_MODELS.filter((model) => hasDriver(config, model.networkDrivers)).map((model) => model.id),
      configuration: bytes ? path! : "the kernel image",
    }),
  };
}

function configPaths(release: string): string[] {
  return [`/boot/config-${release}`, `/usr/lib/modules/${release}/config`, `/lib/modules/${release}/config`];
}

/** A driver that is a module counts as missing: it lies in the root that is to be mounted. */
function hasDriver(config: string, drivers: readonly string[]): boolean {
  return missingForNfsRoot(config, drivers).length === missingForNfsRoot(config).length;
}

/** A kernel that cannot be unpacked is still one that the firmware may load: its facts stay unknown. */
function readImage(file: string, boot: ImageFiles): ReturnType<typeof readKernelImage> {
  try {
    return readKernelImage(boot.readFile(`/${file}`, KERNEL_BYTES_MAX) ?? new Uint8Array());
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return { bits: undefined };
  }
}
