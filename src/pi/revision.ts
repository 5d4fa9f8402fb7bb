/**
 * Raspberry Pi revision codes: the 32-bit number of /proc/cpuinfo that tells model, memory and maker.
 * Source: Raspberry Pi documentation, "raspberry-pi/revision-codes".
 * Left out: the old look-up codes (bit 23 clear); none of those boards can boot over the network.
 */
import { PI_MODELS, type PiModel } from "./models.ts";

const MAKERS = ["Sony UK", "Egoman", "Embest", "Sony Japan", "Embest", "Stadium"];
const MEMORY_CODE_MAX = 6;

/** Where each field lies: right shift, then mask. */
const FIELD = {
  revision: { shift: 0, mask: 0xf },
  boardType: { shift: 4, mask: 0xff },
  processor: { shift: 12, mask: 0xf },
  maker: { shift: 16, mask: 0xf },
  memory: { shift: 20, mask: 0x7 },
  newStyle: { shift: 23, mask: 0x1 },
} as const;

export interface BoardRevision {
  /** The code as it is usually written: `d03114`. */
  code: string;
  boardType: number;
  model?: PiModel;
  maker?: string;
  memoryMebibytes?: number;
  /** 1.0 is 0, 1.4 is 4. */
  boardRevision: number;
}

/** `undefined` for an old-style code. */
export function decodeRevision(code: number): BoardRevision | undefined {
  const field = (name: keyof typeof FIELD) => (code >>> FIELD[name].shift) & FIELD[name].mask;
  if (field("newStyle") === 0) return undefined;
  const boardType = field("boardType");
  const model = PI_MODELS.find((candidate) => candidate.boardTypes.includes(boardType));
  const maker = MAKERS[field("maker")];
  const memory = field("memory");
  return {
    code: (code >>> 0).toString(16).padStart(6, "0"),
    boardType,
    boardRevision: field("revision"),
    ...(model && { model }),
    ...(maker && { maker }),
    ...(memory <= MEMORY_CODE_MAX && { memoryMebibytes: 256 << memory }),
  };
}
