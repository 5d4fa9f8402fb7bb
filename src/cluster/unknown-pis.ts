/** Raspberry Pis that ask to boot and are in no manifest, as the status remembers them. */
import type { Mac } from "../bytes/addresses.ts";
import { UNKNOWN_PIS_MAX } from "../limits.ts";
import type { BootEvent } from "./event.ts";

export interface UnknownPi {
  mac: Mac;
  serial?: string;
  model?: string;
  firstSeenMs: number;
  lastSeenMs: number;
}

type UnknownPis = ReadonlyMap<Mac, UnknownPi>;

export function withUnknownPi(known: UnknownPis, event: BootEvent & { kind: "unknown-pi" }): UnknownPis {
  const { mac, serial, model, unixMs } = event;
  const before = known.get(mac);
  // The oldest gives way: a hostile network can make up as many addresses as it likes.
  const room = before || known.size < UNKNOWN_PIS_MAX ? known : withoutUnknownPi(known, known.keys().next().value!);
  return new Map(room).set(mac, {
    ...before,
    mac,
    firstSeenMs: before?.firstSeenMs ?? unixMs,
    lastSeenMs: unixMs,
    ...(serial && { serial }),
    ...(model && { model }),
  });
}

export function withoutUnknownPi(known: UnknownPis, mac: Mac): UnknownPis {
  const rest = new Map(known);
  rest.delete(mac);
  return rest;
}
