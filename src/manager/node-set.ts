/**
 * The nodes of the manifest with their plans and trees. A plan that changes while its node runs takes effect when the
 * node boots again: files must not change under a running system.
 */
import { existsSync, readFileSync } from "node:fs";
import type { ServedTree } from "../boot/node-exports.ts";
import type { Report } from "../boot/report.ts";
import type { BootTrees } from "../boot/tftp-files.ts";
import type { Ipv4 } from "../bytes/addresses.ts";
import type { GeneratedFile, TreeKind } from "../cluster/generated-file.ts";
import type { Manifest, ManifestNode } from "../cluster/manifest.ts";
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
  boot: Tree;
  root: Tree;
  /** The trees still show an older plan, because the node may be running. */
  isOutdated: boolean;
}

const TREE_KINDS: readonly TreeKind[] = ["boot", "root"];

export class NodeSet {
  readonly #options: NodeSetOptions;
  readonly #nodes = new Map<string, PlannedNode>();
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

  /** Takes a manifest. A node that cannot be planned is reported and left as it was; the others go on. */
  async apply(loaded: LoadedManifest): Promise<void> {
    const manifest = withManagerKey(loaded.manifest, this.#options.secrets.managerPublicKey());
    for (const name of this.#nodes.keys()) {
      if (!manifest.nodes.some((node) => node.name === name)) this.#forget(name);
    }
    for (const node of manifest.nodes) {
      try {
        await this.#applyNode(manifest, node, loaded);
      } catch (error) {
        this.#options.report({ kind: "warning", message: (error as Error).message }, node.name);
      }
    }
    this.#options.secrets.writeKnownHosts(manifest.nodes.map((node) => node.name));
  }

  async #applyNode(manifest: Manifest, node: ManifestNode, loaded: LoadedManifest): Promise<void> {
    const reference = node.image ?? manifest.image;
    if (!reference) throw new Error(`Cannot boot ${node.name}: neither the node nor the manifest names an image`);
    const { images, report, secrets, serverAddress, ports } = this.#options;
    const image = await images.open(reference, loaded.resolvePath, () => {});
    const plan = planNode(manifest, node, image, {
      serverAddress,
      ports,
      secrets: secrets.forNode(node.name),
      readSource: (path) => readIfPresent(loaded.resolvePath(path)),
    });
    const known = this.#nodes.get(node.name);
    const alreadySaid = new Set(known && [...known.plan.problems, ...known.plan.warnings]);
    for (const message of [...plan.problems, ...plan.warnings]) {
      if (!alreadySaid.has(message)) report({ kind: "warning", message }, node.name);
    }
    if (known) {
      known.isOutdated ||= !isSamePlan(known.plan, plan);
      known.plan = plan;
    } else {
      await this.#open(plan, image);
    }
  }

  async #open(plan: BootPlan, image: OpenedImage): Promise<void> {
    const [boot, root] = await Promise.all(
      TREE_KINDS.map((kind) =>
        this.#options.trees.tree({
          node: plan.node,
          kind,
          image: image.disk[kind],
          imageId: image.contentSha256,
          generated: filesOf(plan, kind),
        }),
      ),
    );
    if (!boot || !root) throw new Error(`Cannot open the trees of ${plan.node}`);
    this.#nodes.set(plan.node, { plan, boot, root, isOutdated: false });
    for (const [kind, volume] of [["boot", boot] as const, ["root", root] as const]) {
      this.served.set(volume.treeId, { node: plan.node, kind, treeId: volume.treeId, volume });
    }
  }

  #forget(name: string): void {
    const node = this.#nodes.get(name);
    if (!node) return;
    this.served.delete(node.boot.treeId);
    this.served.delete(node.root.treeId);
    this.#nodes.delete(name);
  }

  /**
   * The node is starting from nothing: now is the moment for a changed plan, and for an ephemeral root to go. Must be
   * over before the node mounts its root; `undefined` when there is nothing to do.
   */
  beginBoot(name: string): Promise<void> | undefined {
    const node = this.#nodes.get(name);
    if (!node || (node.plan.rootMode !== "ephemeral" && !node.isOutdated)) return undefined;
    // Firmware repeats itself, and one beginning is enough.
    const running = this.#beginnings.get(name) ?? this.#begin(name, node).finally(() => this.#beginnings.delete(name));
    this.#beginnings.set(name, running);
    return running;
  }

  async #begin(name: string, node: PlannedNode): Promise<void> {
    const { plan } = node;
    if (plan.rootMode === "ephemeral") await this.#options.trees.dropNodeLayer(name);
    if (!node.isOutdated) return;
    for (const kind of TREE_KINDS) await this.#options.trees.setGenerated(name, kind, filesOf(plan, kind));
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

function filesOf(plan: BootPlan, kind: TreeKind): GeneratedFile[] {
  return plan.files.filter((file) => file.tree === kind);
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
