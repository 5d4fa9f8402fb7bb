/**
 * The part of the control interface that is about what is kept of nodes. Each line is one JSON.
 *
 *   GET /v1/nodes/:node/log?lines=N&follow=1    the last N events and console lines, oldest first (`BootEvent`)
 *   GET /v1/nodes/:node/capture?follow=1        the last packets (`CapturedPacketJson`)
 */
import { PassThrough, Readable } from "node:stream";
import type { FastifyInstance } from "fastify";
import type { BootEvent } from "../cluster/event.ts";
import type { NodeRecords } from "./node-records.ts";

interface OfNode {
  Params: { node: string };
  Querystring: { follow?: string; lines?: string };
}

const NDJSON = "application/x-ndjson";
/** Who is this far behind is cut off rather than buffered without end. */
const FOLLOW_BUFFER_BYTES_MAX = 4 * 1024 * 1024;

export function addRecordsApi(api: FastifyInstance, records: NodeRecords): void {
  api.get<OfNode>("/v1/nodes/:node/log", async ({ params, query }, reply) => {
    const count = query.lines === undefined ? undefined : Number(query.lines);
    if (!query.follow) {
      const events = await records.log(params.node, count);
      return reply.type(NDJSON).send(events.map(lineOf).join(""));
    }
    const stream = new PassThrough();
    let hear = (event: BootEvent) => void stream.write(lineOf(event));
    const stop = await records.followLog(params.node, (event) => hear(event), count);
    hear = (event) => {
      if (stream.writableLength > FOLLOW_BUFFER_BYTES_MAX) stream.destroy();
      else stream.write(lineOf(event));
    };
    stream.once("close", stop);
    return reply.type(NDJSON).send(stream);
  });
  api.get<OfNode>("/v1/nodes/:node/capture", async ({ params, query }, reply) => {
    const batches = records.capture(params.node, Boolean(query.follow));
    return reply.type(NDJSON).send(Readable.from(linesOf(batches)));
  });
}

async function* linesOf<T>(batches: AsyncGenerator<readonly T[]>): AsyncGenerator<string> {
  for await (const batch of batches) yield batch.map(lineOf).join("");
}

function lineOf(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}
