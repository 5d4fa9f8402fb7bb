import type { SimulationEvent } from "../lab/simulation.ts";

/** What was done when, in seconds since the first event. */
export function storyOf(events: readonly SimulationEvent[]): string[] {
  const told = new Set([
    "up",
    "configured",
    "configure-failed",
    "step-done",
    "step-failed",
    "joined",
    "left",
    "manager-started",
  ]);
  const dated = events.flatMap((event) => ("unixMs" in event ? [event] : []));
  const first = dated[0]?.unixMs ?? 0;
  return dated
    .filter(({ kind }) => told.has(kind))
    .map((event) => {
      const seconds = Math.round((event.unixMs - first) / 1000);
      const step = "title" in event ? event.title : "";
      const message = "message" in event ? event.message : "";
      return `${seconds} s  ${"node" in event ? event.node : ""}  ${event.kind}  ${step}  ${message}`;
    });
}
