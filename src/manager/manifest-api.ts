/**
 * The part of the control interface that changes the manifest. What values mean is the manifest's to check: 422.
 *
 *   POST   /v1/nodes?manifest=PATH              adds a node to the manifest and serves it; the body is its entry
 *   POST   /v1/nodes/:node/board?manifest=PATH  gives the node another board; the body has its serial, or mac, and model
 *   DELETE /v1/nodes/:node?manifest=PATH        takes the node out of the manifest
 *   POST   /v1/reload                           reads the manifest again
 *
 * 409: the manager serves another manifest than PATH. While it is still starting, the file is all that is changed, and a
 * reload is answered with 503.
 */
import type { FastifyInstance } from "fastify";
import type { BoardIdentity } from "../cluster/manifest-board.ts";
import type { NodeEntry } from "../cluster/manifest-edit.ts";
import type { ManifestCommands } from "./manifest-commands.ts";
import { RequestError } from "./request-error.ts";

interface OfManifest {
  Params: { node: string };
  Querystring: { manifest?: string };
}

export function addManifestApi(api: FastifyInstance, commands: ManifestCommands): void {
  api.post("/v1/reload", () => commands.reload());
  api.post<OfManifest>("/v1/nodes", async ({ body, query }) => commands.addNode(nodeEntryOf(body), query.manifest));
  api.post<OfManifest>("/v1/nodes/:node/board", async ({ body, params, query }) =>
    commands.replaceBoard(params.node, boardOf(body), query.manifest),
  );
  api.delete<OfManifest>("/v1/nodes/:node", async ({ params, query }) =>
    commands.removeNode(params.node, query.manifest),
  );
}

function nodeEntryOf(body: unknown): NodeEntry {
  const entry = textsOf(body, "add a node", ["name", "mac", "serial", "address", "model"]);
  if (entry.name === undefined) throw unexpected("add a node", ["name", "mac", "serial", "address", "model"]);
  return entry as NodeEntry;
}

function boardOf(body: unknown): BoardIdentity {
  const keys = ["mac", "serial", "model"] as const satisfies (keyof BoardIdentity)[];
  const board = textsOf(body, "replace a board", keys);
  if (board.mac === undefined && board.serial === undefined) throw unexpected("replace a board", keys);
  return board;
}

/** The values of an object that holds nothing but texts of these keys, in their order. */
function textsOf<Key extends string>(body: unknown, what: string, keys: readonly Key[]): Partial<Record<Key, string>> {
  const given = new Map(typeof body === "object" && body !== null ? Object.entries(body) : []);
  const unknown = [...given.keys()].find((key) => !(keys as readonly string[]).includes(key));
  if (unknown !== undefined || [...given.values()].some((value) => typeof value !== "string")) {
    throw unexpected(what, keys, unknown);
  }
  return Object.fromEntries(keys.flatMap((key) => (given.has(key) ? [[key, given.get(key)]] : []))) as Partial<
    Record<Key, string>
  >;
}

function unexpected(what: string, keys: readonly string[], unknown?: string): RequestError {
  const why = unknown === undefined ? "" : `, not ${unknown}`;
  return new RequestError(400, `Cannot ${what}: expected a JSON object of ${keys.join(", ")} as text${why}`);
}
