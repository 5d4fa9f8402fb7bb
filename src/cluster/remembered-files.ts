/**
 * An image's files with their answers remembered. Plans ask the same few hundred questions for every node, and an image
 * never changes while it is open.
 */
import { REMEMBERED_FILE_BYTES_MAX, REMEMBERED_PATHS_MAX } from "../limits.ts";
import type { ImageFiles } from "./generated-file.ts";

export function rememberFiles(files: ImageFiles): ImageFiles {
  const contents = new Map<string, Uint8Array | undefined>();
  return {
    readFile(path, maxBytes) {
      const known = contents.get(path);
      // A larger file may be too large for this caller: the image decides.
      if (contents.has(path) && (known === undefined || maxBytes === undefined || known.length <= maxBytes))
        return known;
      const content = files.readFile(path, maxBytes);
      if (content === undefined || content.length <= REMEMBERED_FILE_BYTES_MAX) note(contents, path, content);
      return content;
    },
    exists: remembered((path) => files.exists(path)),
    isDirectory: remembered((path) => files.isDirectory(path)),
    list: remembered((path) => files.list(path)),
  };
}

function remembered<Answer>(ask: (path: string) => Answer): (path: string) => Answer {
  const answers = new Map<string, Answer>();
  return (path) => {
    if (answers.has(path)) return answers.get(path) as Answer;
    return note(answers, path, ask(path));
  };
}

function note<Answer>(answers: Map<string, Answer>, path: string, answer: Answer): Answer {
  if (answers.size >= REMEMBERED_PATHS_MAX) answers.clear();
  answers.set(path, answer);
  return answer;
}
