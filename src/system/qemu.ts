/**
 * Emulated arm64 computers by QEMU: the `virt` machine with a Cortex-A72, as the Pi 4 has, or a Pi 3B (`raspi3b`), started
 * as a boot loader would start it: kernel, initramfs, device tree and command line in memory. Serial console on standard input and output, control
 * (QMP) on descriptor 3; nothing listens anywhere.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import type { Machine, MachineEnd, MachineSettings, Machines } from "../ports.ts";

const PROGRAM = "qemu-system-aarch64";
const QMP_DESCRIPTOR = 3;
/** Of what QEMU wrote to standard error, the end is what tells why. */
const ERROR_TEXT_MAX = 2000;

const PI_CORES = 4;

/**
 * `count` of them are meant to run side by side. More cores than this machine has for each cost more than they bring: on two cores two
 * Debians with two each took 147 s of processor time to boot and be asked a few things, with one each 90 s.
 */
export function qemuMachines(count: number): Machines {
  const cores = Math.min(PI_CORES, Math.max(1, Math.floor(availableParallelism() / count)));
  return { start: (settings) => start(settings, cores) };
}

async function start(settings: MachineSettings, cores: number): Promise<Machine> {
  const folder = mkdtempSync(join(tmpdir(), "bramble-machine-"));
  const kernel = join(folder, "kernel");
  const initramfs = settings.initramfs && join(folder, "initramfs");
  const deviceTree = settings.deviceTree && join(folder, "device-tree");
  writeFileSync(kernel, settings.kernel);
  if (deviceTree) writeFileSync(deviceTree, settings.deviceTree!);
  if (initramfs) writeFileSync(initramfs, settings.initramfs!);

  // setpriv: a machine never outlives the program that plugged it in.
  const words = ["--pdeathsig", "KILL", PROGRAM, ...qemuArguments(settings, cores, { kernel, initramfs, deviceTree })];
  const child = spawn("setpriv", words, { stdio: ["pipe", "pipe", "pipe", "pipe"] });
  const machine = new QemuMachine(child);
  try {
    await machine.started;
  } finally {
    // By now kernel and initramfs are in the machine's memory: nothing is left behind, however this program ends.
    rmSync(folder, { recursive: true, force: true });
  }
  return machine;
}

interface MachineFiles {
  kernel: string;
  initramfs: string | undefined;
  deviceTree: string | undefined;
}

function qemuArguments(
  settings: MachineSettings,
  cores: number,
  { kernel, initramfs, deviceTree }: MachineFiles,
): string[] {
  const words = ["-name", settings.name, "-nodefaults", "-display", "none", "-no-reboot", "-accel", "tcg"];
  words.push("-kernel", kernel, "-append", settings.commandLine);
  if (initramfs) words.push("-initrd", initramfs);
  words.push("-netdev", `tap,id=lan,ifname=${settings.tapName},script=no,downscript=no`);
  words.push(...(deviceTree === undefined ? virtMachine(settings, cores) : pi3Machine(settings, deviceTree)));
  words.push("-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console");
  words.push("-chardev", `socket,id=control,fd=${QMP_DESCRIPTOR}`, "-mon", "chardev=control,mode=control");
  return words;
}

function virtMachine({ memoryMiB, mac }: MachineSettings, cores: number): string[] {
  // romfile: the card's own network boot program has nothing to do here, and is not installed everywhere.
  const card = `virtio-net-pci,netdev=lan,mac=${mac},romfile=`;
  return ["-machine", "virt", "-cpu", "cortex-a72", "-smp", String(cores), "-m", String(memoryMiB), "-device", card];
}

/** Four cores and 1 GiB are fixed. The board's own network chip, at the same USB port, is not emulated. */
function pi3Machine({ mac }: MachineSettings, deviceTree: string): string[] {
  return ["-machine", "raspi3b", "-dtb", deviceTree, "-usb", "-device", `usb-net,netdev=lan,mac=${mac}`];
}

class QemuMachine implements Machine {
  readonly started: Promise<void>;
  readonly ended: Promise<MachineEnd>;
  readonly #child: ChildProcess;
  #onConsole: (bytes: Uint8Array) => void = () => {};
  #errorText = "";
  #running = false;
  #end: MachineEnd | undefined;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout!.on("data", (bytes: Uint8Array) => this.#onConsole(bytes));
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.#errorText = (this.#errorText + text).slice(-ERROR_TEXT_MAX);
    });
    // A machine that has just ended takes no more input.
    child.stdin!.on("error", () => {});

    const control = child.stdio[QMP_DESCRIPTOR] as Readable & Writable;
    control.on("error", () => {});
    this.started = new Promise((resolve, reject) => {
      const fail = (why: string) => reject(new Error(`Cannot start the virtual Pi's machine: ${why}`));
      child.once("error", (error) => fail(`${error.message}; install util-linux`));
      child.once("exit", () => !this.#running && fail(this.#failureText()));
      readControlLines(control, (message) => {
        if ("QMP" in message) control.write('{"execute":"qmp_capabilities"}\n');
        if ("return" in message) {
          this.#running = true;
          resolve();
        }
        if (message.event === "SHUTDOWN")
          this.#end ??= { kind: message.data?.reason === "guest-reset" ? "reboot" : "power-off" };
      });
    });
    this.ended = new Promise((resolve) => {
      // Killed from outside (SIGKILL): to the virtual Pi that is the plug pulled, and put back.
      child.once("close", (_, signal) =>
        resolve(this.#end ?? (signal ? { kind: "stopped" } : { kind: "failed", reason: this.#failureText() })),
      );
    });
  }

  #failureText(): string {
    const text = this.#errorText.trim();
    const missing = /failed to execute|No such file/.test(text) && text.includes(PROGRAM) && text.startsWith("setpriv");
    if (missing) return `${PROGRAM} is not installed; install it with "apt-get install qemu-system-arm"`;
    return text === "" ? `${PROGRAM} ended without a word` : text;
  }

  onConsole(handler: (bytes: Uint8Array) => void): void {
    this.#onConsole = handler;
  }

  typeOnConsole(text: string): void {
    this.#child.stdin!.write(text);
  }

  stop(): void {
    this.#end ??= { kind: "stopped" };
    this.#child.kill("SIGKILL");
  }
}

interface ControlMessage {
  QMP?: unknown;
  return?: unknown;
  event?: string;
  data?: { reason?: string };
}

/** QMP: one JSON object a line. */
function readControlLines(stream: Readable, handle: (message: ControlMessage) => void): void {
  let pending = "";
  stream.setEncoding("utf8").on("data", (text: string) => {
    const lines = (pending + text).split("\n");
    pending = lines.pop() ?? "";
    for (const line of lines) if (line.trim() !== "") handle(JSON.parse(line) as ControlMessage);
  });
}
