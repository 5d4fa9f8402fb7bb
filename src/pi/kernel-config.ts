/**
 * What a kernel image can do: its release, its word size, and its build configuration, from the `config-<release>` text
 * of the distribution or from the copy inside the kernel (CONFIG_IKCONFIG).
 * Documents: Linux "arch/arm64/booting", "filesystems/nfs/nfsroot".
 * Left out: zImage payloads are not unpacked (32-bit kernels); xz and zstd kernels are not unpacked.
 */
import { gunzipSync } from "node:zlib";
import { DecodeError } from "../bytes/decode-error.ts";
import { KERNEL_BYTES_MAX } from "../limits.ts";

/** Offsets in an uncompressed kernel: "ARM\x64" of a 64-bit Image, the magic of a 32-bit zImage, EFI "zimg". */
const HEADER = {
  arm64Magic: { at: 0x38, value: 0x644d5241 },
  zImageMagic: { at: 0x24, value: 0x016f2818 },
} as const;
const GZIP_MAGIC = 0x8b1f;
const CONFIG_START = "IKCFG_ST";
const BANNER = "Linux version ";
const RELEASE_BYTES_MAX = 128;

export interface KernelImage {
  bits: 32 | 64 | undefined;
  release?: string;
  /** The configuration inside the image, if it was built in. */
  config?: string;
}

/** Unpacks gzip where needed. Throws `DecodeError` for a damaged or oversized file. */
export function readKernelImage(file: Uint8Array): KernelImage {
  const image = isGzip(file) ? gunzip(file, "kernel image") : Buffer.from(file.buffer, file.byteOffset, file.length);
  const magicIs = ({ at, value }: { at: number; value: number }) =>
    image.length >= at + 4 && image.readUInt32LE(at) === value;
  const bits = magicIs(HEADER.arm64Magic) ? 64 : magicIs(HEADER.zImageMagic) ? 32 : undefined;
  const release = findRelease(image);
  const config = findBuiltInConfig(image);
  return { bits, ...(release && { release }), ...(config && { config }) };
}

/** `y`, `m`, `n`, or the text of a value. An option that is not mentioned is `n`. */
export function kernelOption(config: string, name: string): string {
  const value = new RegExp(`^CONFIG_${name}=(.*)$`, "m").exec(config)?.[1];
  return value?.replace(/^"(.*)"$/, "$1") ?? "n";
}

/** All of these must be built in for a kernel to mount its root over NFS v3 by itself. */
const NFS_ROOT_OPTIONS = ["ROOT_NFS", "NFS_FS", "NFS_V3", "IP_PNP", "IP_PNP_DHCP"];

/** The options that are missing, `CONFIG_…` left off; empty when the kernel needs no initramfs. */
export function missingForNfsRoot(config: string, networkDrivers: readonly string[] = []): string[] {
  const missing = NFS_ROOT_OPTIONS.filter((name) => kernelOption(config, name) !== "y");
  const hasDriver = networkDrivers.length === 0 || networkDrivers.some((name) => kernelOption(config, name) === "y");
  return hasDriver ? missing : [...missing, networkDrivers.join(" or ")];
}

function isGzip(bytes: Uint8Array): boolean {
  return bytes.length > 18 && (bytes[0]! | (bytes[1]! << 8)) === GZIP_MAGIC;
}

function gunzip(bytes: Uint8Array, format: string): Buffer {
  try {
    return gunzipSync(bytes, { maxOutputLength: KERNEL_BYTES_MAX });
  } catch (error) {
    throw new DecodeError(format, "gzip stream", (error as Error).message);
  }
}

function findRelease(image: Buffer): string | undefined {
  // The banner's format string ("Linux version %s") comes first in some kernels: take the one with a number.
  for (let at = image.indexOf(BANNER); at >= 0; at = image.indexOf(BANNER, at + 1)) {
    const text = image.toString("latin1", at + BANNER.length, at + BANNER.length + RELEASE_BYTES_MAX);
    const release = /^(\d+\.\d+\S*) /.exec(text)?.[1];
    if (release) return release;
  }
  return undefined;
}

function findBuiltInConfig(image: Buffer): string | undefined {
  const at = image.indexOf(CONFIG_START);
  const packed = at < 0 ? undefined : image.subarray(at + CONFIG_START.length);
  if (!packed || !isGzip(packed)) return undefined;
  const end = packed.indexOf("IKCFG_ED");
  return gunzip(end < 0 ? packed : packed.subarray(0, end), "configuration inside the kernel image").toString("latin1");
}
