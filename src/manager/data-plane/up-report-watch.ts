// Not by the index of that folder: with it come the manifest and its libraries, and each worker would hold them.
import {
  parseUpReport,
  UP_REPORT_BYTES_MAX,
  UP_REPORT_PATH,
  type UpReport,
} from "../../cluster/generated/up-report.ts";
import type { FileChange } from "../../nfs/observation.ts";
import type { Tree } from "../../tree/tree.ts";

const REPORT_NAME = UP_REPORT_PATH.slice(UP_REPORT_PATH.lastIndexOf("/") + 1);

type RootTree = Pick<Tree, "lookupPath" | "readSync">;

/**
 * Sees a node write its report among all the writes of all nodes. The file's id is remembered, so that any other write
 * costs one comparison.
 */
export class UpReportWatch {
  readonly #onReport: (node: string, report: UpReport) => void;
  readonly #reportIds = new Map<string, number | undefined>();

  constructor(onReport: (node: string, report: UpReport) => void) {
    this.#onReport = onReport;
  }

  /** The node's root is another one now, or gone: the report may be another file. */
  forget(node: string): void {
    this.#reportIds.delete(node);
  }

  /** A file of the node's root was changed. */
  changed(node: string, root: RootTree, { fileId, place }: Pick<FileChange, "fileId" | "place">): void {
    if (!this.#reportIds.has(node) || place?.name === REPORT_NAME) {
      this.#reportIds.set(node, root.lookupPath(UP_REPORT_PATH));
    }
    if (this.#reportIds.get(node) !== fileId) return;
    const report = readReport(root, fileId);
    if (report) this.#onReport(node, report);
  }
}

/** The report that stands in a root, whole; `undefined` when there is none. */
export function readUpReport(root: RootTree): UpReport | undefined {
  const fileId = root.lookupPath(UP_REPORT_PATH);
  return fileId === undefined ? undefined : readReport(root, fileId);
}

function readReport(root: RootTree, fileId: number): UpReport | undefined {
  const content = new Uint8Array(UP_REPORT_BYTES_MAX);
  return parseUpReport(content.subarray(0, root.readSync(fileId, content, 0)));
}
