/**
 * The boot loader's reading of files by TFTP: one local port after the other, probes, the serial-number prefix,
 * retransmission and the time limit for a file.
 */
import type { Ipv4 } from "../bytes/addresses.ts";
import type { Clock } from "../ports.ts";
import type { TftpDialect } from "./boot-stages.ts";
import { type FirmwareEvent, FirmwareFailure } from "./firmware-events.ts";
import type { FileTimes } from "./firmware-settings.ts";
import type { NetworkStack } from "./network-stack.ts";
import { type TftpOutcome, TftpRead, type TftpStep } from "./tftp-client.ts";

const TFTP_PORT = 69;

export interface FileContext {
  stack: NetworkStack;
  clock: Clock;
  server: Ipv4;
  dialect: TftpDialect;
  times: FileTimes;
  report(event: FirmwareEvent): void;
}

/** A file as the boot loader got it. `negotiated` is false when the server ignored the TFTP options. */
export interface LoadedFile {
  path: string;
  bytes: Uint8Array;
  sizeBytes: number;
  negotiated: boolean;
}

export class BootFiles {
  readonly #context: FileContext;
  #prefix = "";
  #localPort: number;
  /** Everything read, by the path it was asked for. */
  readonly loaded = new Map<string, LoadedFile>();

  constructor(context: FileContext) {
    this.#context = context;
    this.#localPort = context.dialect.firstLocalPort;
  }

  /** Whether a file is there, and the file if it is: start.elf of a Pi 3 asks for everything twice. */
  async probeAndRead(name: string, options: { discard?: boolean } = {}): Promise<LoadedFile | undefined> {
    return (await this.probe(name)) ? this.read(name, options) : undefined;
  }

  /** Keeps `prefix` for all later files if one of `names` is there. */
  async choosePrefix(prefix: string, names: readonly string[]): Promise<void> {
    for (const name of names) {
      if (await this.#probePath(prefix + name)) {
        this.#prefix = prefix;
        return;
      }
    }
  }

  async probe(name: string): Promise<boolean> {
    return this.#probePath(this.#prefix + name);
  }

  /** `undefined` when the server has no such file. `discard`: load it, but do not keep its bytes. */
  async read(name: string, options: { discard?: boolean } = {}): Promise<LoadedFile | undefined> {
    const { report, clock } = this.#context;
    const path = this.#prefix + name;
    const startMs = clock.monotonicMs();
    this.#log(`TFTP_GET: ${this.#context.server} ${path}`);
    const { outcome, retransmits } = await this.#transfer(path, { probe: false, discard: options.discard ?? false });
    if (outcome.kind === "refused") {
      this.#log(`TFTP ${outcome.code}: ${outcome.message}`);
      report({ kind: "file-missing", path, message: outcome.message });
      return undefined;
    }
    if (outcome.kind === "found") throw new Error(`Cannot read ${path}: it was only probed`);
    const { bytes, sizeBytes, negotiated } = outcome;
    if (this.#context.dialect.needsOptions && !negotiated) {
      report({ kind: "file-missing", path, message: "the server ignores TFTP options" });
      return undefined;
    }
    this.#log(`Read ${path} bytes ${String(sizeBytes).padStart(8)} hnd 0x0`);
    report({ kind: "file-loaded", path, sizeBytes, durationMs: clock.monotonicMs() - startMs, retransmits });
    const file = { path, bytes, sizeBytes, negotiated };
    this.loaded.set(path, file);
    return file;
  }

  async #probePath(path: string): Promise<boolean> {
    const { outcome } = await this.#transfer(path, { probe: true, discard: true });
    const found = outcome.kind === "found";
    this.#context.report({ kind: "file-probed", path, found });
    return found;
  }

  async #transfer(
    path: string,
    how: { probe: boolean; discard: boolean },
  ): Promise<{ outcome: TftpOutcome; retransmits: number }> {
    const { stack, clock, server, dialect, times } = this.#context;
    const { silence, askAgainMs } = dialect;
    const sourcePort = this.#localPort++;
    const transfer = new TftpRead({ path, ...dialect, ...how });
    const deadlineMs = clock.monotonicMs() + times.tftpFileTimeoutMs;
    let heardMs = clock.monotonicMs();
    let askedMs = heardMs;
    let stopListening = () => {};
    let timer = { cancel: () => {} };
    try {
      const outcome = await new Promise<TftpOutcome>((resolve, reject) => {
        const perform = (step: TftpStep, port: number) => {
          const isWrong = dialect.endsProbesAtWrongPort && step.outcome?.kind === "found";
          const to = { address: server, port: isWrong ? port + 1 : port };
          if (step.send) stack.send({ sourcePort, to, bytes: step.send });
          if (step.outcome) resolve(step.outcome);
        };
        const untilNextMs = () => {
          const limits = [deadlineMs];
          if (silence) limits.push(heardMs + silence.limitMs);
          if (askAgainMs !== undefined) limits.push(Math.max(heardMs, askedMs) + askAgainMs);
          // At least a millisecond: a shorter wait can round to none, and time would stand still.
          return Math.max(1, Math.min(...limits) - clock.monotonicMs());
        };
        const onTimer = () => {
          const nowMs = clock.monotonicMs();
          const silentMs = nowMs - heardMs;
          if (nowMs >= deadlineMs) return reject(fileTimeout(path, transfer, times.tftpFileTimeoutMs));
          if (silence && silentMs >= silence.limitMs) {
            if (silence.outcome === "give-up") return reject(fileTimeout(path, transfer, silence.limitMs));
            return resolve({ kind: "refused", code: 0, message: `no data for ${silence.limitMs / 1000} s` });
          }
          if (askAgainMs !== undefined && nowMs - Math.max(heardMs, askedMs) >= askAgainMs) {
            askedMs = nowMs;
            perform(transfer.onTimeout(), transfer.serverPort ?? TFTP_PORT);
          }
          timer = clock.after(untilNextMs(), onTimer);
        };
        stopListening = stack.listen(sourcePort, (datagram) => {
          if (datagram.from.address !== server) return;
          heardMs = clock.monotonicMs();
          perform(transfer.onPacket(datagram.bytes, datagram.from.port), datagram.from.port);
        });
        timer = clock.after(untilNextMs(), onTimer);
        perform(transfer.start(), TFTP_PORT);
      });
      return { outcome, retransmits: transfer.retransmits };
    } finally {
      timer.cancel();
      stopListening();
    }
  }

  #log(text: string): void {
    this.#context.report({ kind: "firmware-log", text });
  }
}

function fileTimeout(path: string, transfer: TftpRead, limitMs: number): FirmwareFailure {
  const got = transfer.receivedBytes === 0 ? "nothing came" : `only ${transfer.receivedBytes} bytes came`;
  return new FirmwareFailure("file-timeout", `Cannot load ${path}: ${got} within ${limitMs / 1000} s`);
}
