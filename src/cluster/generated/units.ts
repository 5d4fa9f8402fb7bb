/** Units of systemd that the manifest enables or masks: the links that systemctl(1) would make, without the node. */
import type { GeneratedFile, ImageFiles } from "../generated-file.ts";
import { suggest } from "../manifest-problem.ts";
import { type GenerationInput, hasUnit, imageText, maskUnit, removed, symlink } from "./placing.ts";
import { isTemplate, readInstall, templateOf } from "./unit-install.ts";

const REASON = "manifest units";
const OWN_FOLDER = "/etc/systemd/system";
/** The first one that has a unit counts. */
const FOLDERS = [OWN_FOLDER, "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

export interface PlannedUnits {
  files: GeneratedFile[];
  warnings: string[];
}

/** `others`: what is placed besides, units of the manifest's `files` among it. */
export function planUnits(input: GenerationInput, others: readonly GeneratedFile[]): PlannedUnits {
  const { manifest, node, facts, root } = input;
  const enable = without(manifest.units.enable, node.units.mask).concat(node.units.enable);
  const mask = without(manifest.units.mask, node.units.enable).concat(node.units.mask);
  if (enable.length + mask.length === 0) return { files: [], warnings: [] };
  if (facts.init !== "systemd") {
    return { files: [], warnings: ["Cannot enable or mask units: the image has no systemd"] };
  }
  const placed = new Map(others.map((file) => [file.path, file]));
  const enabled = enable.map((unit) => enabledUnit(unit, { root, placed, masked: new Set(mask) }));
  const masked = mask.map((unit) => maskedUnit(unit, root, placed));
  const planned = [...masked, ...enabled];
  return {
    files: planned.flatMap(({ files }) => files),
    warnings: [...new Set(planned.flatMap(({ warnings }) => warnings))],
  };
}

function without(units: readonly string[], those: readonly string[]): string[] {
  return units.filter((unit) => !those.includes(unit));
}

interface UnitPlaces {
  root: ImageFiles;
  placed: ReadonlyMap<string, GeneratedFile>;
  masked: ReadonlySet<string>;
}

function enabledUnit(unit: string, places: UnitPlaces): PlannedUnits {
  const found = findUnit(unit, places);
  const refused = (why: string) => ({ files: [], warnings: [`Cannot enable ${unit}: ${why}`] });
  if (found === undefined) return refused(`the image has no such unit${likeIt(unit, places.root)}`);
  const { links, also, unknownWord } = readInstall(found.text, unit);
  if (unknownWord) return refused(`its [Install] section says ${unknownWord}, which only the running node could tell`);
  if (links.some(lacksInstance)) {
    return refused(`it is a template without a default instance; write ${unit.replace("@.", "@NAME.")}`);
  }
  if (links.length + also.length === 0) {
    return refused("it has no [Install] section, so others start it; a unit of your own (files:) can want it");
  }
  const companions = also.flatMap((other) => companionFiles(other, places));
  return { files: [...linkFiles(links, found), ...companions], warnings: [] };
}

/** What a unit is enabled along with. systemctl passes over those that it cannot enable, too. */
function companionFiles(unit: string, places: UnitPlaces): GeneratedFile[] {
  const found = places.masked.has(unit) ? undefined : findUnit(unit, places);
  if (found === undefined) return [];
  const { links, unknownWord } = readInstall(found.text, unit);
  return unknownWord || links.some(lacksInstance) ? [] : linkFiles(links, found);
}

/** A template as such can have other names, but nothing can want it. */
function lacksInstance(link: string): boolean {
  return link.includes("/") && isTemplate(link);
}

function linkFiles(links: readonly string[], { path, masks }: FoundUnit): GeneratedFile[] {
  const made = links.map((link) => `${OWN_FOLDER}/${link}`).filter((link) => link !== path);
  return [...masks.map((mask) => removed(mask, REASON)), ...made.map((link) => symlink(link, path, REASON))];
}

interface FoundUnit {
  path: string;
  text: string;
  /** Links to /dev/null that stand before it: the image's, or those of another generator. */
  masks: string[];
}

function findUnit(unit: string, { root, placed }: UnitPlaces): FoundUnit | undefined {
  const masks: string[] = [];
  for (const name of [unit, templateOf(unit)]) {
    for (const folder of name === undefined ? [] : FOLDERS) {
      const path = `${folder}/${name}`;
      const own = placed.get(path);
      const text = own === undefined ? imageText(root, path) : placedText(own);
      if (text !== undefined) return { path, text, masks };
      // What is there and cannot be read is a link to /dev/null, whether the image has that or not.
      const isMask = own === undefined ? root.list(folder).includes(name!) : own.kind === "symlink";
      if (isMask && folder === OWN_FOLDER) masks.push(path);
    }
  }
  return undefined;
}

function placedText(file: GeneratedFile): string | undefined {
  return file.kind === "file" ? Buffer.from(file.content).toString("utf8") : undefined;
}

function maskedUnit(unit: string, root: ImageFiles, placed: UnitPlaces["placed"]): PlannedUnits {
  const own = placed.get(`${OWN_FOLDER}/${unit}`);
  if (own?.kind === "file" && own.reason !== "manifest files") {
    return { files: [], warnings: [`Cannot mask ${unit}: it is Bramble's own, for ${own.reason}`] };
  }
  const isKnown = own !== undefined || hasUnit(root, unit) || hasUnit(root, templateOf(unit) ?? unit);
  return {
    files: [maskUnit(unit, REASON)],
    warnings: isKnown ? [] : [`The image has no unit ${unit} to mask${likeIt(unit, root)}`],
  };
}

/** Among the units of the same type, whose names would else be alike by that alone. */
function likeIt(unit: string, root: ImageFiles): string {
  const type = unit.slice(unit.lastIndexOf("."));
  const names = FOLDERS.flatMap((folder) => root.list(folder)).filter((name) => name.endsWith(type));
  const hint = suggest(
    unit.slice(0, -type.length),
    [...new Set(names)].map((name) => name.slice(0, -type.length)),
  );
  return hint === undefined ? "" : `. ${hint.replace(/"\?$/, `${type}"?`)}`;
}
