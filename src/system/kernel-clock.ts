import koffi from "koffi";

/** `struct timex` of adjtimex(2) on 64-bit Linux: 208 bytes, the status at byte 40. */
const TIMEX_BYTES = 208;
const STATUS_AT = 40;
const STA_UNSYNC = 0x40;

/** Whether some time service keeps the clock, as the kernel knows it. `undefined` when it does not tell. */
export function isClockSynchronised(): boolean | undefined {
  const adjtimex = koffi.load(null).func("int adjtimex(void *timex)");
  const timex = Buffer.alloc(TIMEX_BYTES);
  if (adjtimex(timex) < 0) return undefined;
  return (timex.readInt32LE(STATUS_AT) & STA_UNSYNC) === 0;
}
