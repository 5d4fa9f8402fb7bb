/** What keeps nodes from being members of their cluster, or the cluster from working. */
export interface ClusterProblem {
  /** For programs; each is a row of docs/ERRORS.md. */
  cause: string;
  /** Absent when it is about the whole cluster. */
  node?: string;
  /** What, where, why and what to do. */
  message: string;
}
