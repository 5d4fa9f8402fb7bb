import type { BootOccurrence } from "../cluster/event.ts";

/** Puts something that happened on the feed. Without a node it concerns the network or the manager. */
export type Report = (occurrence: BootOccurrence, node?: string) => void;
