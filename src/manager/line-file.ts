/**
 * A file that lines are appended to, and that is moved to `.1` when it is large. Lines are written a little later, so
 * that many go together; losing its tail in a power cut must lose nothing else.
 */
import { createReadStream } from "node:fs";
import { open, readFile, rename } from "node:fs/promises";
import { createInterface } from "node:readline";
import type { Clock } from "../ports.ts";

const FLUSH_AFTER_MS = 200;

const NEWLINE = 0x0a;

export class LineFile {
  readonly #path: string;
  readonly #bytesMax: number;
  readonly #clock: Pick<Clock, "after">;
  #unwritten = "";
  #writing: Promise<void> = Promise.resolve();
  #flushPlanned = false;
  /** Its last line has an end, as far as we wrote it. */
  #isWhole = false;

  constructor(path: string, bytesMax: number, clock: Pick<Clock, "after">) {
    this.#path = path;
    this.#bytesMax = bytesMax;
    this.#clock = clock;
  }

  /** All that an earlier run left, oldest first. */
  async readAll(): Promise<string[]> {
    const texts = await Promise.all(this.#paths.map((path) => readFile(path, "utf8").catch(() => "")));
    return texts.flatMap((text) => text.split("\n")).filter((line) => line !== "");
  }

  /** All lines, of earlier runs and of this one, without holding them in memory. */
  async *lines(): AsyncGenerator<string> {
    await this.flush();
    for (const path of this.#paths) {
      const input = createReadStream(path);
      try {
        for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) yield line;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      } finally {
        input.destroy();
      }
    }
  }

  append(line: string): void {
    this.#unwritten += `${line}\n`;
    if (this.#flushPlanned) return;
    this.#flushPlanned = true;
    this.#clock.after(FLUSH_AFTER_MS, () => void this.flush());
  }

  /** Resolves when all that was appended is in the file, or could not be written. */
  flush(): Promise<void> {
    this.#flushPlanned = false;
    const text = this.#unwritten;
    this.#unwritten = "";
    // A full disk must not stop boots: the next flush tries again with new lines.
    this.#writing = this.#writing.then(() => this.#write(text)).catch(() => {});
    return this.#writing;
  }

  get #paths(): string[] {
    return [`${this.#path}.1`, this.#path];
  }

  async #write(text: string): Promise<void> {
    if (text === "") return;
    const file = await open(this.#path, "a+", 0o640);
    try {
      const { size } = await file.stat();
      // A line that a power cut left short must not take the next one with it.
      if (size > 0 && !this.#isWhole) {
        const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1);
        if (buffer[0] !== NEWLINE) await file.appendFile("\n");
      }
      await file.appendFile(text);
      this.#isWhole = true;
      if (size + text.length > this.#bytesMax) await rename(this.#path, `${this.#path}.1`);
    } catch (error) {
      this.#isWhole = false;
      throw error;
    } finally {
      await file.close();
    }
  }
}
