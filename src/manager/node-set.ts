/**
 * The nodes of the manifest with their plans and trees. A plan that changes while its node runs takes effect when the
 * node boots again: files must not change under a running system.
 */
import { createHash } from "node:crypto";
import type { ExportedTree } from "../boot/node-exports.ts";
import type { Report } from "../boot/report.ts";
import type { Ipv4 } from "../bytes/addresses.ts";
import type { ManifestNode } from "../cluster/manifest.ts";
import { type BootPlan, planNode } from "../cluster/plan.ts";
import type { FileSystemImage } from "../disk/file-system-image.ts";
import { Turns } from "../order/turns.ts";
import type { PlacedFile } from "../tree/placed-file.ts";
import type { TreeCatalog } from "../tree/tree-catalog.ts";
import { type StorageRules, TREE_KINDS, type TreeDescription, type TreeKind } from "../tree/tree-description.ts";
import type { NodeOpened, NodeOpening, NodeServing } from "./data-plane/messages.ts";
import type { Images, OpenedImage } from "./images.ts";
import type { LoadedManifest } from "./manifest-file.ts";
import { isSame, type PlanSurroundings, planSurroundings, withManagerKey } from "./plan-surroundings.ts";
import { RequestError } from "./request-error.ts";
import type { Secrets } from "./secrets.ts";
import { sharing } from "./shared-plan.ts";

export interface NodeSetOptions {
  catalog: TreeCatalog;
  /** Whoever serves the trees. */
  serving: NodeServing;
  /** A node's trees were opened for the first time in this run. */
  onOpened(node: string, opened: NodeOpened): void;
  images: Images;
  secrets: Secrets;
  report: Report;
  /** Ours, as the node reaches it. */
  serverAddressFor(node: ManifestNode): Ipv4;
  ports: { nfs: number; mount: number };
}

interface PlannedNode {
  plan: BootPlan;
  image: OpenedImage;
  /** Hash of what the plan was made from: the image and the manifest without its other nodes. */
  inputs: string;
  /** The files that these name, as they were. */
  sources: ReadonlyMap<string, Uint8Array | undefined>;
  /** The trees as they are served. */
  served: ServedNode;
  /** The trees still show an older plan, because the node may be running. */
  isOutdated: boolean;
}

interface ServedNode {
  opening: NodeOpening;
  image: OpenedImage;
}

export class NodeSet {
  readonly #options: NodeSetOptions;
  readonly #nodes = new Map<string, PlannedNode>();
  readonly #refusals = new Map<string, string>();
  readonly #beginnings = new Map<string, Promise<void>>();
  readonly #usedBytes = new Map<string, number>();
  /** What changes the trees of one node comes one after the other. */
  readonly #turns = new Turns<string>();
  #lastPlan: BootPlan | undefined;
  /** What is served, by tree id. */
  readonly served = new Map<number, ExportedTree>();

  constructor(options: NodeSetOptions) {
    this.#options = options;
  }

  plan(name: string): BootPlan | undefined {
    return this.#nodes.get(name)?.plan;
  }

  /** Paths of the plan at which the node's own changes stand instead. */
  async overriddenPaths(name: string): Promise<string[]> {
    return this.#nodes.has(name) ? this.#options.serving.overriddenPaths(name) : [];
  }

  /** Contents that the node itself has stored, as it was last told. */
  usedBytes(name: string): number {
    return this.#usedBytes.get(name) ?? 0;
  }

  noteUsedBytes(name: string, usedBytes: number): void {
    if (this.#nodes.has(name)) this.#usedBytes.set(name, usedBytes);
  }

  /**
   * Takes a manifest. A node that cannot be planned is reported and left as it was; the others go on. Of a thousand nodes
   * only those are planned anew whose plan can have changed.
   */
  async apply(loaded: LoadedManifest): Promise<void> {
    const manifest = withManagerKey(loaded.manifest, this.#options.secrets.managerPublicKey());
    const names = new Set(manifest.nodes.map((node) => node.name));
    for (const name of this.#nodes.keys()) if (!names.has(name)) await this.#forget(name);
    const surroundings = planSurroundings(manifest, loaded.resolvePath, this.#options.images);
    for (const node of manifest.nodes) await this.#applyOrReport(node, surroundings);
    this.#options.secrets.writeKnownHosts([...names]);
  }

  /** Takes a manifest that has this node more than the one before, at the cost of one node. */
  async add(loaded: LoadedManifest, node: ManifestNode): Promise<void> {
    const manifest = withManagerKey(loaded.manifest, this.#options.secrets.managerPublicKey());
    await this.#applyOrReport(node, planSurroundings(manifest, loaded.resolvePath, this.#options.images));
    this.#options.secrets.addKnownHost(node.name);
  }

  /** Why a node of the manifest could not be planned, or is still planned as it was before. */
  refusal(name: string): string | undefined {
    return this.#refusals.get(name);
  }

  async #applyOrReport(node: ManifestNode, surroundings: PlanSurroundings): Promise<void> {
    this.#refusals.delete(node.name);
    try {
      await this.#applyNode(node, surroundings);
    } catch (error) {
      const { message } = error as Error;
      this.#refusals.set(node.name, message);
      this.#options.report({ kind: "warning", message }, node.name);
    }
  }

  async #applyNode(
    node: ManifestNode,
    { manifest, sharedInputs, openImage, readSource }: PlanSurroundings,
  ): Promise<void> {
    const reference = node.image ?? manifest.image;
    if (!reference) throw new Error(`Cannot boot ${node.name}: neither the node nor the manifest names an image`);
    const image = await openImage(reference);
    const known = this.#nodes.get(node.name);
    const inputs = createHash("sha256")
      .update(`${image.contentSha256} ${JSON.stringify(node)} ${sharedInputs}`)
      .digest("base64");
    if (known?.inputs === inputs && [...known.sources].every(([path, was]) => isSame(was, readSource(path)))) return;

    if (known) this.#checkMove(known, image);

    const { report, secrets, serverAddressFor, ports } = this.#options;
    const sources = new Map<string, Uint8Array | undefined>();
    const made = planNode(manifest, node, image, {
      serverAddress: serverAddressFor(node),
      ports,
      secrets: secrets.forNode(node.name),
      readSource: (path) => {
        sources.set(path, readSource(path));
        return sources.get(path);
      },
    });
    const plan = sharing(made, this.#lastPlan);
    this.#lastPlan = plan;
    const alreadySaid = new Set(known && [...known.plan.problems, ...known.plan.warnings]);
    const { problems, warnings } = plan;
    if (problems.length + warnings.length + alreadySaid.size > 0) {
      report({ kind: "planned", problems, warnings }, node.name);
    }
    for (const message of [...problems, ...warnings]) {
      if (!alreadySaid.has(message)) report({ kind: "warning", message }, node.name);
    }
    if (known) {
      known.isOutdated ||= known.image.contentSha256 !== image.contentSha256 || !isSamePlan(known.plan, plan);
      Object.assign(known, { plan, image, inputs, sources });
    } else {
      const served = { opening: await this.#describe(plan, image), image };
      this.#options.onOpened(node.name, await this.#open(served));
      this.#nodes.set(plan.node, { served, plan, image, inputs, sources, isOutdated: false });
    }
  }

  /** What a node has written means nothing over another image. Asked again when it boots: it may have written since. */
  #checkMove({ plan, served: { image } }: Pick<PlannedNode, "plan" | "served">, next: OpenedImage): void {
    if (image.contentSha256 === next.contentSha256) return;
    if (plan.rootMode !== "persistent" || !this.#options.catalog.hasNodeLayer(plan.node)) return;
    throw new Error(
      `Cannot move ${plan.node} to image ${next.name}: what it has written belongs to ${image.name}; ` +
        `go back to that image, or drop what was written with: bramble nodes reset ${plan.node}`,
    );
  }

  /** The trees that the plan wants, made where they are new. */
  #describe(plan: BootPlan, image: OpenedImage): Promise<NodeOpening> {
    const filesFor = (kind: TreeKind) => plan.files.filter((file) => file.tree === kind);
    return this.#describeWith(plan.node, image, plan.storage, filesFor);
  }

  /** The trees of a node that is served, over the same generated files and by the same rules as before. */
  #describeAgain({ opening, image }: ServedNode): Promise<NodeOpening> {
    const generated = new Map(opening.trees.map(({ kind, generated }) => [kind, generated.files]));
    return this.#describeWith(opening.node, image, opening.trees[0]!.rules, (kind) => generated.get(kind) ?? []);
  }

  async #describeWith(
    node: string,
    image: OpenedImage,
    rules: StorageRules,
    generatedFor: (kind: TreeKind) => readonly PlacedFile[],
  ): Promise<NodeOpening> {
    const { contentSha256: imageId, path: imagePath, disk } = image;
    const describe = (kind: TreeKind): Promise<TreeDescription> =>
      this.#options.catalog.tree({ node, kind, image: disk[kind], imageId, generated: generatedFor(kind), rules });
    return { node, imageId, imagePath, trees: await Promise.all(TREE_KINDS.map(describe)) };
  }

  async #open({ opening, image }: ServedNode): Promise<NodeOpened> {
    const opened = await this.#options.serving.open(opening);
    for (const { node, kind, treeId, epoch } of opening.trees) {
      this.served.set(treeId, { node, kind, treeId, volume: { rootId: image.disk[kind].rootId, epoch } });
    }
    this.#usedBytes.set(opening.node, opened.usedBytes);
    return opened;
  }

  async #forget(name: string): Promise<void> {
    this.#refusals.delete(name);
    if (!this.#nodes.delete(name)) return;
    const warn = ({ message }: Error) => this.#options.report({ kind: "warning", message }, name);
    await this.#turns.run(name, () => this.#options.serving.forget(name)).catch(warn);
    // After its turn: a change that was under way has served the node once more.
    this.#usedBytes.delete(name);
    for (const [treeId, { node }] of this.served) if (node === name) this.served.delete(treeId);
  }

  /**
   * Changes what a node's trees are made of while nobody uses them; the node's calls wait. `change` answers what is to be
   * served then. With `abandon`, what the node wrote and was not promised is dropped. Rejects with the trees as they were.
   */
  async #restructure(
    node: PlannedNode,
    { abandon }: { abandon: boolean },
    change: () => Promise<ServedNode>,
  ): Promise<{ usedBytes: number }> {
    const name = node.plan.node;
    const isGone = this.#nodes.get(name) !== node;
    if (isGone) {
      throw new RequestError(409, `Cannot change the trees of ${name}: it has been taken out of the manifest`);
    }
    const released = await this.#options.serving.release(name, { abandon });
    try {
      node.served = await change();
    } finally {
      await this.#open(node.served);
    }
    return released;
  }

  /** Changes the layers of these nodes while their trees are not used. Rejects with what `change` rejects with. */
  changeLayers(names: readonly string[], how: { abandon: boolean }, change: () => Promise<void>): Promise<void> {
    // Always in the same order, so that two who want the same nodes do not wait for each other.
    const [name, ...others] = [...names].sort();
    if (name === undefined) return change();
    const node = this.#nodes.get(name);
    if (node === undefined) return this.changeLayers(others, how, change);
    return this.#turns.run(name, async () => {
      await this.#restructure(node, how, async () => {
        await this.changeLayers(others, how, change);
        return { ...node.served, opening: await this.#describeAgain(node.served) };
      });
    });
  }

  /** The trees of a node as they are served. */
  treesOf(name: string): { description: TreeDescription; image: FileSystemImage }[] {
    const served = this.#nodes.get(name)?.served;
    return (served?.opening.trees ?? []).map((description) => ({
      description,
      image: served!.image.disk[description.kind],
    }));
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

  #begin(name: string, node: PlannedNode): Promise<void> {
    return this.#turns.run(name, async () => {
      const { plan, image } = node;
      const isDropped = plan.rootMode !== "persistent";
      await this.#restructure(node, { abandon: isDropped }, async () => {
        if (isDropped) await this.#options.catalog.dropNodeLayer(name);
        this.#checkMove({ plan, served: node.served }, image);
        const opening = node.isOutdated ? await this.#describe(plan, image) : await this.#describeAgain(node.served);
        return { opening, image: node.isOutdated ? image : node.served.image };
      });
      node.isOutdated = node.plan !== plan;
    });
  }

  /** Drops what the node wrote. Its open files become stale, so it must boot again. */
  async reset(name: string): Promise<{ droppedBytes: number }> {
    const node = this.#nodes.get(name);
    if (!node) return { droppedBytes: 0 };
    const { usedBytes } = await this.#turns.run(name, () =>
      this.#restructure(node, { abandon: true }, async () => {
        await this.#options.catalog.dropNodeLayer(name);
        return { ...node.served, opening: await this.#describeAgain(node.served) };
      }),
    );
    this.#options.report({ kind: "reset" }, name);
    return { droppedBytes: usedBytes };
  }
}

function isSamePlan(a: BootPlan, b: BootPlan): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
