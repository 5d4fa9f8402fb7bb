import { existsSync } from "node:fs";
import { type Command, InvalidArgumentError } from "commander";
import type { ImageFacts } from "../../cluster/image-facts.ts";
import type { StoredImage } from "../../manager/image-metadata.ts";
import type { ImageStore, ImportProgress } from "../../manager/image-store.ts";
import { stateFolderAt, stateFolderOf } from "../../manager/state-folder.ts";
import { globalOptions, loadManifestOf, printJson } from "../context.ts";
import { formatBytes, formatTable, progressBar } from "../table.ts";
import { UserError } from "../user-error.ts";

interface ImportFlags {
  sha256?: string;
  name?: string;
  refresh?: boolean;
}

export function addImageCommands(bramble: Command): void {
  const image = bramble.command("image").description("import, list, inspect and remove OS images");
  image
    .command("import <source>")
    .description("take in an image: a path or a URL of .img, .img.xz, .img.gz, .img.zst or .zip")
    .option("--sha256 <digits>", "refuse it unless this is its checksum", sha256Digits)
    .option("--name <name>", "call it this instead of its file name")
    .option("--refresh", "ask the server again for a URL that was imported before")
    .action(async (source: string, options: ImportFlags, command: Command) => {
      const store = await storeOf(command);
      const imported = await store.import(source, {
        ...(options.sha256 && { expectedSha256: options.sha256 }),
        ...(options.name && { name: options.name }),
        ...(options.refresh && { refresh: true }),
        ...(process.stderr.isTTY && { onProgress: showProgress }),
      });
      if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");
      if (globalOptions(command).json) printJson(imported);
      else console.log(`${imported.name}: ${formatBytes(imported.sizeBytes)}, sha256 ${imported.containerSha256}`);
      // It may be kept, but nobody should learn only at "bramble up" that it is of no use.
      const problems = await problemsOf(await factsOf(store, imported));
      for (const problem of problems) console.error(`bramble: ${problem}`);
    });
  image
    .command("list", { isDefault: true })
    .description("the images that are here")
    .action(async (_, command: Command) => {
      const images = await (await storeOf(command)).list();
      if (globalOptions(command).json) printJson(images);
      else console.log(imageTable(images));
    });
  image
    .command("inspect <image>")
    .description("what an image holds: system, kernels, device trees, models it boots")
    .action(async (reference: string, _, command: Command) => {
      const store = await storeOf(command);
      const stored = await store.obtain(reference);
      const facts = await factsOf(store, stored);
      const problems = await problemsOf(facts);
      if (globalOptions(command).json) printJson({ ...stored, facts });
      else console.log(describeFacts(stored, facts, problems));
    });
  image
    .command("remove <image>")
    .description("delete an image that no node of the manifest uses")
    .action(async (reference: string, _, command: Command) => {
      const store = await storeOf(command);
      const found = await store.find(reference);
      const user = found && (await userOf(found, command));
      if (user) throw new UserError(`Cannot remove image ${reference}: ${user} uses it`);
      const removed = await store.remove(reference);
      console.log(`Removed ${removed.name}`);
    });
}

/** The images lie in the state folder; a command that needs only them also works where there is no manifest. */
async function storeOf(command: Command): Promise<ImageStore> {
  const { manifest, state } = globalOptions(command);
  const stateDir = state ?? (existsSync(manifest) ? stateFolderAt(manifest) : stateFolderOf(undefined, (path) => path));
  const { ImageStore } = await import("../../manager/image-store.ts");
  return new ImageStore({ stateDir });
}

async function factsOf(store: ImageStore, stored: StoredImage): Promise<ImageFacts> {
  const { readImageFacts } = await import("../../cluster/image-facts.ts");
  const { imageFiles } = await import("../../disk/image-files.ts");
  const opened = store.open(stored);
  try {
    return readImageFacts(imageFiles(opened.boot), imageFiles(opened.root));
  } finally {
    opened.close();
  }
}

async function problemsOf(facts: ImageFacts): Promise<string[]> {
  const { imageProblems } = await import("../../cluster/image-facts.ts");
  return imageProblems(facts);
}

async function userOf(image: StoredImage, command: Command): Promise<string | undefined> {
  if (!existsSync(globalOptions(command).manifest)) return undefined;
  // One that is wrong cannot be asked: better refuse than delete what a running cluster boots from.
  const { manifest, resolvePath } = await loadManifestOf(command);
  const names = new Set([image.name, image.source, image.contentSha256, image.containerSha256]);
  const uses = (reference: string | undefined) =>
    reference !== undefined && (names.has(reference) || names.has(resolvePath(reference)));
  if (uses(manifest.image?.source)) return "the manifest";
  return manifest.nodes.find((node) => uses(node.image?.source))?.name;
}

function sha256Digits(text: string): string {
  if (!/^[0-9a-f]{64}$/i.test(text)) throw new InvalidArgumentError("Expected 64 hex digits");
  return text;
}

function showProgress({ phase, doneBytes, totalBytes }: ImportProgress): void {
  const bar = totalBytes ? `${progressBar(doneBytes / totalBytes, 24)} of ${formatBytes(totalBytes)}` : "";
  process.stderr.write(`\r\u001b[K${phase} ${formatBytes(doneBytes)} ${bar}`);
}

function imageTable(images: readonly StoredImage[]): string {
  if (images.length === 0) return 'No images yet: take one in with "bramble image import <path or URL>"';
  const rows = images.map((image) => [
    image.name,
    formatBytes(image.sizeBytes),
    image.containerSha256.slice(0, 12),
    image.importedAt.slice(0, 16).replace("T", " "),
    image.source,
  ]);
  return formatTable(["NAME", "SIZE", "SHA256", "IMPORTED", "FROM"], rows);
}

function describeFacts(image: StoredImage, facts: ImageFacts, problems: readonly string[]): string {
  const kernels = facts.kernels.map((kernel) => [
    kernel.file,
    kernel.release ?? "?",
    kernel.missingForNfsRoot === undefined
      ? "unknown: its configuration is not in the image"
      : kernel.missingForNfsRoot.length === 0
        ? "by itself"
        : `with an initramfs (lacks ${kernel.missingForNfsRoot.join(", ")})`,
  ]);
  return [
    `${image.name}  ${formatBytes(image.sizeBytes)}  sha256 ${image.containerSha256}`,
    `system        ${facts.os.name} (${facts.flavour}), ${facts.architecture}, init ${facts.init}`,
    ...problems.map((problem) => `PROBLEM       ${problem}`),
    `boots on      ${facts.models.join(", ") || "no Raspberry Pi model"}`,
    `device trees  ${facts.deviceTrees.length}; boot files at ${facts.bootMountPoint}`,
    `ssh           ${facts.sshServer}; network ${facts.networkManagers.join(", ") || "unmanaged"}`,
    `cmdline.txt   ${facts.commandLine}`,
    "",
    formatTable(["KERNEL", "RELEASE", "ROOT OVER NFS"], kernels),
  ].join("\n");
}
