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
  bootloader: "2711" | "2712";
  /** Magic of option 97 as it stands on the wire: the model's digit, then "iPR". */
  identifierMagic: number;
  revision: number;
  /** Vendor prefix of made-up addresses. */
  macPrefix: readonly [number, number, number];
}

const BOOTLOADER_2711 = { bootloader: "2711", identifierMagic: 0x34695052 } as const;
const BOOTLOADER_2712 = { bootloader: "2712", identifierMagic: 0x35695052 } as const;

export const VIRTUAL_MODELS: readonly VirtualModel[] = [
  { ...BOOTLOADER_2711, pi: pi("4"), revision: 0xd03114, macPrefix: [0xdc, 0xa6, 0x32] },
  { ...BOOTLOADER_2711, pi: pi("400"), revision: 0xc03130, macPrefix: [0xe4, 0x5f, 0x01] },
  { ...BOOTLOADER_2711, pi: pi("cm4"), revision: 0xc03140, macPrefix: [0xe4, 0x5f, 0x01] },
  { ...BOOTLOADER_2712, pi: pi("5"), revision: 0xd04170, macPrefix: [0x2c, 0xcf, 0x67] },
  { ...BOOTLOADER_2712, pi: pi("cm5"), revision: 0xd04180, macPrefix: [0x2c, 0xcf, 0x67] },
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

/** A board with the MAC and serial given or made up. From the 4 on the two are not related. */
export function makeBoard(
  model: VirtualModel,
  known: { mac?: Mac | undefined; serial?: string | undefined },
  random: Random,
): VirtualBoard {
  return {
    model,
    mac: known.mac ?? macFromBytes(Uint8Array.from([...model.macPrefix, ...random.bytes(3)])),
    serial: known.serial ?? Buffer.from(random.bytes(4)).toString("hex"),
  };
}
