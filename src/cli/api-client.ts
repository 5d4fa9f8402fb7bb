import type { IncomingMessage } from "node:http";
import type { ManifestProblem } from "../cluster/manifest-problem.ts";
import { UserError } from "./user-error.ts";

/** The manager was asked, and refused. */
export class RefusedError extends UserError {
  /** HTTP's. */
  readonly statusCode: number;
  /** Of the manifest, when that is why. */
  readonly problems: readonly ManifestProblem[] | undefined;

  constructor(statusCode: number, { message, problems }: { message?: string; problems?: readonly ManifestProblem[] }) {
    super(message ?? `The manager answered ${statusCode}`);
    this.name = "RefusedError";
    this.statusCode = statusCode;
    this.problems = problems;
  }
}

/** No manager could be asked. */
export class UnreachableError extends UserError {}

/** Talks to a running manager over the Unix socket in its state folder. */
export class ApiClient {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  async get<T>(path: string): Promise<T> {
    return (await this.#json("GET", path)) as T;
  }

  /** `body` is sent as JSON. */
  async post<T>(path: string, body?: object): Promise<T> {
    return (await this.#json("POST", path, body)) as T;
  }

  async delete<T>(path: string): Promise<T> {
    return (await this.#json("DELETE", path)) as T;
  }

  /** Yields one parsed line after another until the manager ends the stream. With a `body` it is asked to do something. */
  async *lines<T>(path: string, body?: object): AsyncGenerator<T> {
    const response = await this.#send(body ? "POST" : "GET", path, body);
    if ((response.statusCode ?? 500) >= 400) throw await refusalOf(response);
    const { createInterface } = await import("node:readline");
    for await (const line of createInterface({ input: response })) {
      if (line !== "") yield JSON.parse(line) as T;
    }
  }

  async #json(method: string, path: string, given?: object): Promise<unknown> {
    const response = await this.#send(method, path, given);
    if ((response.statusCode ?? 500) >= 400) throw await refusalOf(response);
    return bodyOf(response);
  }

  async #send(method: string, path: string, body?: object): Promise<IncomingMessage> {
    const { request } = await import("node:http");
    return new Promise((resolve, reject) => {
      const headers = body && { "content-type": "application/json" };
      const call = request({ socketPath: this.#socketPath, method, path, ...(headers && { headers }) });
      call.once("response", resolve);
      call.once("error", (error: NodeJS.ErrnoException) => {
        const notRunning = error.code === "ENOENT" || error.code === "ECONNREFUSED";
        reject(
          notRunning
            ? new UnreachableError(
                `Cannot reach the manager: none listens on ${this.#socketPath}; start it with "bramble up"`,
              )
            : error.code === "EACCES"
              ? new UnreachableError(
                  `Cannot reach the manager on ${this.#socketPath}: it runs as another user; use that one, or sudo`,
                )
              : error.code === "ECONNRESET"
                ? new UserError(
                    `Cannot reach the manager on ${this.#socketPath}: it ended before it answered; see what was done when it runs again`,
                  )
                : error,
        );
      });
      call.end(body && JSON.stringify(body));
    });
  }
}

async function bodyOf(response: IncomingMessage): Promise<object | undefined> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString();
  return text === "" ? undefined : (JSON.parse(text) as object);
}

async function refusalOf(response: IncomingMessage): Promise<RefusedError> {
  return new RefusedError(response.statusCode ?? 500, (await bodyOf(response)) ?? {});
}
