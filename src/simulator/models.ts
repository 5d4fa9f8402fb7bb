/**
 * The boards the simulator can be, as data: what the boot loader of each adds to the facts in `pi/models.ts`.
 * Facts from Raspberry Pi's documentation (revision codes) and from captures of the boards.
 */
import { type Mac, macFromBytes } from "../bytes/addresses.ts";
import { findPiModel, type PiModel } from "../pi/models.ts";
import type { Random } from "../ports.ts";

export interface VirtualModel {
  pi: PiModel;
  /** Which sequence of files it asks for, by the chip its boot loader is for. */
  bootloader: "2837" | "2711" | "2712";
  /** Which boot ROM it has; with an EEPROM the ROM has no part in a network boot. */
  rom?: "3b" | "3b+";
  revision: number;
  /** Vendor prefix of made-up addresses. */
  macPrefix: readonly [number, number, number];
}

const ROM_3B = { bootloader: "2837", rom: "3b", macPrefix: [0xb8, 0x27, 0xeb] } as const;
const PI_4 = { bootloader: "2711", macPrefix: [0xe4, 0x5f, 0x01] } as const;
const PI_5 = { bootloader: "2712", macPrefix: [0x2c, 0xcf, 0x67] } as const;

/** The CM3 with the ROM of the 3B, as its chip is; a CM3+ has the one of the 3B+. */
export const VIRTUAL_MODELS: readonly VirtualModel[] = [
  { ...ROM_3B, pi: pi("3b"), revision: 0xa02082 },
  { ...ROM_3B, pi: pi("3b+"), rom: "3b+", revision: 0xa020d3 },
  { ...ROM_3B, pi: pi("cm3"), revision: 0xa020a0 },
  { ...PI_4, pi: pi("4"), revision: 0xd03114, macPrefix: [0xdc, 0xa6, 0x32] },
  { ...PI_4, pi: pi("400"), revision: 0xc03130 },
  { ...PI_4, pi: pi("cm4"), revision: 0xc03140 },
  { ...PI_5, pi: pi("5"), revision: 0xd04170 },
  { ...PI_5, pi: pi("500"), revision: 0xd04190 },
  { ...PI_5, pi: pi("cm5"), revision: 0xd04180 },
  { ...PI_5, pi: pi("cm5l"), revision: 0xd041a0 },
];

function pi(id: string): PiModel {
  const model = findPiModel(id);
  if (model === undefined) throw new Error(`Cannot simulate model ${id}: pi/models.ts does not know it`);
  return model;
}

/** Accepts what people write, as `findPiModel` does; `undefined` for a model that cannot be simulated. */
export function findVirtualModel(text: string): VirtualModel | undefined {
  const known = findPiModel(text);
  return VIRTUAL_MODELS.find((model) => model.pi === known);
}

/** One board: what is burnt into it. */
export interface VirtualBoard {
  model: VirtualModel;
  mac: Mac;
  /** Low 32 bits, as 8 hex digits. */
  serial: string;
}

/** A board with the MAC and serial given or made up. Up to the 3B+ the MAC ends as the serial; later ones are not related. */
export function makeBoard(
  model: VirtualModel,
  known: { mac?: Mac | undefined; serial?: string | undefined },
  random: Random,
): VirtualBoard {
  const serial = known.serial ?? Buffer.from(random.bytes(4)).toString("hex");
  const tail = model.bootloader === "2837" ? Buffer.from(serial, "hex").subarray(1) : random.bytes(3);
  return { model, mac: known.mac ?? macFromBytes(Uint8Array.from([...model.macPrefix, ...tail])), serial };
}
