/**
 * DHCP option 97 (client machine identifier, RFC 4578 2.3) as Raspberry Pi firmware fills it: one type byte and
 * sixteen bytes that hold, in most releases, the board revision, part of the MAC and the serial number.
 * Forms seen on the wire: the 3B ROM's constant, four times the serial, and a magic word in either byte order. The owner
 * can set another word (`DHCP_OPTION97` of the EEPROM's configuration); then the rest of it must fit the sender.
 */
import type { Mac } from "../bytes/addresses.ts";
import { decodeRevision } from "./revision.ts";

const BODY_BYTES = 17;
const ROM_3B_WORD = 0x44444444;
/** "RPi4" and "RPi5" as they lie in memory, and byte-swapped: the order changed between releases. */
const MAGICS: Readonly<Record<string, "magic-4" | "magic-5">> = {
  RPi4: "magic-4",
  "4iPR": "magic-4",
  RPi5: "magic-5",
  "5iPR": "magic-5",
};

export type Option97Form = "rom-3b" | "serial" | "magic-4" | "magic-5" | "magic-own";

export interface PiIdentity {
  form: Option97Form;
  /** Low 32 bits, eight lower-case hex digits. The 3B ROM does not tell it. */
  serial?: string;
  /** The revision code; see `decodeRevision`. */
  revision?: number;
  /** The model's id in `models.ts`, from the revision code. */
  model?: string;
  /** Last four bytes of the MAC, `32:70:da:b0`; absent in releases that left them zero. */
  macTail?: string;
}

/** `undefined` when no Pi firmware wrote this. `body` is the option's value with its type byte, `mac` the sender's. */
export function decodeOption97(body: Uint8Array, mac?: Mac): PiIdentity | undefined {
  if (body.length !== BODY_BYTES || body[0] !== 0) return undefined;
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const words = [1, 5, 9, 13].map((at) => view.getUint32(at, true));
  const form = MAGICS[String.fromCharCode(...body.subarray(1, 5))];
  if (form) return withMagic(form, body, words[1]!, words[3]!);
  if (words.every((word) => word === words[0])) {
    if (words[0] === 0 || words[0] === 0xffffffff) return undefined;
    return words[0] === ROM_3B_WORD ? { form: "rom-3b" } : { form: "serial", serial: hex8(words[0]!) };
  }
  const identity = withMagic("magic-own", body, words[1]!, words[3]!);
  const isOwn = identity.model !== undefined && identity.macTail !== undefined && identity.macTail === mac?.slice(6);
  return isOwn ? identity : undefined;
}

function withMagic(form: Option97Form, body: Uint8Array, revision: number, serial: number): PiIdentity {
  const macTail = Array.from(body.subarray(9, 13), (byte) => byte.toString(16).padStart(2, "0")).join(":");
  const model = decodeRevision(revision)?.model?.id;
  return {
    form,
    serial: hex8(serial),
    revision,
    ...(model && { model }),
    ...(macTail !== "00:00:00:00" && { macTail }),
  };
}

function hex8(word: number): string {
  return word.toString(16).padStart(8, "0");
}
