// A thread that asks an NFS server for attributes, one call after the other, and does nothing else. Told by workerData:
// port, localAddress, calls (whole records), replyBytes, everyMs, serverPid. Any message ends it; it answers with what it measured.
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { parentPort, workerData } from "node:worker_threads";

const { port, localAddress, calls, everyMs, serverPid, replyBytes } = workerData;
const waits = [];
let isOver = false;

// Milliseconds that the server's main thread and we were ready to run and had no processor (schedstat of proc(5)): what
// other programs of this machine take is not what is measured.
function processorWaitMs() {
  const files = ["/proc/thread-self/schedstat", `/proc/${serverPid}/task/${serverPid}/schedstat`];
  return files.reduce((sum, path) => sum + Number(readFileSync(path, "latin1").split(" ")[1]) / 1e6, 0);
}

const socket = connect({ port, host: "127.0.0.1", localAddress, noDelay: true });
let received = 0;
let onReply = () => {};
socket.on("data", (bytes) => {
  received += bytes.length;
  if (received >= replyBytes) onReply();
});
socket.once("connect", async () => {
  while (!isOver) {
    const [startMs, startWaitMs] = [performance.now(), processorWaitMs()];
    await new Promise((resolve) => {
      received = 0;
      onReply = resolve;
      socket.write(calls[waits.length % calls.length]);
    });
    waits.push(performance.now() - startMs - (processorWaitMs() - startWaitMs));
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
  socket.destroy();
  parentPort.postMessage(waits);
});
parentPort.once("message", () => {
  isOver = true;
});
