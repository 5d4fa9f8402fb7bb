import { setFlagsFromString } from "node:v8";
import type { Command } from "commander";
import type { BootEvent } from "../../cluster/event.ts";
import type { ImportProgress } from "../../manager/image-store.ts";
import { prepareStateFolder } from "../../manager/state-folder.ts";
import { globalOptions, loadManifestOf } from "../context.ts";
import { eventText } from "../event-text.ts";
import { formatBytes, formatCount, progressBar } from "../table.ts";

export function addUp(bramble: Command): void {
  bramble
    .command("up")
    .description("boot the cluster: image, trees, DHCP, TFTP, NFS; stays in the foreground and shows what happens")
    .action((_, command: Command) => up(command));
}

async function up(command: Command): Promise<void> {
  const { json } = globalOptions(command);
  const loaded = await loadManifestOf(command);
  prepareStateFolder(loaded.stateFolder);
  const show = (event: BootEvent) => {
    const line = json ? JSON.stringify(event) : eventText(event);
    if (line !== undefined) console.log(line);
  };
  // As in the workers: the heap grows by a quarter, or 2 MB, before V8 looks for what is garbage in it.
  setFlagsFromString("--heap-growing-percent=25");
  setFlagsFromString("--optimize-for-size");
  const { startManager } = await import("../../manager/manager.ts");
  const manager = await startManager({
    loaded,
    onEvent: show,
    ...(process.stderr.isTTY && { onImageProgress: showImageProgress }),
  });
  // Before it says that it serves: whoever waits for those words may stop it at once.
  const asked = new Promise<void>((resolve) => {
    process.once("SIGINT", resolve);
    process.once("SIGTERM", resolve);
  });
  const { address, interfaceName } = manager.network;
  console.error(
    `bramble: serving ${formatCount(loaded.manifest.nodes.length, "node")} on ${interfaceName ?? "address"} ${address}, ` +
      `DHCP ${loaded.manifest.network.dhcp}. Ctrl-C stops; nodes then pause until it is back.`,
  );
  await asked;
  await manager.stop();
}

function showImageProgress({ phase, doneBytes, totalBytes }: ImportProgress): void {
  const bar = totalBytes ? `${progressBar(doneBytes / totalBytes, 24)} of ${formatBytes(totalBytes)}` : "";
  process.stderr.write(
    `\r\u001b[Kimage: ${phase} ${formatBytes(doneBytes)} ${bar}${doneBytes === totalBytes ? "\n" : ""}`,
  );
}
