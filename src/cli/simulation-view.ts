import type { BootEvent } from "../cluster/event.ts";
import type { ManagerStatusView } from "../manager/status-view.ts";
import type { FleetEvent } from "../simulator/fleet.ts";
import { eventText } from "./event-text.ts";
import { LiveView } from "./live-view.ts";
import { statusTable } from "./status-table.ts";
import { coloured, formatBytes, formatDuration } from "./table.ts";

/** What a person sees of a simulation: the manager's events and the Pis' own, above a live table on a terminal. */
export class SimulationView {
  readonly #json: boolean;
  readonly #live: LiveView | undefined;

  constructor(json: boolean) {
    this.#json = json;
    this.#live = !json && process.stdout.isTTY ? new LiveView(process.stdout) : undefined;
  }

  onBoot(event: BootEvent): void {
    if (this.#json) this.say(JSON.stringify(event));
    else this.#sayIfAny(eventText(event));
  }

  onPi(event: FleetEvent): void {
    if (this.#json) {
      if (event.kind !== "console-line" && event.kind !== "firmware-log") this.say(JSON.stringify(event));
      return;
    }
    const what = describePi(event);
    if (what === undefined) return;
    this.say(`${new Date(event.unixMs).toISOString().slice(11, 23)}  ${event.pi.padEnd(10)}  pi    ${what}`);
  }

  showStatus(status: ManagerStatusView): void {
    this.#live?.setTable(statusTable(status, Date.now()));
  }

  say(line: string): void {
    if (this.#live) this.#live.addLine(line);
    else console.log(line);
  }

  finish(lines: readonly string[]): void {
    if (this.#json) return;
    this.say("");
    for (const line of lines) this.say(line);
  }

  close(): void {
    this.#live?.close();
  }

  #sayIfAny(line: string | undefined): void {
    if (line !== undefined) this.say(line);
  }
}

/** The Pi's side of the story; what the manager tells as well is left to it. */
function describePi(event: FleetEvent): string | undefined {
  switch (event.kind) {
    case "power-on":
      return "power on";
    case "power-off":
      return "power off";
    case "reboot":
      return "reboots";
    case "firmware-failed":
      return coloured(`firmware gave up: ${event.message}`, "red");
    case "gave-up":
      return coloured("does nothing more until its power is cut", "red");
    case "firmware-done":
      return `firmware has ${event.files} files, ${formatBytes(event.sizeBytes)}, after ${formatDuration(event.durationMs)}`;
    case "kernel-start":
      return `starts ${event.kernel}${event.initramfs ? " with its initramfs" : " without an initramfs"}`;
    case "kernel-started":
      return `Linux ${event.release}`;
    case "root-mounted":
      return "root mounted";
    case "login-prompt":
      return coloured(event.text, "green");
    case "kernel-panic":
      return coloured(`kernel panic: ${event.text}`, "red");
    case "machine-failed":
      return coloured(`machine failed: ${event.reason}`, "red");
    default:
      return undefined;
  }
}
