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
    measure: remembered((pageBytes) => files.measure(pageBytes)),
  };
}

function remembered<Question, Answer>(ask: (question: Question) => Answer): (question: Question) => Answer {
  const answers = new Map<Question, Answer>();
  return (question) => {
    if (answers.has(question)) return answers.get(question) as Answer;
    return note(answers, question, ask(question));
  };
}

function note<Question, Answer>(answers: Map<Question, Answer>, question: Question, answer: Answer): Answer {
  if (answers.size >= REMEMBERED_PATHS_MAX) answers.clear();
  answers.set(question, answer);
  return answer;
}
