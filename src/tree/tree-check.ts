/**
 * Checks what all layers of a tree say together, over its image: every name leads to a file, every file has as many
 * names as it counts, directories know where they are. Generated files are not there, only the names that they ever
 * had: where one of them may have stood, both counts are right.
 */
import { fileNameToText } from "../bytes/file-name.ts";
import type { FileSystemImage } from "../disk/file-system-image.ts";
import type { Clock, DataFiles, KeyValueStore } from "../ports.ts";
import { type FrozenFile, FrozenLayers } from "./frozen-layers.ts";
import { ImageLayer } from "./image-layer.ts";
import { type LayerEntry, nameKey } from "./layer.ts";
import { sharedByNodeLayers } from "./node-layer.ts";
import { OpenDataFiles } from "./open-data-files.ts";
import { REMOVED, WHITEOUT_ID } from "./overlay-layer.ts";

export interface TreeCheckOptions {
  keyValueStore: KeyValueStore;
  dataFiles: DataFiles;
  clock: Clock;
  image: FileSystemImage;
  /** From the lowest up. Each was found sound by itself. */
  layerIds: readonly number[];
  firstId: number;
  /** Last components of all paths that generated files ever had in the image, as `nameKey` has them. */
  generatedNames: ReadonlySet<string>;
}

/** From the lowest number that is right to the highest. */
interface Count {
  least: number;
  most: number;
}

/** Names of a file, as the layers change them. */
interface Names {
  /** All that the layers give it. */
  given: number;
  /** Those that it did not have in the image, less those of the image that it lost. */
  change: Count;
  parents: number[];
}

/** What is wrong, in plain words. */
export function checkTree(options: TreeCheckOptions): string[] {
  return new TreeCheck(options).run();
}

class TreeCheck {
  readonly #image: ImageLayer;
  readonly #layers: FrozenLayers;
  readonly #firstId: number;
  readonly #generatedNames: ReadonlySet<string>;
  readonly #names = new Map<number, Names>();
  /** By directory: how many directories more or less are in it than in the image. */
  readonly #subdirectories = new Map<number, Count>();
  readonly #texts: string[] = [];

  constructor({ keyValueStore, dataFiles, clock, image, layerIds, ...options }: TreeCheckOptions) {
    this.#image = new ImageLayer(image);
    this.#layers = new FrozenLayers(layerIds, sharedByNodeLayers(keyValueStore, new OpenDataFiles(dataFiles), clock));
    this.#firstId = options.firstId;
    this.#generatedNames = options.generatedNames;
  }

  run(): string[] {
    for (const [id, file] of this.#files()) {
      if (file === REMOVED) this.#loseNamesIn(id);
      else if (file.attributes.type === "directory") this.#countNamesIn(id);
    }
    for (const [id, file] of this.#files()) {
      if (file === REMOVED) continue;
      if (file.attributes.type === "directory") this.#checkDirectory(id, file);
      else this.#checkLinks(id, file);
      this.#checkContent(id, file);
    }
    return this.#texts;
  }

  *#files(): Generator<[number, FrozenFile | typeof REMOVED]> {
    for (const id of this.#layers.ids()) {
      const file = this.#layers.file(id);
      if (file !== undefined) yield [id, file];
    }
  }

  #namesOf(id: number): Names {
    const names = this.#names.get(id) ?? { given: 0, change: { least: 0, most: 0 }, parents: [] };
    this.#names.set(id, names);
    return names;
  }

  /** With a directory of the image go the names in it, but for those that a generated file had taken away. */
  #loseNamesIn(directoryId: number): void {
    for (const { id } of this.#image.entries(directoryId)) this.#namesOf(id).change.least -= 1;
  }

  #countNamesIn(directoryId: number): void {
    const changed = this.#layers.names(directoryId, this.#image.caseSensitive) ?? new Map<string, LayerEntry>();
    for (const entry of this.#image.entries(directoryId)) {
      if (!changed.has(nameKey(entry.name, this.#image.caseSensitive))) this.#checkLeads(directoryId, entry);
    }
    const subdirectories = { least: 0, most: 0 };
    this.#subdirectories.set(directoryId, subdirectories);
    for (const [key, entry] of changed) {
      const isHiding = entry.id === WHITEOUT_ID;
      if (!isHiding) this.#give(directoryId, entry);
      const before = this.#image.lookup(directoryId, entry.name)?.id;
      if (before === entry.id) continue;
      const maybeGenerated = this.#generatedNames.has(key);
      if (!isHiding) {
        add(this.#namesOf(entry.id).change, 1);
        if (this.#typeOf(entry.id) === "directory") add(subdirectories, 1, maybeGenerated);
      }
      // Whatever stands there now, a generated file may have taken its place before.
      const isUnsure = maybeGenerated || !isHiding;
      if (before !== undefined) add(this.#namesOf(before).change, -1, isUnsure);
      const wasDirectory = before !== undefined && this.#image.attributes(before)?.type === "directory";
      if (wasDirectory || maybeGenerated) add(subdirectories, -1, isUnsure);
    }
  }

  #give(directoryId: number, entry: LayerEntry): void {
    const names = this.#namesOf(entry.id);
    names.given += 1;
    names.parents.push(directoryId);
    this.#checkLeads(directoryId, entry);
  }

  #checkLeads(directoryId: number, { name, id }: LayerEntry): void {
    if (this.#typeOf(id) !== undefined) return;
    const shown = JSON.stringify(fileNameToText(name));
    this.#texts.push(`${shown} in directory ${directoryId} leads to file ${id}, which is not there`);
  }

  #typeOf(id: number) {
    const file = this.#layers.file(id);
    if (file === REMOVED) return undefined;
    return (file ?? { attributes: this.#image.attributes(id) }).attributes?.type;
  }

  #checkLinks(id: number, { whole, attributes }: FrozenFile): void {
    const { given, change } = this.#namesOf(id);
    this.#compare(
      `file ${id}`,
      attributes.linkCount,
      whole ? exactly(given) : change,
      whole ? 0 : this.#linksBefore(id),
    );
  }

  #checkDirectory(id: number, { whole, attributes, parentId }: FrozenFile): void {
    const { given, change, parents } = this.#namesOf(id);
    const names = whole ? exactly(given) : { least: 1 + change.least, most: 1 + change.most };
    if (id !== this.#image.rootId && !isWithin(1, names)) this.#texts.push(`directory ${id} has ${names.most} names`);
    for (const parent of parents) {
      if (parent === parentId) continue;
      this.#texts.push(`directory ${id} is in directory ${parent}, and says it is in ${parentId}`);
    }
    // What else is in a generated directory is not known here.
    if (whole && id < this.#firstId) return;
    const subdirectories = this.#subdirectories.get(id) ?? exactly(0);
    const ownLinks = whole ? 2 : 0;
    const expected = { least: ownLinks + subdirectories.least, most: ownLinks + subdirectories.most };
    this.#compare(`directory ${id}`, attributes.linkCount, expected, whole ? 0 : this.#linksBefore(id));
  }

  #linksBefore(id: number): number {
    return this.#image.attributes(id)?.linkCount ?? 0;
  }

  #compare(what: string, linkCount: number, expected: Count, before: number): void {
    if (isWithin(linkCount, expected)) return;
    this.#texts.push(`${what} counts ${before + linkCount} links, and should count ${before + expected.most}`);
  }

  #checkContent(id: number, { data, inherits }: FrozenFile): void {
    if (data === undefined || data.inheritedBytes === 0) return;
    const sizeBytes = (inherits ?? { attributes: this.#image.attributes(id) }).attributes?.sizeBytes ?? 0;
    if (data.inheritedBytes <= sizeBytes) return;
    this.#texts.push(`file ${id} inherits ${data.inheritedBytes} bytes of a file of ${sizeBytes}`);
  }
}

/** With `isUnsure`, it may as well have stayed. */
function add(count: Count, change: 1 | -1, isUnsure = false): void {
  if (change < 0 || !isUnsure) count.least += change;
  if (change > 0 || !isUnsure) count.most += change;
}

function exactly(number: number): Count {
  return { least: number, most: number };
}

function isWithin(number: number, { least, most }: Count): boolean {
  return number >= least && number <= most;
}
