import { describe, expect, it } from "vitest";
import { crc16, crc32BigEndian, crc32c, crc32cU32, crc32cZeros, verifyChecksum } from "./checksums.ts";

const CHECK = Buffer.from("123456789");

describe("the sums of ext4", () => {
  // The check values of the catalogue of parametrised CRC algorithms; the first and third invert at the end, ext4 does not.
  it("crc32c is CRC-32C without the final inversion", () => {
    expect(~crc32c(0xffffffff, CHECK) >>> 0).toBe(0xe3069283);
  });

  it("crc16 is CRC-16/ARC", () => {
    expect(crc16(0, CHECK)).toBe(0xbb3d);
  });

  it("crc32BigEndian is CRC-32/BZIP2 without the final inversion", () => {
    expect(~crc32BigEndian(0xffffffff, CHECK) >>> 0).toBe(0xfc891918);
  });

  it("go on from any cut, over numbers and over zeros", () => {
    const whole = Buffer.from([1, 2, 0, 0, 0, 0x78, 0x56, 0x34, 0xf2]);
    const pieces = crc32cU32(crc32cZeros(crc32c(7, whole, 0, 2), 3), 0xf2345678);
    expect(pieces).toBe(crc32c(7, whole));
    expect(crc16(crc16(5, whole, 0, 4), whole, 4)).toBe(crc16(5, whole));
  });

  it("name field and both sums when they differ", () => {
    expect(() => verifyChecksum("ext4 inode 12", "i_checksum (byte 124)", 0xab, 0xcd)).toThrow(
      "Cannot read ext4 inode 12 at i_checksum (byte 124): it is 0xab, but the contents give 0xcd; the image is damaged",
    );
  });
});
