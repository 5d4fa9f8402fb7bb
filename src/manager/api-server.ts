/**
 * The control interface: HTTP over a Unix socket in the state folder, for the command line (and later the
 * dashboard). File permissions of the socket are its access control.
 *
 *   GET  /v1/status              every node
 *   GET  /v1/events?after=N      events after N, one JSON a line; `follow=1` keeps the stream open
 *   GET  /v1/activity            what every node does: rates, latency, totals
 *   GET  /v1/activity/:node      one node by procedure, with its busiest files and users
 *   GET  /v1/explanation/:node   why a node does not get on: what was seen, the cause, what to do
 *   GET  /v1/plan/:node          what would be answered and served
 *   POST /v1/nodes/:node/reset   drops what the node wrote; 507: the disk is full, and nothing was dropped
 *   …                            what changes the manifest: manifest-api.ts; what is about layers: layers-api.ts; about logs and
 *                                packets: records-api.ts; about the cluster that an orchestrator makes: cluster-api.ts; what has nodes
 *                                configured: configuration/configuration-api.ts
 *
 * A failure answers with its `message`; with `problems` too when the manifest is wrong, which the caller can show by line.
 */
import { chmodSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { PassThrough } from "node:stream";
import fastify, { type FastifyInstance } from "fastify";
import { API_BODY_BYTES_MAX } from "../limits.ts";
import type { ClusterActivity } from "./cluster-activity.ts";
import { addClusterApi } from "./cluster-api.ts";
import type { ClusterControl } from "./cluster-control.ts";
import type { ClusterDiagnoses } from "./cluster-diagnoses.ts";
import { addConfigurationApi } from "./configuration/configuration-api.ts";
import type { Configurator } from "./configuration/configurator.ts";
import type { Journal } from "./journal.ts";
import { addLayersApi } from "./layers-api.ts";
import { addManifestApi } from "./manifest-api.ts";
import type { ManifestCommands } from "./manifest-commands.ts";
import { ManifestError } from "./manifest-error.ts";
import type { NodeLayers } from "./node-layers.ts";
import type { NodeRecords } from "./node-records.ts";
import { addRecordsApi } from "./records-api.ts";

/** What the API can ask of the manager. Methods throw `RequestError` for the caller's mistakes. */
export interface ManagerControl {
  readonly activity: ClusterActivity;
  readonly records: NodeRecords;
  readonly diagnoses: Pick<ClusterDiagnoses, "explain">;
  readonly manifest: ManifestCommands;
  readonly cluster: ClusterControl;
  status(): unknown;
  plan(node: string): Promise<unknown>;
  reset(node: string): Promise<unknown>;
  layers(): NodeLayers;
  configurator(): Pick<Configurator, "prepare">;
}

/** A listener this far behind is cut off rather than buffered without end; it may ask again with `after`. */
const FOLLOW_BUFFER_BYTES_MAX = 4 * 1024 * 1024;

export async function serveApi(
  socketPath: string,
  control: ManagerControl,
  journal: Journal,
): Promise<FastifyInstance> {
  await takeSocket(socketPath);
  const api = fastify({ logger: false, forceCloseConnections: true, bodyLimit: API_BODY_BYTES_MAX });
  api.setErrorHandler(async (error: Error & { statusCode?: number }, _request, reply) => {
    const problems = error instanceof ManifestError ? error.problems : undefined;
    const statusCode = problems ? 422 : (error.statusCode ?? 500);
    return reply.code(statusCode).send({ statusCode, message: error.message, ...(problems && { problems }) });
  });
  api.get("/v1/status", () => control.status());
  api.get("/v1/activity", () => control.activity.view());
  api.get<{ Params: { node: string } }>("/v1/activity/:node", (request) =>
    control.activity.detail(request.params.node),
  );
  api.get<{ Params: { node: string } }>("/v1/explanation/:node", (request) =>
    control.diagnoses.explain(request.params.node),
  );
  api.get<{ Params: { node: string } }>("/v1/plan/:node", (request) => control.plan(request.params.node));
  api.post<{ Params: { node: string } }>("/v1/nodes/:node/reset", (request) => control.reset(request.params.node));
  addManifestApi(api, control.manifest);
  addClusterApi(api, control.cluster);
  addLayersApi(api, () => control.layers());
  addRecordsApi(api, control.records);
  addConfigurationApi(api, () => control.configurator());
  api.get<{ Querystring: { after?: string; follow?: string } }>("/v1/events", (request, reply) => {
    const after = Number(request.query.after ?? 0);
    const stream = new PassThrough();
    for (const event of journal.events) {
      if (event.sequence > after) stream.write(`${JSON.stringify(event)}\n`);
    }
    if (request.query.follow) {
      const stop = journal.listen((event) => {
        if (stream.writableLength > FOLLOW_BUFFER_BYTES_MAX) stream.destroy();
        else stream.write(`${JSON.stringify(event)}\n`);
      });
      stream.once("close", stop);
    } else {
      stream.end();
    }
    return reply.type("application/x-ndjson").send(stream);
  });
  await api.listen({ path: socketPath });
  chmodSync(socketPath, 0o660);
  return api;
}

/** Removes the socket that a killed manager left; refuses when one still answers on it. */
async function takeSocket(socketPath: string): Promise<void> {
  const answered = await new Promise<boolean>((resolve) => {
    const probe = connect(socketPath);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", () => resolve(false));
  });
  if (answered) {
    throw new Error(`Cannot start: a manager already runs on ${socketPath}; use it, stop it, or set another stateDir`);
  }
  rmSync(socketPath, { force: true });
}
