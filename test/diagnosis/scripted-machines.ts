/** What runs after the firmware of a virtual Pi, as far as the manager sees it: a script instead of a kernel. */
import type { EthernetPort, Machine, MachineEnd, MachineSettings, Machines } from "../../src/ports.ts";
import type { VirtualBoard } from "../../src/simulator/models.ts";
import type { SimulatedClock } from "../../src/simulator/simulated-clock.ts";
import { LinuxClient } from "./linux-client.ts";

/** What a node's system does after its kernel started. */
export type SystemScript = (linux: LinuxClient, wait: (durationMs: number) => Promise<void>) => Promise<MachineEnd>;

export class ScriptedMachines implements Machines {
  readonly #clock: SimulatedClock;
  readonly #board: VirtualBoard;
  readonly #openPort: () => EthernetPort;
  readonly #script: SystemScript;

  constructor(clock: SimulatedClock, board: VirtualBoard, openPort: () => EthernetPort, script: SystemScript) {
    this.#clock = clock;
    this.#board = board;
    this.#openPort = openPort;
    this.#script = script;
  }

  async start(_: MachineSettings): Promise<Machine> {
    const clock = this.#clock;
    let stop = () => {};
    const stopped = new Promise<MachineEnd>((resolve) => {
      stop = () => resolve({ kind: "stopped" });
    });
    const wait = (durationMs: number) => new Promise<void>((resolve) => void clock.after(durationMs, resolve));
    const linux = new LinuxClient(this.#board.mac, this.#openPort());
    const ended = Promise.race([this.#script(linux, wait), stopped]);
    return { onConsole: () => {}, typeOnConsole: () => {}, stop, ended };
  }
}
