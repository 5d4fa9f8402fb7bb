/** Raspberry Pis that ask to boot and that no manifest names: how they are told apart, and what they are called as nodes. */
import { type Mac, parseMac } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import { serialTailFromMac } from "../pi/oui.ts";
import type { NodeEntry } from "./manifest-edit.ts";

export interface SeenPi {
  mac: Mac;
  /** Eight lower-case hex digits. A 3B tells it with its second stage only, which it does not reach before it is adopted. */
  serial?: string;
  model?: string;
}

/**
 * The next name of a pattern (`node%d`, `rack1-%02d`): one above the highest number there is, so that the files of a node
 * that was taken out do not become another's. `isKept` says of a name that there are such files.
 */
export function nextName(pattern: string, names: Iterable<string>, isKept: (name: string) => boolean): string {
  const [before, after] = pattern.split(/%(?:0\d)?d/) as [string, string];
  const digits = Number(/%0(\d)d/.exec(pattern)?.[1] ?? 1);
  let highest = 0;
  for (const name of names) {
    if (!name.startsWith(before) || !name.endsWith(after)) continue;
    const number = name.slice(before.length, name.length - after.length);
    if (/^\d{1,9}$/.test(number)) highest = Math.max(highest, Number(number));
  }
  for (let number = highest + 1; ; number++) {
    const name = `${before}${String(number).padStart(digits, "0")}${after}`;
    if (!isKept(name)) return name;
  }
}

/** The node that a Pi becomes. By its serial number where that is known: the owner can change the MAC. */
export function nodeOf(pi: SeenPi, name: string, model = pi.model): NodeEntry {
  const identity = pi.serial === undefined ? { mac: pi.mac } : { serial: pi.serial };
  return { name, ...identity, ...(model !== undefined && { model }) };
}

/** The Pi that somebody means by a serial number or an Ethernet address, however it is written. */
export function findSeenPi<Pi extends SeenPi>(pis: readonly Pi[], text: string): Pi | undefined {
  const mac = macOf(text);
  if (mac) return pis.find((pi) => pi.mac === mac);
  if (!/^(0x)?[0-9a-f]{1,16}$/i.test(text)) return undefined;
  const serial = text.toLowerCase().replace(/^0x/, "").padStart(8, "0").slice(-8);
  const bySerial = pis.find((pi) => pi.serial === serial);
  if (bySerial) return bySerial;
  const byTail = pis.find((pi) => pi.serial === undefined && serialTailFromMac(pi.mac) === serial.slice(2));
  return byTail && { ...byTail, serial };
}

function macOf(text: string): Mac | undefined {
  try {
    return parseMac(text);
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}
