/**
 * What a file may contain, by what its client was promised: what was committed, and on top of it any part of what was
 * written since. Nothing here changes; every step makes a new model.
 */

export interface Write {
  /** Tells its bytes apart from those of all other writes. */
  number: number;
  offset: number;
  sizeBytes: number;
}

export interface FileModel {
  readonly committed: Uint8Array;
  /** Not committed yet: the client keeps them and sends them again if it must. In the order they were sent. */
  readonly pending: readonly Write[];
}

/** Every byte depends on its place, so that nothing is taken for something else. */
export function bytesOf({ number, offset, sizeBytes }: Write): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  for (let index = 0; index < sizeBytes; index += 1) bytes[index] = byteAt(number, offset + index);
  return bytes;
}

function byteAt(number: number, position: number): number {
  return ((Math.imul(number, 0x9e3779b1) ^ Math.imul(position + 1, 0x85ebca6b)) >>> 13) & 0xff;
}

export function written({ committed, pending }: FileModel, write: Write): FileModel {
  return { committed, pending: [...pending, write] };
}

/** Everything that is written is promised. */
export function committed(model: FileModel): FileModel {
  const { pending } = model;
  const content = resized(model.committed, sizeOf(model));
  for (const write of pending) content.set(bytesOf(write), write.offset);
  return { committed: content, pending: [] };
}

export function cut({ committed }: FileModel, sizeBytes: number): FileModel {
  return { committed: resized(committed, sizeBytes), pending: [] };
}

/** With everything that is written. */
export function sizeOf({ committed, pending }: FileModel): number {
  return Math.max(committed.length, ...pending.map(endOf));
}

function endOf({ offset, sizeBytes }: Write): number {
  return offset + sizeBytes;
}

function resized(content: Uint8Array, sizeBytes: number): Uint8Array {
  const result = new Uint8Array(sizeBytes);
  result.set(content.subarray(0, sizeBytes));
  return result;
}

/** Why the content is not one of those that were promised; `undefined` if it is. */
export function mismatch(model: FileModel, content: Uint8Array): string | undefined {
  const sizes = [model.committed.length, ...model.pending.map(endOf).filter((end) => end > model.committed.length)];
  if (!sizes.includes(content.length)) return `it has ${content.length} bytes, and not ${sizes.join(" or ")}`;
  const expectedContent = resized(model.committed, content.length);
  // Where a pending write is found, it is as good as what was committed.
  for (const write of model.pending) {
    for (let at = write.offset; at < Math.min(endOf(write), content.length); at += 1) {
      const byte = byteAt(write.number, at);
      if (byte === content[at]) expectedContent[at] = byte;
    }
  }
  if (Buffer.compare(expectedContent, content) === 0) return undefined;
  const first = content.findIndex((byte, index) => byte !== expectedContent[index]);
  const expected = [
    `${model.committed[first] ?? 0} (committed)`,
    ...model.pending
      .filter((write) => covers(write, first))
      .map((write) => `${byteAt(write.number, first)} (write ${write.number})`),
  ];
  return `byte ${first} of ${content.length} is ${content[first]}, and not ${expected.join(" or ")}`;
}

function covers(write: Write, position: number): boolean {
  return position >= write.offset && position < endOf(write);
}
