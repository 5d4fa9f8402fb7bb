/**
 * The part of the control interface that has nodes configured.
 *
 *   POST /v1/configure   { nodes?: [name, …], check?: boolean } → one JSON a line (`ConfigureEvent`), the last one is the summary.
 *                        Who closes the connection before that ends the run.
 */
import { PassThrough } from "node:stream";
import type { FastifyInstance } from "fastify";
import { z } from "zod";
import { RequestError } from "../request-error.ts";
import type { Configurator, ConfigureRequest } from "./configurator.ts";

const requestSchema = z.strictObject({
  nodes: z.array(z.string()).exactOptional(),
  check: z.boolean().exactOptional(),
});

export function addConfigurationApi(api: FastifyInstance, configurator: () => Pick<Configurator, "prepare">): void {
  api.post("/v1/configure", (request, reply) => {
    const run = configurator().prepare(requestOf(request.body));
    const stream = new PassThrough();
    const closed = new AbortController();
    stream.once("close", () => closed.abort());
    run((event) => void stream.write(`${JSON.stringify(event)}\n`), closed.signal).then(
      () => stream.end(),
      (error: Error) => stream.destroy(error),
    );
    return reply.type("application/x-ndjson").send(stream);
  });
}

function requestOf(body: unknown): ConfigureRequest {
  const request = requestSchema.safeParse(body ?? {});
  if (request.success) return request.data;
  throw new RequestError(400, "Cannot configure nodes: expected a JSON object of nodes (a list of names) and check");
}
