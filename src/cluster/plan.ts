/**
 * A node's boot as pure data: computed from the manifest, the image and what the manager keeps about the node; what the
 * servers answer and what `bramble plan` prints.
 */
import type { Ipv4, Mac } from "../bytes/addresses.ts";
import { KERNEL_COMMAND_LINE_BYTES_MAX } from "../limits.ts";
import { type BootLane, MEMORY_CGROUP_WORDS, patchCommandLine } from "../pi/cmdline.ts";
import { type BootFiles, evaluateConfigTxt } from "../pi/config-txt.ts";
import {
  dropInitramfsLines,
  type InitramfsChange,
  type PatchedConfigTxt,
  patchConfigTxt,
} from "../pi/config-txt-patch.ts";
import { EEPROM_UPDATE_FILES } from "../pi/eeprom-files.ts";
import { PI_MODELS, type PiModel } from "../pi/models.ts";
import { decideLane, type LaneDecision } from "./boot-lane.ts";
import { type ContainerStorage, containerStorageOf } from "./container-storage.ts";
import { bootExport, rootExport } from "./export-paths.ts";
import {
  type GenerationInput,
  generateRoot,
  logsOf,
  packagesOf,
  RAM_ROOT_INIT,
  ramRootProblems,
  swapOf,
} from "./generated/index.ts";
import type { GeneratedFile, ImageFiles } from "./generated-file.ts";
import { bootFiles, type ImageFacts, imageProblems } from "./image-facts.ts";
import type { Manifest, ManifestNode, RootMode } from "./manifest.ts";
import { kubernetesWarnings } from "./manifest-kubernetes.ts";
import type { LogsWish } from "./manifest-logs.ts";
import type { SwapWish } from "./manifest-swap.ts";
import { CONFIG_TXT_NOT_ASCII, CONFIG_TXT_TOO_LONG } from "./plan-wording.ts";
import type { NodeSecrets } from "./ssh-keys.ts";

/** The image a node boots from, opened. */
export interface PlanImage {
  name: string;
  facts: ImageFacts;
  boot: ImageFiles;
  root: ImageFiles;
}

export interface PlanContext {
  /** The manager's address on the nodes' network. */
  serverAddress: Ipv4;
  /** The ports the services really have. */
  ports: { nfs: number; mount: number };
  secrets: NodeSecrets;
  /** A file on the manager that the manifest names (key, file source); `undefined` when it is gone. */
  readSource: (path: string) => Uint8Array | undefined;
}

/** What the firmware of one model will ask for. Paths are relative to the boot tree. */
export interface BoardPlan {
  model: string;
  kernel: string;
  initramfs: string[];
  deviceTree?: string;
  commandLineFile: string;
}

/** What the node is promised of its storage, and how much of it. */
export interface StoragePlan {
  durability: Manifest["durability"];
  quotaBytes?: number;
}

export interface BootPlan {
  node: string;
  identity: { mac?: Mac; serial?: string; model?: string; machineId: string; sshHostKey: string };
  image: string;
  rootMode: RootMode;
  storage: StoragePlan;
  /** A file system for containers; absent when the manifest wants none. */
  containerStorage?: ContainerStorage;
  /** Absent: as the image has them. */
  logs?: LogsWish;
  swap?: SwapWish;
  /** What is installed by the node itself where it is missing. */
  packages?: string[];
  dhcp: { mode: Manifest["network"]["dhcp"]; address?: Ipv4; bootServer: Ipv4 };
  lane: BootLane;
  commandLine: string;
  /** For the node's model, or for every model the image can boot when the manifest does not name it. */
  boards: BoardPlan[];
  exports: { root: string; boot: string };
  /** What answers `bramble ssh`. */
  sshServer: ImageFacts["sshServer"];
  /** Both trees, sorted by tree and path. */
  files: GeneratedFile[];
  /** Names that TFTP never serves; `isEepromUpdateFile` decides. */
  blockedBootFiles: readonly string[];
  /** Why the node will not boot; empty in a good plan. */
  problems: string[];
  warnings: string[];
}

export function planNode(manifest: Manifest, node: ManifestNode, image: PlanImage, context: PlanContext): BootPlan {
  const { facts } = image;
  const models = PI_MODELS.filter((model) => (node.model ? model.id === node.model : facts.models.includes(model.id)));
  const files = bootFiles(image.boot);
  const extraLines = extraConfigLines(manifest, node);
  const withExtraLines = overlay(files, new Map([["config.txt", configTxt(files, "keep", extraLines).text]]));
  const decision = decideLane(models, facts.kernels, withExtraLines, extraLines, node.serial);
  const boot = bootTreeFiles(manifest, node, models, files, decision, context);
  const boards = models.map((model) => boardPlan(boot.patched, model, node.serial));
  const rootMode = node.root ?? manifest.root;
  const containerStorage = containerStorageOf(manifest, node);
  const [logs, swap] = [logsOf({ manifest, node }), swapOf({ manifest, node })];
  const packages = packagesOf({ manifest, node });
  const input: GenerationInput = { manifest, node, rootMode, facts, root: image.root, ...context };
  const root = generateRoot(input);
  return {
    node: node.name,
    identity: {
      ...(node.mac && { mac: node.mac }),
      ...(node.serial && { serial: node.serial }),
      ...(node.model && { model: node.model }),
      machineId: context.secrets.machineId,
      sshHostKey: context.secrets.sshHostKey.publicKey,
    },
    image: image.name,
    rootMode,
    storage: storageRules(manifest, node),
    ...(containerStorage && { containerStorage }),
    ...(logs && { logs }),
    ...(swap && { swap }),
    ...(packages.length > 0 && { packages }),
    dhcp: {
      mode: manifest.network.dhcp,
      ...(node.address && { address: node.address }),
      bootServer: context.serverAddress,
    },
    lane: decision.lane,
    commandLine: boot.commandLine,
    boards,
    exports: { root: rootExport(node.name), boot: bootExport(node.name) },
    sshServer: facts.sshServer,
    files: [...boot.placed, ...root.files],
    blockedBootFiles: EEPROM_UPDATE_FILES,
    problems: [
      ...imageProblems(facts),
      ...missingFiles(models, boards, boot.patched),
      ...decision.problems,
      ...boot.problems,
      ...ramRootProblems(input),
    ],
    warnings: [...decision.warnings, ...boot.warnings, ...root.warnings, ...kubernetesWarnings(manifest, node)],
  };
}

function storageRules(manifest: Manifest, node: ManifestNode): StoragePlan {
  const quotaBytes = node.quota ?? manifest.quota;
  return { durability: node.durability ?? manifest.durability, ...(quotaBytes !== undefined && { quotaBytes }) };
}

const BOOT_REASON = "boot over the network";

interface BootTree {
  placed: GeneratedFile[];
  /** The image's boot files with the placed ones over them. */
  patched: BootFiles;
  commandLine: string;
  problems: string[];
  warnings: string[];
}

function bootTreeFiles(
  manifest: Manifest,
  node: ManifestNode,
  models: readonly PiModel[],
  files: BootFiles,
  decision: LaneDecision,
  context: PlanContext,
): BootTree {
  const config = configTxt(files, decision.initramfs, extraConfigLines(manifest, node));
  const texts = new Map([["config.txt", config.text]]);
  if (decision.initramfs === "drop") {
    const read = models.flatMap((model) => evaluateConfigTxt(files, board(model, node.serial)).configFiles);
    for (const path of new Set(read)) {
      if (path !== "config.txt") texts.set(path, dropInitramfsLines(textOf(files, path)));
    }
  }

  const root = {
    lane: decision.lane,
    server: context.serverAddress,
    path: rootExport(node.name),
    nfsPort: context.ports.nfs,
    mountPort: context.ports.mount,
    ...((node.root ?? manifest.root) === "ram" && { firstProgram: RAM_ROOT_INIT }),
  };
  const cgroups = node.cgroups ?? manifest.cgroups ?? (manifest.orchestrator ? "memory" : "none");
  const containerWords = cgroups === "memory" ? MEMORY_CGROUP_WORDS : [];
  const extraWords = [...containerWords, ...manifest.cmdline, ...node.cmdline];
  const patched = overlay(files, texts);
  const lineFiles = new Set(
    models.map((model) => evaluateConfigTxt(patched, board(model, node.serial)).commandLineFile),
  );
  const commandLines = (lineFiles.size > 0 ? [...lineFiles] : ["cmdline.txt"]).map((path) => {
    const line = patchCommandLine(textOf(files, path), root, extraWords);
    texts.set(path, `${line}\n`);
    return line;
  });
  return {
    placed: [...texts]
      .filter(([path, text]) => text !== textOf(files, path))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([path, text]) => bootFile(path, text)),
    patched,
    commandLine: commandLines[0]!,
    problems: [...new Set(commandLines.flatMap(commandLineProblems))],
    warnings: [
      ...config.hiddenLines.map((line) => `${CONFIG_TXT_TOO_LONG}: the firmware will not read "${line}"`),
      ...(/[^\0-\x7f]/.test(config.text)
        ? [`${CONFIG_TXT_NOT_ASCII}: the firmware may read nothing behind the first of them`]
        : []),
    ],
  };
}

/** A section that the lines for all nodes end in does not hold for those of the node. */
function extraConfigLines(manifest: Manifest, node: ManifestNode): string[] {
  const endsInSection = manifest.config.some((line) => line.trimStart().startsWith("["));
  return [...manifest.config, ...(endsInSection && node.config.length > 0 ? ["[all]"] : []), ...node.config];
}

function configTxt(files: BootFiles, initramfs: InitramfsChange, extraLines: readonly string[]): PatchedConfigTxt {
  return patchConfigTxt(textOf(files, "config.txt"), { initramfs, extraLines });
}

function commandLineProblems(line: string): string[] {
  const problems: string[] = [];
  if (line.length > KERNEL_COMMAND_LINE_BYTES_MAX) {
    problems.push(
      `Cannot build the kernel command line: it has ${line.length} bytes, and the kernel reads ${KERNEL_COMMAND_LINE_BYTES_MAX}`,
    );
  }
  if (/[^\x20-\x7e]/.test(line))
    problems.push("Cannot build the kernel command line: the image's cmdline.txt holds bytes that are not ASCII");
  return problems;
}

function missingFiles(models: readonly PiModel[], boards: readonly BoardPlan[], files: BootFiles): string[] {
  return models.flatMap((model, index) => {
    const { kernel, deviceTree, initramfs } = boards[index]!;
    const needed = [...model.firmwareFiles, ...(deviceTree ? [deviceTree] : []), kernel, ...initramfs];
    const missing = needed.filter((path) => !files.exists(path));
    return missing.length === 0 ? [] : [`Cannot boot ${model.name}: the image has no ${missing.join(", ")}`];
  });
}

function boardPlan(files: BootFiles, model: PiModel, serial: string | undefined): BoardPlan {
  const { kernel, initramfs, deviceTree, commandLineFile } = evaluateConfigTxt(files, board(model, serial));
  return { model: model.id, kernel, initramfs, ...(deviceTree && { deviceTree }), commandLineFile };
}

function board(model: PiModel, serial: string | undefined) {
  return { model, ...(serial && { serial }) };
}

function overlay(files: BootFiles, texts: ReadonlyMap<string, string>): BootFiles {
  return {
    read: (path) => (texts.has(path) ? Buffer.from(texts.get(path)!) : files.read(path)),
    exists: (path) => texts.has(path) || files.exists(path),
  };
}

function bootFile(path: string, text: string): GeneratedFile {
  const content = Buffer.from(text, "latin1");
  return { tree: "boot", kind: "file", path: `/${path}`, content, mode: 0o755, uid: 0, gid: 0, reason: BOOT_REASON };
}

/** One character for each byte, so that nothing is lost on the way to ASCII. */
function textOf(files: BootFiles, path: string): string {
  return Buffer.from(files.read(path) ?? []).toString("latin1");
}
