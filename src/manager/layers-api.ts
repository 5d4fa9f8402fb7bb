/**
 * The part of the control interface that is about the layers of nodes.
 *
 *   GET    /v1/nodes/:node/snapshots                  oldest first
 *   POST   /v1/nodes/:node/snapshots/:name            takes one
 *   DELETE /v1/nodes/:node/snapshots/:name            removes it
 *   POST   /v1/nodes/:node/snapshots/:name/restore    goes back to it
 *   POST   /v1/nodes/:node/clone?to=NODE&snapshot=NAME    gives the files to another node
 *   GET    /v1/nodes/:node/diff                       changes, one JSON a line; the last line is `{"done":true}`, or
 *                                                     `{"failed":"…"}`
 *
 * 409: as things are that cannot be. 507: the disk is full. Nothing was changed then.
 */
import { Readable } from "node:stream";
import type { FastifyInstance } from "fastify";
import type { NodeChangeLine, NodeLayers } from "./node-layers.ts";
import { RequestError } from "./request-error.ts";

interface OfNode {
  Params: { node: string };
}

interface OfSnapshot {
  Params: { node: string; name: string };
}

/** `layers` throws `RequestError` while the manager starts. */
export function addLayersApi(api: FastifyInstance, layers: () => NodeLayers): void {
  api.get<OfNode>("/v1/nodes/:node/snapshots", async ({ params }) => layers().snapshots(params.node));
  api.post<OfSnapshot>("/v1/nodes/:node/snapshots/:name", ({ params }) => layers().snapshot(params.node, params.name));
  api.delete<OfSnapshot>("/v1/nodes/:node/snapshots/:name", ({ params }) =>
    layers().removeSnapshot(params.node, params.name),
  );
  api.post<OfSnapshot>("/v1/nodes/:node/snapshots/:name/restore", ({ params }) =>
    layers().restore(params.node, params.name),
  );
  api.post<OfNode & { Querystring: { to?: string; snapshot?: string } }>("/v1/nodes/:node/clone", (request) => {
    const { to, snapshot } = request.query;
    const { node } = request.params;
    if (to === undefined) throw new RequestError(400, `Cannot clone ${node}: the request does not say to which node`);
    return layers().clone(node, snapshot, to);
  });
  api.get<OfNode>("/v1/nodes/:node/diff", async (request, reply) => {
    const lines = Readable.from(linesOf(layers().diff(request.params.node)));
    return reply.type("application/x-ndjson").send(lines);
  });
}

async function* linesOf(changes: AsyncGenerator<NodeChangeLine>): AsyncGenerator<string> {
  try {
    for await (const change of changes) yield `${JSON.stringify(change)}\n`;
    yield `{"done":true}\n`;
  } catch (error) {
    yield `${JSON.stringify({ failed: (error as Error).message })}\n`;
  }
}
