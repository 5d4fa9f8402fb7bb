/**
 * The boards the simulator can be, as data: what the boot loader of each adds to the facts in `pi/models.ts`.
 * Facts from Raspberry Pi's documentation (revision codes) and from captures of the boards.
 */
import { type Mac, macFromBytes } from "../bytes/addresses.ts";
import { findPiModel, type PiModel } from "../pi/models.ts";
import type { Random } from "../ports.ts";

/** How a boot loader speaks DHCP. */
export interface DhcpDialect {
  /** Option 55, in the order of the captures. */
  requestedParameters: readonly number[];
  /** Option 97: a magic number, revision, MAC and serial; or the serial four times. */
  identifier: { form: "magic"; magic: number } | { form: "serial" };
  /** The boot ROM uses one number for ever, on every board. */
  transactionId: "random" | number;
  /** The boot ROM takes the address of the OFFER and asks no further. */
  sendsRequest: boolean;
}

export interface VirtualModel {
  pi: PiModel;
  /** Which sequence of files it asks for, by the chip its boot loader is for. */
  bootloader: "2837" | "2711" | "2712";
  dhcp: DhcpDialect;
  revision: number;
  /** Vendor prefix of made-up addresses. */
  macPrefix: readonly [number, number, number];
}

const EEPROM_DHCP = {
  requestedParameters: [1, 3, 43, 60, 66, 67, 128, 129, 130, 131, 132, 133, 134, 135],
  transactionId: "random",
  sendsRequest: true,
} as const;
const BOOTLOADER_2837 = {
  bootloader: "2837",
  dhcp: {
    requestedParameters: [43, 60, 67, 128, 129, 130, 131, 132, 133, 134, 135, 66, 1, 3],
    identifier: { form: "serial" },
    transactionId: 0x26f30339,
    sendsRequest: false,
  },
} as const;
/** The magic as it stands on the wire: the model's digit, then "iPR". */
const BOOTLOADER_2711 = {
  bootloader: "2711",
  dhcp: { ...EEPROM_DHCP, identifier: { form: "magic", magic: 0x34695052 } },
} as const;
const BOOTLOADER_2712 = {
  bootloader: "2712",
  dhcp: { ...EEPROM_DHCP, identifier: { form: "magic", magic: 0x35695052 } },
} as const;

export const VIRTUAL_MODELS: readonly VirtualModel[] = [
  { ...BOOTLOADER_2837, pi: pi("3b+"), revision: 0xa020d3, macPrefix: [0xb8, 0x27, 0xeb] },
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
