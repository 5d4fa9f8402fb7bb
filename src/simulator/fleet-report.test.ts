import { describe, expect, it } from "vitest";
import type { FleetEvent } from "./fleet.ts";
import { FleetProgress } from "./fleet-report.ts";
import { findVirtualModel, makeBoard } from "./models.ts";
import { seededRandom } from "./seed.ts";
import type { VirtualPiEvent } from "./virtual-pi.ts";

const pis = (...models: string[]) =>
  models.map((model, index) => ({
    name: `node${index + 1}`,
    board: makeBoard(findVirtualModel(model)!, {}, seededRandom(1)),
  }));

const at = (unixMs: number, pi: string, event: VirtualPiEvent): FleetEvent => ({ unixMs, pi, ...event });
const done: VirtualPiEvent = { kind: "firmware-done", durationMs: 1, files: 7, sizeBytes: 1000 };
const failed: VirtualPiEvent = { kind: "firmware-failed", reason: "no-answer", message: "nobody answers" };

describe("the report of a fleet", () => {
  it("tells of each board and model: times from the first power-on, repeated packets, failures that were and that last", () => {
    const progress = new FleetProgress(pis("4", "4", "3b"));
    const loaded = {
      kind: "file-loaded",
      path: "kernel8.img",
      sizeBytes: 1000,
      durationMs: 1,
      retransmits: 2,
    } as const;
    const events = [
      at(1000, "node1", { kind: "power-on" }),
      at(1100, "node2", { kind: "power-on" }),
      at(1100, "node3", { kind: "power-on" }),
      at(1500, "node1", failed),
      at(1600, "node1", { kind: "power-on" }),
      at(1900, "node2", loaded),
      at(2100, "node2", done),
      at(2500, "node3", failed),
      at(2500, "node3", { kind: "gave-up", attempts: 1 }),
      at(9999, "somebody", done),
    ];
    for (const event of events) progress.onEvent(event);
    expect(progress.finished).toBe(2);
    expect(progress.isComplete).toBe(false);
    progress.onEvent(at(4000, "node1", done));
    expect(progress.isComplete).toBe(true);
    const failure = { reason: "no-answer", message: "nobody answers" };
    expect(progress.report()).toEqual({
      boards: [
        {
          pi: "node1",
          model: "4",
          outcome: "booted",
          attempts: 2,
          durationMs: 3000,
          files: 7,
          sizeBytes: 1000,
          retransmits: 0,
          failure,
        },
        {
          pi: "node2",
          model: "4",
          outcome: "booted",
          attempts: 1,
          durationMs: 1000,
          files: 7,
          sizeBytes: 1000,
          retransmits: 2,
        },
        { pi: "node3", model: "3b", outcome: "failed", attempts: 1, files: 0, sizeBytes: 0, retransmits: 0, failure },
      ],
      models: [
        { model: "4", boards: 2, booted: 2, p50Ms: 1000, p99Ms: 3000, slowest: { pi: "node1", durationMs: 3000 } },
        { model: "3b", boards: 1, booted: 0 },
      ],
      all: { model: "all", boards: 3, booted: 2, p50Ms: 1000, p99Ms: 3000, slowest: { pi: "node1", durationMs: 3000 } },
      durationMs: 3000,
      sizeBytes: 2000,
      retransmits: 2,
    });
  });

  it("has p50 and p99 by nearest rank", () => {
    const many = pis(...new Array<string>(200).fill("4"));
    const progress = new FleetProgress(many);
    for (const { name } of many) progress.onEvent(at(0, name, { kind: "power-on" }));
    for (const [index, { name }] of many.entries()) progress.onEvent(at(200 - index, name, done));
    expect(progress.report().all).toMatchObject({ booted: 200, p50Ms: 100, p99Ms: 198, slowest: { pi: "node1" } });
  });
});
