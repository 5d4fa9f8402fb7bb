/** Kernel settings and modules of the manifest, as sysctl.d(5) and modules-load.d(5). */
import { MODULE_LIST_BYTES_MAX } from "../../limits.ts";
import type { GeneratedFile, ImageFiles } from "../generated-file.ts";
import { type GenerationInput, textFile } from "./placing.ts";

/** Files are read in the order of their names: the image's 99-sysctl.conf, and what packages add, come before. */
const SYSCTL_PATH = "/etc/sysctl.d/zz-bramble.conf";
const MODULES_PATH = "/etc/modules-load.d/bramble.conf";
/** Of systemd, and of OpenRC. */
const SYSCTL_PROGRAMS = ["/usr/lib/systemd/systemd-sysctl", "/lib/systemd/systemd-sysctl", "/etc/init.d/sysctl"];
const MODULES_PROGRAMS = [
  "/usr/lib/systemd/systemd-modules-load",
  "/lib/systemd/systemd-modules-load",
  "/etc/init.d/modules",
];

type Settings = Pick<GenerationInput, "manifest" | "node">;

/** The node's own settings win. */
function settingsOf({ manifest, node }: Settings): [name: string, value: string][] {
  return Object.entries({ ...manifest.sysctl, ...node.sysctl });
}

function modulesOf({ manifest, node }: Settings): string[] {
  return [...new Set([...manifest.modules, ...node.modules])];
}

export function kernelSettingFiles(input: GenerationInput): GeneratedFile[] {
  const settings = settingsOf(input).map(([name, value]) => `${name} = ${value}\n`);
  const modules = modulesOf(input).map((name) => `${name}\n`);
  return [
    ...(settings.length > 0 ? [textFile(SYSCTL_PATH, settings.join(""), "manifest sysctl")] : []),
    ...(modules.length > 0 ? [textFile(MODULES_PATH, modules.join(""), "manifest modules")] : []),
  ];
}

export function kernelSettingWarnings(input: GenerationInput): string[] {
  const { root } = input;
  const has = (programs: readonly string[]) => programs.some((path) => root.exists(path));
  const warnings: string[] = [];
  if (settingsOf(input).length > 0 && !has(SYSCTL_PROGRAMS)) {
    warnings.push("The image has no program that applies sysctl settings at boot; those of the manifest do nothing");
  }
  const modules = modulesOf(input);
  if (modules.length > 0 && !has(MODULES_PROGRAMS)) {
    warnings.push("The image has no program that loads modules at boot; those of the manifest are not loaded");
  }
  return [...warnings, ...missingModules(input, modules)];
}

/** Only where the image has the kernel's lists: modules.dep(5), modules.builtin and modules.alias of depmod(8). */
function missingModules({ facts, root }: GenerationInput, modules: readonly string[]): string[] {
  if (modules.length === 0) return [];
  const releases = [...new Set(facts.kernels.flatMap((kernel) => kernel.release ?? []))];
  return releases.flatMap((release) => {
    const list = (name: string) => moduleList(root, `/lib/modules/${release}/modules.${name}`);
    const loadable = list("dep");
    if (loadable === undefined) return [];
    const files = `${loadable}\n${list("builtin") ?? ""}`;
    const withoutFile = modules.filter((name) => !new RegExp(`(^|/)${spellings(name)}\\.ko`, "m").test(files));
    const aliases = withoutFile.length === 0 ? "" : (list("alias") ?? "");
    const missing = withoutFile.filter((name) => !new RegExp(`^alias ${spellings(name)} `, "m").test(aliases));
    return missing.length === 0 ? [] : [`The image has no module ${missing.join(", ")} for its kernel ${release}`];
  });
}

function moduleList(root: ImageFiles, path: string): string | undefined {
  const bytes = root.readFile(path, MODULE_LIST_BYTES_MAX);
  return bytes && Buffer.from(bytes).toString("latin1");
}

/** For a regular expression: the kernel takes both signs for the same. */
function spellings(name: string): string {
  return name.replace(/[-_]/g, "[-_]");
}
