/** Which Pis have asked to boot and are no nodes, told from what the last manager left: when none runs. */
import { join } from "node:path";
import { NodeDirectory } from "../boot/node-directory.ts";
import { INITIAL_STATUS, nextStatus } from "../cluster/status.ts";
import type { UnknownPi } from "../cluster/unknown-pis.ts";
import { systemClock } from "../system/clock.ts";
import { Journal } from "./journal.ts";
import { LearnedMacs } from "./learned-macs.ts";
import type { LoadedManifest } from "./manifest-file.ts";

export async function pisInJournal({ stateFolder, manifest }: LoadedManifest): Promise<UnknownPi[]> {
  const journal = new Journal(join(stateFolder, "events.ndjson"), systemClock);
  await journal.load();
  const { unknownPis } = journal.events.reduce(nextStatus, INITIAL_STATUS);
  // Nothing is learned here, so nothing is written.
  const learned = new LearnedMacs(join(stateFolder, "learned-macs.json"), () => {});
  const directory = new NodeDirectory(manifest.nodes, learned);
  return [...unknownPis.values()].filter(({ mac, serial }) => directory.find(mac, serial) === undefined);
}
