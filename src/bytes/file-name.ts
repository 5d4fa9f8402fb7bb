/**
 * File names and symlink targets are bytes in no particular encoding. They are held as strings with one
 * character per byte ("latin1"), which compares, hashes and encodes fast and loses nothing.
 */
declare const brand: unique symbol;
export type FileName = string & { readonly [brand]: "FileName" };

/** From bytes as they stand on disk or on the wire. */
export function fileNameFromBytes(bytes: Uint8Array): FileName {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1") as FileName;
}

export function fileNameToBytes(name: FileName): Uint8Array {
  return Buffer.from(name, "latin1");
}

/** From ordinary text, as UTF-8 bytes. */
export function fileNameFromText(text: string): FileName {
  return Buffer.from(text, "utf8").toString("latin1") as FileName;
}

/** For people: UTF-8 where the bytes are that, with the replacement character elsewhere. */
export function fileNameToText(name: FileName): string {
  return Buffer.from(name, "latin1").toString("utf8");
}
