import type { Looked } from "../../cluster/doctor/finding.ts";

/** Whatever goes wrong with looking is the reason why it was skipped. */
export async function look<T>(see: () => Promise<T>): Promise<Looked<T>> {
  try {
    return { seen: await see() };
  } catch (error) {
    return { skipped: (error as Error).message };
  }
}
