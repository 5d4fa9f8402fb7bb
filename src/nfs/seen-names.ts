/**
 * Under which names clients lately looked files up, for showing what a file is called: an id does not tell. A small table
 * where a newer name takes the place of an older one. What it says may no longer be true.
 */
import type { FileName } from "../bytes/file-name.ts";

const PLACES = 256;

export interface SeenName {
  directoryId: number;
  name: FileName;
}

export class SeenNames {
  readonly #files = new Float64Array(PLACES);
  readonly #directories = new Float64Array(PLACES);
  readonly #names: (FileName | undefined)[] = new Array(PLACES).fill(undefined);

  saw(fileId: number, directoryId: number, name: FileName): void {
    if (name === "." || name === "..") return;
    const place = placeOf(fileId);
    this.#files[place] = fileId;
    this.#directories[place] = directoryId;
    this.#names[place] = name;
  }

  find(fileId: number): SeenName | undefined {
    const place = placeOf(fileId);
    const name = this.#names[place];
    if (name === undefined || this.#files[place] !== fileId) return undefined;
    return { directoryId: this.#directories[place]!, name };
  }
}

/** Files made together have ids side by side, which spreads them well. */
function placeOf(fileId: number): number {
  return fileId % PLACES;
}
