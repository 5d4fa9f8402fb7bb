import { setTimeout as delay } from "node:timers/promises";
import type { Command } from "commander";
import type { ClusterActivityView, NodeActivityDetail } from "../../manager/cluster-activity.ts";
import type { ApiClient } from "../api-client.ts";
import { apiOf, globalOptions, printJson } from "../context.ts";
import { nodeTopTable, type TopSpace, topTable } from "../top-table.ts";

const REFRESH_MS = 1000;

const SPACE_USUAL: TopSpace = { columns: 80, rows: Number.POSITIVE_INFINITY };

/** From the top of the screen, and nothing of what stood there. */
const CLEAR = "\u001b[H\u001b[J";
const OTHER_SCREEN = { enter: "\u001b[?1049h\u001b[?25l", leave: "\u001b[?25h\u001b[?1049l" };

export function addTop(bramble: Command): void {
  bramble
    .command("top")
    .argument("[node]", "one node: by procedure, with its busiest files")
    .description("what nodes do to their files, live: calls, bytes, latency, failures, the busiest files")
    .option("--once", "print it once and end")
    .action(async (node: string | undefined, { once }: { once?: boolean }, command: Command) => {
      const api = apiOf(command);
      const { json } = globalOptions(command);
      if (once) {
        const view = await ask(api, node);
        if (json) printJson(view);
        else console.log(tableOf(view, { ...SPACE_USUAL, columns: process.stdout.columns ?? SPACE_USUAL.columns }));
      } else if (json || !process.stdout.isTTY) {
        await print(api, node, json ?? false);
      } else {
        await showLive(api, node);
      }
    });
}

type View = ClusterActivityView | NodeActivityDetail;

function ask(api: ApiClient, node: string | undefined): Promise<View> {
  return node === undefined
    ? api.get<ClusterActivityView>("/v1/activity")
    : api.get<NodeActivityDetail>(`/v1/activity/${encodeURIComponent(node)}`);
}

function tableOf(view: View, space: TopSpace): string {
  return "nodes" in view ? topTable(view, space) : nodeTopTable(view, space);
}

/** One after the other, for programs and files. Ends with the manager, or whoever reads. */
async function print(api: ApiClient, node: string | undefined, json: boolean): Promise<void> {
  for (;;) {
    const view = await ask(api, node);
    console.log(json ? JSON.stringify(view) : `${tableOf(view, SPACE_USUAL)}\n`);
    await delay(REFRESH_MS);
  }
}

async function showLive(api: ApiClient, node: string | undefined): Promise<void> {
  const out = process.stdout;
  // What is wrong at the start is said without a change of screen.
  let view = await ask(api, node);
  out.write(OTHER_SCREEN.enter);
  const leave = () => out.write(OTHER_SCREEN.leave);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      leave();
      process.exit(0);
    });
  }
  try {
    for (;;) {
      const space = { columns: out.columns, rows: out.rows - 1 };
      const lines = tableOf(view, space).split("\n").slice(0, space.rows);
      out.write(`${CLEAR}${lines.join("\n")}\n`);
      await delay(REFRESH_MS);
      view = await ask(api, node);
    }
  } finally {
    // Before the reason is told, which would go with the other screen.
    leave();
  }
}
