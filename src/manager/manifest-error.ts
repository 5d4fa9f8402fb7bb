import { formatProblem, type ManifestProblem } from "../cluster/manifest-problem.ts";

/** Everything that is wrong with a manifest, at once. */
export class ManifestError extends Error {
  readonly problems: readonly ManifestProblem[];

  constructor(path: string, problems: readonly ManifestProblem[]) {
    super(problems.map((problem) => formatProblem(path, problem)).join("\n"));
    this.name = "ManifestError";
    this.problems = problems;
  }
}
