/** An image cannot be had, for a reason the user can do something about. The message says what to do. */
export class ImageError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "ImageError";
  }
}

/** "Cannot import `what`: why", with the reason of a full disk or a missing file in plain words. */
export function importError(what: string, error: unknown, folder: string): Error {
  if (error instanceof ImageError || (error instanceof Error && error.name === "AbortError")) return error;
  return new ImageError(`Cannot import ${what}: ${reasonOf(error, folder)}`, { cause: error });
}

/** What xz, zstd, zlib and the libraries in their place say of a container that lacks its end or has wrong bytes. */
const DAMAGE = /unexpected (end|eof)|premature end|corrupt|xz file is truncated|incorrect .*check|^invalid /i;

function reasonOf(error: unknown, folder: string): string {
  const { code, message } =
    error instanceof Error ? (error as NodeJS.ErrnoException) : { code: "", message: `${error}` };
  if (code === "ENOSPC" || code === "EDQUOT" || /No space left on device/.test(message)) {
    return `the disk that holds ${folder} is full; make room there or choose another state directory`;
  }
  if (code === "ENOENT") return "there is no such file";
  if (code === "EACCES") return "the file may not be read by this user";
  if (code === "EISDIR") return "it is a directory";
  if (DAMAGE.test(message)) return `the file is damaged or cut short, so download or copy it again: ${message}`;
  return message;
}
