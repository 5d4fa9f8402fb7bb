/**
 * The nodes of the manifest with their plans and trees. A plan that changes while its node runs takes effect when the
 * node boots again: files must not change under a running system.
 */
import { existsSync, readFileSync } from "node:fs";
import type { ServedTree } from "../boot/node-exports.ts";
import type { Report } from "../boot/report.ts";
import type { BootTrees } from "../boot/tftp-files.ts";
import type { Ipv4 } from "../bytes/addresses.ts";
import type { TreeKind } from "../cluster/generated-file.ts";
import type { ImageReference, Manifest, ManifestNode } from "../cluster/manifest.ts";
import { type BootPlan, planNode } from "../cluster/plan.ts";
import { isEepromUpdateFile } from "../pi/eeprom-files.ts";
import type { Tree } from "../tree/tree.ts";
import type { TreeStore } from "../tree/tree-store.ts";
import type { Images, OpenedImage } from "./images.ts";
import type { LoadedManifest } from "./manifest-file.ts";
import type { Secrets } from "./secrets.ts";

export interface NodeSetOptions {
  trees: TreeStore;
  images: Images;
  secrets: Secrets;
  report: Report;
  serverAddress: Ipv4;
  ports: { nfs: number; mount: number };
}

interface PlannedNode {
  plan: BootPlan;
  image: OpenedImage;
  /** What the plan was made from: the image, the manifest without its other nodes, and the files that they name. */
  inputs: string;
  sources: ReadonlyMap<string, Uint8Array | undefined>;
  boot: Tree;
  root: Tree;
  /** The trees still show an older plan, because the node may be running. */
  isOutdated: boolean;
}

/** What the nodes of a manifest share while it is applied; images and files are read once for all of them. */
interface Surroundings {
  manifest: Manifest;
  /** The manifest without its nodes, as JSON. */
  sharedInputs: string;
  openImage(reference: ImageReference): Promise<OpenedImage>;
  readSource(path: string): Uint8Array | undefined;
}

export class NodeSet {
  readonly #options: NodeSetOptions;
  readonly #nodes = new Map<string, PlannedNode>();
  readonly #refusals = new Map<string, string>();
  readonly #beginnings = new Map<string, Promise<void>>();
  /** What NFS serves, by tree id. */
  readonly served = new Map<number, ServedTree>();

  constructor(options: NodeSetOptions) {
    this.#options = options;
  }

  plan(name: string): BootPlan | undefined {
    return this.#nodes.get(name)?.plan;
  }

  rootTree(name: string): Tree | undefined {
    return this.#nodes.get(name)?.root;
  }

  /** Paths of the plan at which the node's own changes stand instead. */
  overriddenPaths(name: string): string[] {
    const node = this.#nodes.get(name);
    return node ? [...node.boot.overriddenGeneratedPaths(), ...node.root.overriddenGeneratedPaths()] : [];
  }

  usedBytes(name: string): number {
    const node = this.#nodes.get(name);
    return node ? node.boot.usedBytes() + node.root.usedBytes() : 0;
  }

  /**
   * Takes a manifest. A node that cannot be planned is reported and left as it was; the others go on. Of a thousand nodes
   * only those are planned anew whose plan can have changed.
   */
  async apply(loaded: LoadedManifest): Promise<void> {
    const manifest = withManagerKey(loaded.manifest, this.#options.secrets.managerPublicKey());
    const names = new Set(manifest.nodes.map((node) => node.name));
    for (const name of this.#nodes.keys()) if (!names.has(name)) this.#forget(name);
    const surroundings = this.#surroundings(manifest, loaded.resolvePath);
    for (const node of manifest.nodes) await this.#applyOrReport(node, surroundings);
    this.#options.secrets.writeKnownHosts([...names]);
  }

  /** Takes a manifest that has this node more than the one before, at the cost of one node. */
  async add(loaded: LoadedManifest, node: ManifestNode): Promise<void> {
    const manifest = withManagerKey(loaded.manifest, this.#options.secrets.managerPublicKey());
    await this.#applyOrReport(node, this.#surroundings(manifest, loaded.resolvePath));
    this.#options.secrets.addKnownHost(node.name);
  }

  /** Why a node of the manifest could not be planned, or is still planned as it was before. */
  refusal(name: string): string | undefined {
    return this.#refusals.get(name);
  }

  async #applyOrReport(node: ManifestNode, surroundings: Surroundings): Promise<void> {
    this.#refusals.delete(node.name);
    try {
      await this.#applyNode(node, surroundings);
    } catch (error) {
      const { message } = error as Error;
      this.#refusals.set(node.name, message);
      this.#options.report({ kind: "warning", message }, node.name);
    }
  }

  #surroundings(manifest: Manifest, resolvePath: (path: string) => string): Surroundings {
    return {
      manifest,
      sharedInputs: JSON.stringify({ ...manifest, nodes: [] }),
      openImage: remember(
        (reference) => this.#options.images.open(reference, resolvePath, () => {}),
        (reference) => JSON.stringify(reference),
      ),
      readSource: remember(
        (path) => readIfPresent(resolvePath(path)),
        (path) => path,
      ),
    };
  }

  async #applyNode(node: ManifestNode, { manifest, sharedInputs, openImage, readSource }: Surroundings): Promise<void> {
    const reference = node.image ?? manifest.image;
    if (!reference) throw new Error(`Cannot boot ${node.name}: neither the node nor the manifest names an image`);
    const image = await openImage(reference);
    const known = this.#nodes.get(node.name);
    const inputs = `${image.contentSha256} ${JSON.stringify(node)} ${sharedInputs}`;
    if (known?.inputs === inputs && [...known.sources].every(([path, was]) => isSame(was, readSource(path)))) return;

    const isMoved = known !== undefined && known.image.contentSha256 !== image.contentSha256;
    if (isMoved) this.#checkMove(known, image);

    const { report, secrets, serverAddress, ports } = this.#options;
    const sources = new Map<string, Uint8Array | undefined>();
    const plan = planNode(manifest, node, image, {
      serverAddress,
      ports,
      secrets: secrets.forNode(node.name),
      readSource: (path) => {
        sources.set(path, readSource(path));
        return sources.get(path);
      },
    });
    const alreadySaid = new Set(known && [...known.plan.problems, ...known.plan.warnings]);
    for (const message of [...plan.problems, ...plan.warnings]) {
      if (!alreadySaid.has(message)) report({ kind: "warning", message }, node.name);
    }
    if (known) {
      known.isOutdated ||= isMoved || !isSamePlan(known.plan, plan);
      Object.assign(known, { plan, image, inputs, sources });
    } else {
      const trees = await this.#open(plan, image);
      this.#nodes.set(plan.node, { ...trees, plan, image, inputs, sources, isOutdated: false });
    }
  }

  /** What a node has written means nothing over another image. */
  #checkMove({ plan, image }: PlannedNode, next: OpenedImage): void {
    if (plan.rootMode !== "persistent" || !this.#options.trees.hasNodeLayer(plan.node)) return;
    throw new Error(
      `Cannot move ${plan.node} to image ${next.name}: what it has written belongs to ${image.name}; ` +
        `go back to that image, or drop what was written with: bramble nodes reset ${plan.node}`,
    );
  }

  async #open(plan: BootPlan, image: OpenedImage): Promise<{ boot: Tree; root: Tree }> {
    const [boot, root] = await Promise.all([this.#tree(plan, image, "boot"), this.#tree(plan, image, "root")]);
    for (const [kind, volume] of [["boot", boot] as const, ["root", root] as const]) {
      this.served.set(volume.treeId, { node: plan.node, kind, treeId: volume.treeId, volume });
    }
    return { boot, root };
  }

  /** The tree as the plan wants it; an open one goes on as the same object. */
  #tree(plan: BootPlan, image: OpenedImage, kind: TreeKind): Promise<Tree> {
    const generated = plan.files.filter((file) => file.tree === kind);
    const { contentSha256: imageId, disk } = image;
    return this.#options.trees.tree({ node: plan.node, kind, image: disk[kind], imageId, generated });
  }

  #forget(name: string): void {
    this.#refusals.delete(name);
    const node = this.#nodes.get(name);
    if (!node) return;
    this.served.delete(node.boot.treeId);
    this.served.delete(node.root.treeId);
    this.#nodes.delete(name);
  }

  /**
   * The node is starting from nothing: now is the moment for a changed plan, and for a root that is not kept to go. Must
   * be over before the node mounts its root; `undefined` when there is nothing to do.
   */
  beginBoot(name: string): Promise<void> | undefined {
    const node = this.#nodes.get(name);
    if (!node || (node.plan.rootMode === "persistent" && !node.isOutdated)) return undefined;
    // Firmware repeats itself, and one beginning is enough.
    const running = this.#beginnings.get(name) ?? this.#begin(name, node).finally(() => this.#beginnings.delete(name));
    this.#beginnings.set(name, running);
    return running;
  }

  async #begin(name: string, node: PlannedNode): Promise<void> {
    const { plan, image } = node;
    if (plan.rootMode !== "persistent") await this.#options.trees.dropNodeLayer(name);
    if (!node.isOutdated) return;
    await this.#open(plan, image);
    node.isOutdated = node.plan !== plan;
  }

  /** Drops what the node wrote. Its open files become stale, so it must boot again. */
  async reset(name: string): Promise<{ droppedBytes: number }> {
    const droppedBytes = this.usedBytes(name);
    await this.#options.trees.dropNodeLayer(name);
    this.#options.report({ kind: "reset" }, name);
    return { droppedBytes };
  }

  /** The boot trees as TFTP needs them. */
  bootTrees(): BootTrees {
    return {
      open: (name, path) => {
        const tree = this.#nodes.get(name)?.boot;
        const file = tree?.fileByPath(`/${path}`);
        if (!tree || !file) return undefined;
        return {
          sizeBytes: file.sizeBytes,
          read: (target, offset) => tree.readSync(file.id, target, offset),
          close: () => {},
        };
      },
      blocked: (_, path) =>
        isEepromUpdateFile(path)
          ? "EEPROM updates are served only when a plan says so: the board would flash it"
          : undefined,
    };
  }
}

function remember<Key, Value>(read: (key: Key) => Value, nameOf: (key: Key) => string): (key: Key) => Value {
  const known = new Map<string, Value>();
  return (key) => {
    const name = nameOf(key);
    if (!known.has(name)) known.set(name, read(key));
    return known.get(name)!;
  };
}

function isSame(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  return one === undefined || other === undefined ? one === other : Buffer.compare(one, other) === 0;
}

function isSamePlan(a: BootPlan, b: BootPlan): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** `bramble ssh` logs in with the manager's key, whatever other keys the manifest names. */
function withManagerKey(manifest: Manifest, publicKey: string): Manifest {
  return {
    ...manifest,
    access: { ...manifest.access, authorizedKeys: [...manifest.access.authorizedKeys, publicKey] },
  };
}

function readIfPresent(path: string): Uint8Array | undefined {
  return existsSync(path) ? readFileSync(path) : undefined;
}
