/** A decoder that bytes of a stranger reach, and packets that it understands. */
export interface FuzzedDecoder {
  name: string;
  corpus: readonly Uint8Array[];
  /** Throws `DecodeError`, or, for a program that refuses by its answer, what the test takes for it. */
  decode(bytes: Uint8Array): unknown;
  /** It refuses nothing: every input has a meaning, or is passed over. */
  takesAll?: true;
}

export function check(isRight: boolean, what: string): void {
  if (!isRight) throw new Error(what);
}

export const hex = (text: string): Uint8Array => Buffer.from(text.replace(/\s/g, ""), "hex");
