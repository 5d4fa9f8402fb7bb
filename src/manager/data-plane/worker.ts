/**
 * One worker process: messages in, a `DataPlane` behind them, messages out. Started by `workers.ts`; ends with the
 * process that started it, and not by the signals of a terminal or of systemd, which that process answers in order.
 */
import type { Socket } from "node:net";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { openOsImage } from "../../disk/os-image.ts";
import { watchBusyPart } from "../../system/busy-part.ts";
import { systemClock } from "../../system/clock.ts";
import { openDataFiles } from "../../system/data-files.ts";
import { openFileSource } from "../../system/file-source.ts";
import { openJournaledStore } from "../../system/journal-file.ts";
import { dieWithParent } from "../../system/parent-death.ts";
import { systemRandom } from "../../system/random.ts";
import { acceptedFrom } from "../../system/tcp.ts";
import { createUdpSockets } from "../../system/udp.ts";
import { TransferCapture } from "../capture/transfer-capture.ts";
import { returnMemoryWhenQuiet } from "../spare-memory.ts";
import { limitWarnings } from "../warning-limit.ts";
import { createDataPlane, type DataPlane } from "./data-plane.ts";
import type { FromWorker, Question, Questions, ToWorker, WorkerSettings } from "./messages.ts";

const SEND_WARNING_INTERVAL_MS = 60_000;

dieWithParent();
// The heap grows by a quarter before V8 looks for what is garbage in it. By itself it lets it double, and more under load.
// From here, since a Node that does not know the flag would not start with it.
setFlagsFromString("--heap-growing-percent=25");
// By 2 MB at least, instead of 8.
setFlagsFromString("--optimize-for-size");
// Everything here survives that, and nothing else is sure to be at once.
process.once("disconnect", () => process.kill(process.pid, "SIGKILL"));
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
process.on("uncaughtExceptionMonitor", ({ message }) => say({ kind: "crash", reason: message }));

const capture = new TransferCapture(systemClock);
let stop: (() => Promise<void>) | undefined;
let dataPlane: DataPlane | undefined;

process.on("message", (message: ToWorker, socket: Socket | undefined) => {
  switch (message.kind) {
    case "question":
      answer(message.question).then(
        (answered) => say({ kind: "answer", number: message.number, answered }),
        (error: Error) => say({ kind: "refusal", number: message.number, message: error.message }),
      );
      break;
    case "owners":
      for (const [address] of message.owners) capture.forget(address);
      dataPlane?.setOwners(message.owners);
      break;
    case "connection":
      say({ kind: "taken", number: message.number });
      // Its peer may be gone already, and the socket with it.
      if (socket) dataPlane?.serveConnection(message.node, acceptedFrom(socket, message.remote).open());
      break;
    case "tftp":
      dataPlane?.serveTftp(message.node, message.path, message.request);
      break;
  }
});

async function answer(question: Question): Promise<Questions[keyof Questions]["answered"]> {
  if (question.name === "start") return start(question.asked);
  if (!dataPlane) throw new Error(`Cannot ask a worker: it was not started (${question.name})`);
  switch (question.name) {
    case "open":
      return dataPlane.open(question.asked);
    case "release":
      return dataPlane.release(question.asked.node, question.asked);
    case "forget":
      return dataPlane.forget(question.asked.node) as Promise<undefined>;
    case "flush":
      return dataPlane.flush() as Promise<undefined>;
    case "overriddenPaths":
      return dataPlane.overriddenPaths(question.asked.node);
    case "packets":
      return capture.since(question.asked.addresses, question.asked.after);
    case "stop":
      return stop?.() as Promise<undefined>;
  }
}

async function start(settings: WorkerSettings): Promise<undefined> {
  const keyValueStore = await openJournaledStore(join(settings.stateFolder, "trees"), settings.journalName);
  const warn = limitWarnings(systemClock, SEND_WARNING_INTERVAL_MS, (message) =>
    say({ kind: "observation", observation: { kind: "warning", message } }),
  );
  const started = await createDataPlane({
    busyPart: watchBusyPart(),
    settings,
    keyValueStore,
    dataFiles: openDataFiles(join(settings.stateFolder, "data")),
    clock: systemClock,
    sockets: capture.tap(await createUdpSockets({ onSendError: (error) => warn(error.message) })),
    writeVerifier: systemRandom.bytes(8),
    openImage: (path) => openOsImage(openFileSource(path)),
    observe: (observation) => say({ kind: "observation", observation }),
  });
  dataPlane = started;
  const stopReturning = returnMemoryWhenQuiet(systemClock);
  stop = async () => {
    stopReturning();
    await started.close();
    await keyValueStore.close();
  };
}

function say(message: FromWorker): void {
  if (process.connected) process.send?.(message);
}
