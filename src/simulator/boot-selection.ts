/**
 * config.txt as a boot loader meets it: over a network, where every file it wonders about costs a request.
 */
import { CONFIG_TXT_BYTES_MAX } from "../limits.ts";
import { type BootSelection, evaluateConfigTxt } from "../pi/config-txt.ts";
import type { BootFiles } from "./firmware-files.ts";
import type { VirtualBoard } from "./models.ts";

/** A config.txt can make the firmware wonder about a few dozen files at most. */
const QUESTIONS_MAX = 64;

/**
 * Evaluates config.txt for the board. The rules are synchronous and the files are not: so they run again and again,
 * and every file they ask about is fetched or probed in between, until they ask about nothing new.
 */
export async function selectBootFiles(files: BootFiles, board: VirtualBoard): Promise<BootSelection> {
  const contents = new Map<string, Uint8Array | undefined>();
  const present = new Map<string, boolean>();
  for (let round = 0; ; round++) {
    let question: { kind: "read" | "exists"; path: string } | undefined;
    const selection = evaluateConfigTxt(
      {
        read(path) {
          if (!contents.has(path)) question ??= { kind: "read", path };
          return contents.get(path);
        },
        exists(path) {
          if (!present.has(path)) question ??= { kind: "exists", path };
          return present.get(path) ?? false;
        },
      },
      { model: board.model.pi, serial: board.serial },
    );
    if (question === undefined || round === QUESTIONS_MAX) return selection;
    if (question.kind === "exists") present.set(question.path, await files.probe(question.path));
    else contents.set(question.path, await readConfig(files, question.path));
  }
}

/** Without the TFTP options the boot loader cannot know the size beforehand, and ignores the file (firmware issue 1012). */
async function readConfig(files: BootFiles, path: string): Promise<Uint8Array | undefined> {
  const file = await files.read(path);
  return file?.negotiated ? file.bytes.subarray(0, CONFIG_TXT_BYTES_MAX) : undefined;
}
