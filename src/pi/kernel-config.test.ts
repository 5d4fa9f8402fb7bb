import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DecodeError } from "../bytes/decode-error.ts";
import { kernelOption, missingForNfsRoot, readKernelImage } from "./kernel-config.ts";

const RASPBERRY_PI = `CONFIG_ROOT_NFS=y
CONFIG_NFS_FS=y
CONFIG_NFS_V3=y
CONFIG_IP_PNP=y
CONFIG_IP_PNP_DHCP=y
CONFIG_BCMGENET=y
CONFIG_MACB=m
CONFIG_LOCALVERSION="-v8"
`;

/** The header of a 64-bit Image, then the given text. */
function arm64Image(text: string): Buffer {
  const header = Buffer.alloc(64);
  header.write("ARM\x64", 0x38, "latin1");
  return Buffer.concat([header, Buffer.from(text, "latin1")]);
}

describe("a kernel configuration", () => {
  it("is read option by option", () => {
    expect(kernelOption(RASPBERRY_PI, "ROOT_NFS")).toBe("y");
    expect(kernelOption(RASPBERRY_PI, "MACB")).toBe("m");
    expect(kernelOption(RASPBERRY_PI, "LOCALVERSION")).toBe("-v8");
    expect(kernelOption("# CONFIG_IP_PNP is not set\n", "IP_PNP")).toBe("n");
  });

  it.each([
    [RASPBERRY_PI, ["BCMGENET"], []],
    [RASPBERRY_PI, ["MACB"], ["MACB"]],
    [RASPBERRY_PI, ["USB_LAN78XX", "BCMGENET"], []],
    ["CONFIG_NFS_FS=m\nCONFIG_NFS_V3=m\n", [], ["ROOT_NFS", "NFS_FS", "NFS_V3", "IP_PNP", "IP_PNP_DHCP"]],
  ])("tells what is missing for an NFS root (%#)", (config, drivers, missing) => {
    expect(missingForNfsRoot(config, drivers)).toEqual(missing);
  });
});

describe("a kernel image", () => {
  const banner = "\0Linux version %s\0Linux version 6.1.192-test (cc) #1\n\0";

  it("tells its release and word size, also when it is packed", () => {
    const expected = { bits: 64, release: "6.1.192-test" };
    expect(readKernelImage(arm64Image(banner))).toEqual(expected);
    expect(readKernelImage(gzipSync(arm64Image(banner)))).toEqual(expected);
  });

  it("gives the configuration that was built in", () => {
    const config = `IKCFG_ST${gzipSync(RASPBERRY_PI).toString("latin1")}IKCFG_ED`;
    expect(readKernelImage(arm64Image(config))).toEqual({ bits: 64, config: RASPBERRY_PI });
  });

  it("knows a 32-bit zImage, and leaves what it does not know open", () => {
    const zImage = Buffer.alloc(64);
    zImage.writeUInt32LE(0x016f2818, 0x24);
    expect(readKernelImage(zImage)).toEqual({ bits: 32 });
    expect(readKernelImage(Buffer.from("u-boot"))).toEqual({ bits: undefined });
    expect(readKernelImage(new Uint8Array())).toEqual({ bits: undefined });
  });

  it("is read or refused, whatever its bytes", () => {
    const packed = gzipSync(arm64Image(`${banner}IKCFG_ST`));
    const start = fc.constantFrom(
      packed,
      Buffer.from("IKCFG_ST\x1f\x8b"),
      Buffer.from("Linux version "),
      arm64Image(""),
    );
    fc.assert(
      fc.property(start, fc.nat(200), fc.uint8Array({ maxLength: 60 }), (bytes, cut, tail) => {
        try {
          expect([32, 64, undefined]).toContain(readKernelImage(Buffer.concat([bytes.subarray(0, cut), tail])).bits);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("refuses a damaged one", () => {
    const packed = gzipSync(arm64Image(banner));
    expect(() => readKernelImage(packed.subarray(0, packed.length - 12))).toThrow(DecodeError);
  });
});
