/** What can be asked about the layers of served nodes: resets, snapshots, clones, and what a node changed. */
import { setImmediate } from "node:timers/promises";
import type { Report } from "../boot/report.ts";
import { CatalogRefusal } from "../tree/catalog-refusal.ts";
import type { Snapshot } from "../tree/snapshots.ts";
import type { TreeCatalog } from "../tree/tree-catalog.ts";
import type { TreeKind } from "../tree/tree-description.ts";
import type { TreeChange } from "../tree/tree-diff.ts";
import { isNoRoom } from "../tree/volume-failure.ts";
import type { NodeServing } from "./data-plane/messages.ts";
import type { NodeSet } from "./node-set.ts";
import { RequestError } from "./request-error.ts";

/** So long at most the rest of the process waits for a walk through a tree. */
const DIFF_SLICE_MS = 10;

export type NodeChangeLine = { tree: TreeKind } & TreeChange;

export interface NodeLayersOptions {
  nodes: NodeSet;
  catalog: TreeCatalog;
  /** Whoever serves the trees. */
  serving: Pick<NodeServing, "flush">;
  /** Of the cluster that an orchestrator makes. */
  isMember(node: string): boolean;
  /** For messages. */
  stateFolder: string;
  report: Report;
}

/** Methods throw `RequestError` for what cannot be done. */
export class NodeLayers {
  readonly #nodes: NodeSet;
  readonly #catalog: TreeCatalog;
  readonly #serving: NodeLayersOptions["serving"];
  readonly #isMember: NodeLayersOptions["isMember"];
  readonly #stateFolder: string;
  readonly #report: Report;

  constructor({ nodes, catalog, serving, isMember, stateFolder, report }: NodeLayersOptions) {
    this.#isMember = isMember;
    this.#stateFolder = stateFolder;
    this.#nodes = nodes;
    this.#catalog = catalog;
    this.#serving = serving;
    this.#report = report;
  }

  /** Whether a node of this name has written something, though it may be in the manifest no more. */
  hasFiles(node: string): boolean {
    return this.#catalog.hasNodeLayer(node);
  }

  /** Drops what the node has written: it must boot again. */
  reset(node: string): Promise<{ droppedBytes: number }> {
    return this.#asked(`Cannot reset ${node}`, this.#nodes.reset(node));
  }

  async snapshot(node: string, name: string): Promise<{ node: string; name: string }> {
    const task = `Cannot take snapshot ${name} of ${node}`;
    this.#demand(node, task);
    await this.#asked(
      task,
      this.#nodes.changeLayers([node], { abandon: false }, () => this.#catalog.snapshot(node, name)),
    );
    this.#report({ kind: "snapshot-taken", name }, node);
    return { node, name };
  }

  snapshots(node: string): Snapshot[] {
    this.#demand(node, `Cannot list the snapshots of ${node}`);
    return this.#catalog.snapshots(node);
  }

  /** What the node has written since, and no other snapshot holds, is lost. */
  async restore(node: string, name: string): Promise<{ node: string; name: string }> {
    const task = `Cannot restore snapshot ${name} of ${node}`;
    this.#demand(node, task);
    await this.#asked(
      task,
      this.#nodes.changeLayers([node], { abandon: true }, () => this.#catalog.restore(node, name)),
    );
    this.#report({ kind: "snapshot-restored", name }, node);
    return { node, name };
  }

  async removeSnapshot(node: string, name: string): Promise<{ node: string; name: string }> {
    const task = `Cannot remove snapshot ${name} of ${node}`;
    this.#demand(node, task);
    await this.#asked(task, this.#catalog.removeSnapshot(node, name));
    return { node, name };
  }

  /** `name`: a snapshot; without it, the node's files as they are now. */
  async clone(from: string, name: string | undefined, to: string): Promise<{ from: string; to: string }> {
    const task = `Cannot clone ${from} to ${to}`;
    for (const node of [from, to]) this.#demand(node, task);
    // Docker's and Kubernetes' certificates, from which a copy would take itself for the same member. Of a snapshot nobody knows.
    if (name === undefined && this.#isMember(from)) {
      throw new RequestError(
        409,
        `${task}: ${from} is a member of the cluster, and its files say which; clone a snapshot from before it joined (--snapshot), or have it leave: bramble cluster remove ${from}`,
      );
    }
    const nodes = name === undefined ? [from, to] : [to];
    const clone = () => this.#catalog.clone(from, name, to);
    await this.#asked(task, this.#nodes.changeLayers([...new Set(nodes)], { abandon: false }, clone));
    this.#report({ kind: "cloned", from, ...(name !== undefined && { snapshot: name }) }, to);
    return { from, to };
  }

  #demand(node: string, task: string): void {
    if (this.#nodes.plan(node) === undefined) {
      throw new RequestError(404, `${task}: the manager serves no node ${node}`);
    }
  }

  /** What the node changed against its image and generated files, tree by tree. The node may be running. */
  diff(node: string): AsyncGenerator<NodeChangeLine> {
    this.#demand(node, `Cannot compare ${node} with its image`);
    return this.#changes(node);
  }

  async *#changes(node: string): AsyncGenerator<NodeChangeLine> {
    await this.#serving.flush(node);
    for (const { description, image } of this.#nodes.treesOf(node)) {
      let sliceEndMs = performance.now() + DIFF_SLICE_MS;
      for (const change of this.#catalog.diff(description, image)) {
        if (change !== undefined) yield { tree: description.kind, ...change };
        if (performance.now() < sliceEndMs) continue;
        await setImmediate();
        sliceEndMs = performance.now() + DIFF_SLICE_MS;
      }
    }
  }

  /** What the catalog refuses can be put right by the caller, and so can a full disk; anything else is thrown as it is. */
  async #asked<T>(task: string, work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      if (error instanceof CatalogRefusal) throw new RequestError(409, error.message);
      if (isNoRoom(error)) {
        const where = `the disk with the state folder ${this.#stateFolder}`;
        throw new RequestError(507, `${task}: ${where} is full; make room there, and ask again`);
      }
      throw error;
    }
  }
}
