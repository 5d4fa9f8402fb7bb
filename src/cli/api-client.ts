import { type IncomingMessage, request } from "node:http";
import { createInterface } from "node:readline";
import { UserError } from "./user-error.ts";

/** Talks to a running manager over the Unix socket in its state folder. */
export class ApiClient {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  async get<T>(path: string): Promise<T> {
    return (await this.#json("GET", path)) as T;
  }

  async post<T>(path: string): Promise<T> {
    return (await this.#json("POST", path)) as T;
  }

  /** Yields one parsed line after another until the manager ends the stream. */
  async *lines<T>(path: string): AsyncGenerator<T> {
    const response = await this.#send("GET", path);
    for await (const line of createInterface({ input: response })) {
      if (line !== "") yield JSON.parse(line) as T;
    }
  }

  async #json(method: string, path: string): Promise<unknown> {
    const response = await this.#send(method, path);
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const body: unknown = text === "" ? undefined : JSON.parse(text);
    if ((response.statusCode ?? 500) >= 400) {
      throw new UserError(
        (body as { message?: string } | undefined)?.message ?? `The manager answered ${response.statusCode}`,
      );
    }
    return body;
  }

  #send(method: string, path: string): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const call = request({ socketPath: this.#socketPath, method, path });
      call.once("response", resolve);
      call.once("error", (error: NodeJS.ErrnoException) => {
        const notRunning = error.code === "ENOENT" || error.code === "ECONNREFUSED";
        reject(
          notRunning
            ? new UserError(`Cannot reach the manager: none listens on ${this.#socketPath}; start it with "bramble up"`)
            : error.code === "EACCES"
              ? new UserError(
                  `Cannot reach the manager on ${this.#socketPath}: it runs as another user; use that one, or sudo`,
                )
              : error,
        );
      });
      call.end();
    });
  }
}
