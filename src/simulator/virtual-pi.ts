/**
 * One virtual Pi from power-on to power-off: boot loader, kernel, reboot, boot loader again.
 */
import type { Clock, EthernetPort, Machine, MachineEnd, Machines, Random } from "../ports.ts";
import { networkAttempts } from "./boot-stages.ts";
import { type ConsoleEvent, ConsoleReader } from "./console-reader.ts";
import { type BootedFirmware, bootOverNetwork, type FirmwareSettings } from "./firmware.ts";
import { type FirmwareEvent, FirmwareFailure, type FirmwareFailureReason } from "./firmware-events.ts";
import { machineSettings } from "./machine.ts";
import type { VirtualBoard } from "./models.ts";

export type VirtualPiEvent =
  | FirmwareEvent
  | ConsoleEvent
  | { kind: "power-on" }
  | { kind: "firmware-failed"; reason: FirmwareFailureReason; message: string }
  /** It does nothing more until its power is cut. */
  | { kind: "gave-up"; attempts: number }
  | { kind: "firmware-done"; durationMs: number; files: number; sizeBytes: number }
  | { kind: "kernel-start"; kernel: string; initramfs: boolean; commandLine: string }
  | { kind: "reboot" }
  | { kind: "power-off" }
  | { kind: "machine-failed"; reason: string };

/** Where a Pi's serial console can be read and typed on while it runs. */
export interface ConsoleOutlet {
  write(bytes: Uint8Array): void;
  onInput(handler: (text: string) => void): void;
  close(): void;
}

export interface VirtualPiSettings {
  name: string;
  board: VirtualBoard;
  /** Its port of the switch: the virtual Pi opens it while its firmware runs, the machine while its kernel runs. */
  tapName: string;
  openPort(tapName: string): EthernetPort;
  /** Absent: it stops where the kernel would start. */
  machines?: Machines;
  console?: ConsoleOutlet;
  memoryMiB?: number;
  firmware?: Partial<FirmwareSettings>;
  /** The pause before the boot loader tries again, as with BOOT_ORDER=0xf2; by default that of its release. */
  retryPauseMs?: number;
  clock: Clock;
  random: Random;
  report(event: VirtualPiEvent): void;
}

const MEMORY_MIB_DEFAULT = 1024;
export class VirtualPi {
  readonly name: string;
  readonly #settings: VirtualPiSettings;
  #machine: Machine | undefined;
  /** Aborts the firmware or ends the machine that has the power now. */
  #power = new AbortController();
  #switchedOff = false;
  /** Since the power came. */
  #attempts = 0;

  constructor(settings: VirtualPiSettings) {
    this.name = settings.name;
    this.#settings = settings;
    settings.console?.onInput((text) => this.typeOnConsole(text));
  }

  /** Runs until it is switched off, powers itself off, or (firmware only) would start its kernel. */
  async run(): Promise<void> {
    while (!this.#switchedOff) {
      this.#power = new AbortController();
      this.#attempts++;
      this.#settings.report({ kind: "power-on" });
      const end = await this.#boot(this.#power.signal);
      if (end === "off") break;
    }
    this.#settings.report({ kind: "power-off" });
  }

  typeOnConsole(text: string): void {
    this.#machine?.typeOnConsole(text);
  }

  /** Takes the power away for a moment. */
  powerCycle(): void {
    this.#attempts = 0;
    this.#power.abort();
    this.#machine?.stop();
  }

  powerOff(): void {
    this.#switchedOff = true;
    this.powerCycle();
  }

  async #boot(power: AbortSignal): Promise<"again" | "off"> {
    const { report, machines } = this.#settings;
    const booted = await this.#runFirmware(power);
    if (booted === undefined || power.aborted) return "again";
    if (machines === undefined) return "off";
    try {
      const end = await this.#runKernel(machines, booted, power);
      if (end.kind === "failed") report({ kind: "machine-failed", reason: end.reason });
      if (end.kind === "reboot") report({ kind: "reboot" });
      this.#attempts = 0;
      return end.kind === "reboot" || end.kind === "stopped" ? "again" : "off";
    } catch (error) {
      if (error instanceof FirmwareFailure) return this.#failed(error, power);
      report({ kind: "machine-failed", reason: error instanceof Error ? error.message : String(error) });
      return "off";
    }
  }

  /** `undefined`: it did not get to a kernel, and the pause before the next attempt is over. */
  async #runFirmware(power: AbortSignal): Promise<BootedFirmware | undefined> {
    const { board, tapName, openPort, clock, random, report, machines } = this.#settings;
    const port = openPort(tapName);
    const startMs = clock.monotonicMs();
    try {
      const firmware = { discardContents: machines === undefined, ...this.#settings.firmware };
      const world = { port, clock: stoppableClock(clock, power), random, report };
      const booted = await unlessAborted(bootOverNetwork(board, world, firmware), power);
      if (booted === undefined) return undefined;
      const sizes = [...booted.files.values()].map((file) => file.sizeBytes);
      const sizeBytes = sizes.reduce((sum, size) => sum + size, 0);
      report({ kind: "firmware-done", durationMs: clock.monotonicMs() - startMs, files: sizes.length, sizeBytes });
      return booted;
    } catch (error) {
      if (!(error instanceof FirmwareFailure)) throw error;
      await port.close();
      await this.#failed(error, power);
      return undefined;
    } finally {
      await port.close();
    }
  }

  /** Waits for the next attempt; for the next power-on, if there is none. */
  async #failed(failure: FirmwareFailure, power: AbortSignal): Promise<"again"> {
    const { clock, report, board, firmware = {} } = this.#settings;
    report({ kind: "firmware-failed", reason: failure.reason, message: failure.message });
    const { tries, pauseMs } = networkAttempts(board, firmware);
    const isLast = failure.isFinal || this.#attempts >= tries;
    if (isLast) report({ kind: "gave-up", attempts: this.#attempts });
    await unlessAborted(
      new Promise<void>((resolve) => {
        if (!isLast) stoppableClock(clock, power).after(this.#settings.retryPauseMs ?? pauseMs, resolve);
      }),
      power,
    );
    return "again";
  }

  async #runKernel(machines: Machines, booted: BootedFirmware, power: AbortSignal): Promise<MachineEnd> {
    const { board, tapName, report, console, memoryMiB = MEMORY_MIB_DEFAULT } = this.#settings;
    const settings = machineSettings(this.name, tapName, board, booted, memoryMiB);
    const machine = await machines.start(settings);
    const kernel = booted.kernel.path;
    report({
      kind: "kernel-start",
      kernel,
      initramfs: booted.initramfs !== undefined,
      commandLine: settings.commandLine,
    });
    const reader = new ConsoleReader(report);
    machine.onConsole((bytes) => {
      console?.write(bytes);
      reader.push(bytes);
    });
    this.#machine = machine;
    if (power.aborted) machine.stop();
    try {
      return await machine.ended;
    } finally {
      this.#machine = undefined;
    }
  }
}

/** A clock whose timers never fire once the power is gone: what was running just stops. */
function stoppableClock(clock: Clock, power: AbortSignal): Clock {
  return {
    unixMs: () => clock.unixMs(),
    unixNs: () => clock.unixNs(),
    monotonicMs: () => clock.monotonicMs(),
    after(delayMs, run) {
      if (power.aborted) return { cancel: () => {} };
      const cancel = () => {
        timer.cancel();
        power.removeEventListener("abort", cancel);
      };
      const timer = clock.after(delayMs, () => {
        power.removeEventListener("abort", cancel);
        run();
      });
      power.addEventListener("abort", cancel);
      return { cancel };
    },
  };
}

async function unlessAborted<Value>(value: Promise<Value>, signal: AbortSignal): Promise<Value | undefined> {
  if (signal.aborted) return undefined;
  let stop = () => {};
  const aborted = new Promise<undefined>((resolve) => {
    stop = () => resolve(undefined);
    signal.addEventListener("abort", stop);
  });
  try {
    return await Promise.race([value, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
