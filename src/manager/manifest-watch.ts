import { statSync, watch } from "node:fs";
import { basename, dirname, resolve } from "node:path";

/** Editors write a file in several steps; a reload waits until it has been quiet for so long. */
const QUIET_MS = 300;

/**
 * Calls `onChange` when the manifest's file was changed, and `onSignal` on SIGHUP. Watches the folder, because editors
 * replace the file. Returns the function that stops it.
 */
export function watchManifest(path: string, onChange: () => void, onSignal: () => void): () => void {
  const absolute = resolve(path);
  let timeout: NodeJS.Timeout | undefined;
  let signature = signatureOf(absolute);
  const later = () => {
    clearTimeout(timeout);
    timeout = setTimeout(() => {
      const now = signatureOf(absolute);
      if (now === signature) return;
      signature = now;
      onChange();
    }, QUIET_MS);
  };
  const watcher = watch(dirname(absolute), (_, name) => {
    if (name === basename(absolute)) later();
  });
  process.on("SIGHUP", onSignal);
  return () => {
    clearTimeout(timeout);
    watcher.close();
    process.off("SIGHUP", onSignal);
  };
}

function signatureOf(path: string): string {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats ? `${stats.ino} ${stats.size} ${stats.mtimeMs}` : "absent";
}
