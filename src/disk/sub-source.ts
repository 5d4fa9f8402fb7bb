import { DecodeError } from "../bytes/decode-error.ts";
import type { ByteSource } from "../ports.ts";

/**
 * A window on a source, such as a partition of a disk. Closing it leaves the source open.
 * Throws `DecodeError` when the window reaches past the end of the source.
 */
export function subSource(source: ByteSource, startByte: number, sizeBytes: number): ByteSource {
  if (startByte < 0 || sizeBytes < 0 || startByte + sizeBytes > source.sizeBytes) {
    throw new DecodeError(
      "image",
      `bytes ${startByte} to ${startByte + sizeBytes}`,
      `the image is truncated, it has only ${source.sizeBytes} bytes`,
    );
  }
  const place = (target: Uint8Array, offset: number): number => {
    checkWithin("partition", sizeBytes, target.length, offset);
    return startByte + offset;
  };
  return {
    sizeBytes,
    readSync(target, offset) {
      source.readSync(target, place(target, offset));
    },
    readNow: (target, offset) => source.readNow(target, place(target, offset)),
    rangeNow(offset, lengthBytes) {
      checkWithin("partition", sizeBytes, lengthBytes, offset);
      return source.rangeNow?.(startByte + offset, lengthBytes);
    },
    async read(target, offset) {
      await source.read(target, place(target, offset));
    },
    close() {},
  };
}

/** Bytes in memory as a source. */
export function memorySource(bytes: Uint8Array): ByteSource {
  const readSync = (target: Uint8Array, offset: number): void => {
    checkWithin("image", bytes.length, target.length, offset);
    target.set(bytes.subarray(offset, offset + target.length));
  };
  return {
    sizeBytes: bytes.length,
    readSync,
    readNow(target, offset) {
      readSync(target, offset);
      return true;
    },
    read: async (target, offset) => readSync(target, offset),
    close() {},
  };
}

/** A fresh array with `lengthBytes` bytes from `offset`. The caller has checked the length against a limit. */
export function readBytes(source: ByteSource, offset: number, lengthBytes: number): Uint8Array {
  checkWithin("image", source.sizeBytes, lengthBytes, offset);
  const bytes = new Uint8Array(lengthBytes);
  source.readSync(bytes, offset);
  return bytes;
}

function checkWithin(what: string, sizeBytes: number, lengthBytes: number, offset: number): void {
  if (offset < 0 || offset + lengthBytes > sizeBytes) {
    throw new DecodeError(
      what,
      `bytes ${offset} to ${offset + lengthBytes}`,
      `the ${what} is truncated, it has only ${sizeBytes} bytes`,
    );
  }
}
