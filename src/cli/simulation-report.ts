/** What `simulate --report` prints: completion times by model, and each reason why boards did not boot. */
import type { BoardReport, FleetReport, ModelReport } from "../simulator/fleet-report.ts";
import { coloured, formatBytes, formatCount, formatDuration, formatTable } from "./table.ts";

const HEADER = ["MODEL", "BOARDS", "BOOTED", "P50", "P99", "SLOWEST", ""];
/** Where the numbers stand. */
const NUMBERS = [1, 2, 3, 4, 5];
/** Of the boards that failed alike. */
const NAMES_MAX = 5;

export function reportText(report: FleetReport): string[] {
  const rows = report.models.length > 1 ? [...report.models, report.all] : report.models;
  const rate = report.durationMs === 0 ? "" : `, ${formatBytes((report.sizeBytes / report.durationMs) * 1000)}/s`;
  const again = formatCount(report.retransmits, "packet");
  return [
    formatTable(HEADER, rows.map(modelRow), NUMBERS),
    "",
    `${formatBytes(report.sizeBytes)} in ${formatDuration(report.durationMs)}${rate}; boards asked again for ${again}`,
    ...failureLines("did not boot", "red", ({ outcome }) => outcome === "failed", report.boards),
    ...failureLines("had not booted when time was up", "red", ({ outcome }) => outcome === "unfinished", report.boards),
    ...failureLines("booted after failed attempts", "yellow", isLateBooted, report.boards),
  ];
}

function isLateBooted({ outcome, failure }: BoardReport): boolean {
  return outcome === "booted" && failure !== undefined;
}

function modelRow({ model, boards, booted, p50Ms, p99Ms, slowest }: ModelReport): string[] {
  const times = [p50Ms, p99Ms, slowest?.durationMs].map((each) => (each === undefined ? "-" : formatDuration(each)));
  const count = booted === boards ? String(booted) : coloured(String(booted), "red");
  return [model, String(boards), count, ...times, slowest?.pi ?? ""];
}

/** One line for all boards with the same reason, in the words of the first. */
function failureLines(
  what: string,
  colour: "red" | "yellow",
  isMeant: (board: BoardReport) => boolean,
  boards: readonly BoardReport[],
): string[] {
  const groups = new Map<string | undefined, BoardReport[]>();
  for (const board of boards.filter(isMeant)) {
    const reason = board.failure?.reason;
    groups.set(reason, [...(groups.get(reason) ?? []), board]);
  }
  return [...groups.values()].map((group) => {
    const why = group[0]?.failure?.message ?? "the first attempt was under way";
    const names = group.slice(0, NAMES_MAX).map(({ pi }) => pi);
    const more = group.length > NAMES_MAX ? ", …" : "";
    return `${coloured(`${formatCount(group.length, "board")} ${what}`, colour)}: ${why} (${names.join(", ")}${more})`;
  });
}
