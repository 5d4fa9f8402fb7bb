/**
 * NULL (0): nothing → nothing, not even a status. Answers, so that a client knows the server is there. RFC 1813 3.3.0.
 */
import type { Procedure } from "../call.ts";

export const nullProcedure: Procedure<undefined> = {
  name: "NULL",
  changes: false,
  failure: [],
  decode: () => undefined,
  *run() {
    return () => {};
  },
};
