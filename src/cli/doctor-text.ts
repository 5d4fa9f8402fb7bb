import type { Examination, Finding, Severity } from "../cluster/doctor/finding.ts";
import { coloured, formatCount } from "./table.ts";

const COLOURS = { error: "red", warning: "yellow", note: "cyan" } as const;

/** What `bramble doctor` prints for people. */
export function doctorText({ findings, skipped }: Examination): string {
  return [
    ...findings.map(findingText),
    ...skipped.map(({ what, why }) => `not looked at: ${what}: ${why}`),
    summary(findings, skipped.length),
  ].join("\n");
}

function findingText({ id, severity, what, evidence, remedy }: Finding): string {
  const seen = evidence.split("\n").map((line, index) => `${index === 0 ? "  seen: " : "        "}${line}`);
  return [`${coloured(severity, COLOURS[severity])} ${what}  (${id})`, ...seen, `  do:   ${remedy}`, ""].join("\n");
}

function summary(findings: readonly Finding[], skippedCount: number): string {
  const count = (wanted: Severity) => findings.filter(({ severity }) => severity === wanted).length;
  const parts = (["error", "warning", "note"] as const).flatMap((severity) =>
    count(severity) > 0 ? [formatCount(count(severity), severity)] : [],
  );
  const left = skippedCount > 0 ? `; ${formatCount(skippedCount, "thing")} not looked at` : "";
  return `${parts.join(", ") || "nothing is wrong"}${left}`;
}
