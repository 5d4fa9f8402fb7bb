/** Makes the names in a folder survive a power cut. */
import { closeSync, constants, fsyncSync, openSync } from "node:fs";
import { open } from "node:fs/promises";

const HOW = constants.O_RDONLY | constants.O_DIRECTORY;

export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, HOW);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export function syncFolderNow(folder: string): void {
  const descriptor = openSync(folder, HOW);
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
