/** How a fleet's firmware fared: from the feed of what happened to its boards to times, failures and what they fetched. */
import type { FirmwareFailureReason } from "./firmware-events.ts";
import type { FleetEvent } from "./fleet.ts";
import type { VirtualBoard } from "./models.ts";

export interface BoardReport {
  pi: string;
  model: string;
  /** `unfinished`: neither booted nor given up for good when the report was made. */
  outcome: "booted" | "failed" | "unfinished";
  attempts: number;
  /** From the first power-on to the last file. */
  durationMs?: number;
  files: number;
  sizeBytes: number;
  /** Packets that the board sent again while it read files. */
  retransmits: number;
  /** Of the last attempt that failed, also of a board that booted after it. */
  failure?: { reason: FirmwareFailureReason; message: string };
}

export interface ModelReport {
  model: string;
  boards: number;
  booted: number;
  /** Of those that booted, nearest rank; absent when none did. */
  p50Ms?: number;
  p99Ms?: number;
  slowest?: { pi: string; durationMs: number };
}

export interface FleetReport {
  boards: BoardReport[];
  /** In the order in which the models first appear. */
  models: ModelReport[];
  all: ModelReport;
  /** From the first power-on to the last board that booted. */
  durationMs: number;
  sizeBytes: number;
  retransmits: number;
}

interface Progress extends BoardReport {
  poweredUnixMs?: number;
}

export class FleetProgress {
  readonly #boards: Map<string, Progress>;
  #firstUnixMs: number | undefined;
  #lastUnixMs = 0;

  constructor(pis: readonly { name: string; board: VirtualBoard }[]) {
    this.#boards = new Map(
      pis.map(({ name, board }) => {
        const counts = { attempts: 0, files: 0, sizeBytes: 0, retransmits: 0 };
        return [name, { pi: name, model: board.model.pi.id, outcome: "unfinished", ...counts }];
      }),
    );
  }

  onEvent(event: FleetEvent): void {
    const board = this.#boards.get(event.pi);
    if (board === undefined) return;
    switch (event.kind) {
      case "power-on":
        board.attempts++;
        board.poweredUnixMs ??= event.unixMs;
        this.#firstUnixMs ??= event.unixMs;
        return;
      case "file-loaded":
        board.retransmits += event.retransmits;
        return;
      case "firmware-failed":
        board.failure = { reason: event.reason, message: event.message };
        return;
      case "gave-up":
        board.outcome = "failed";
        return;
      case "firmware-done":
        board.outcome = "booted";
        board.files = event.files;
        board.sizeBytes = event.sizeBytes;
        board.durationMs = event.unixMs - (board.poweredUnixMs ?? event.unixMs);
        this.#lastUnixMs = event.unixMs;
        return;
    }
  }

  /** How many boards need no more waiting for. */
  get finished(): number {
    return [...this.#boards.values()].filter(({ outcome }) => outcome !== "unfinished").length;
  }

  get isComplete(): boolean {
    return this.finished === this.#boards.size;
  }

  report(): FleetReport {
    const boards = [...this.#boards.values()].map(({ poweredUnixMs: _, ...board }) => board);
    const models = [...new Set(boards.map(({ model }) => model))];
    const sum = (of: (board: BoardReport) => number) => boards.reduce((total, board) => total + of(board), 0);
    return {
      boards,
      models: models.map((model) =>
        modelReport(
          model,
          boards.filter((board) => board.model === model),
        ),
      ),
      all: modelReport("all", boards),
      durationMs: Math.max(0, this.#lastUnixMs - (this.#firstUnixMs ?? this.#lastUnixMs)),
      sizeBytes: sum(({ sizeBytes }) => sizeBytes),
      retransmits: sum(({ retransmits }) => retransmits),
    };
  }
}

function modelReport(model: string, boards: readonly BoardReport[]): ModelReport {
  const booted = boards
    .flatMap(({ pi, durationMs }) => (durationMs === undefined ? [] : [{ pi, durationMs }]))
    .sort((one, other) => one.durationMs - other.durationMs);
  const slowest = booted.at(-1);
  const counts = { model, boards: boards.length, booted: booted.length };
  if (slowest === undefined) return counts;
  return { ...counts, p50Ms: rank(booted, 0.5).durationMs, p99Ms: rank(booted, 0.99).durationMs, slowest };
}

/** The nearest rank of a sorted list that is not empty. */
function rank<Value>(sorted: readonly Value[], fraction: number): Value {
  return sorted[Math.max(0, Math.ceil(sorted.length * fraction) - 1)]!;
}
