/** One line of `make bench`: our figure beside the peer's, or beside the limit that was promised. */
export interface Measure {
  /** `bench.what`, as in `tftp.clients8`. */
  name: string;
  ours: number;
  peer: number;
  unit: string;
  /** What ours / peer has to be: `<=1.15`, `>=0.7`. */
  goal: string;
}

/** What each `bench/NAME.ts` exports as `run`. */
export type Bench = (report: (line: Measure) => void) => Promise<void>;
