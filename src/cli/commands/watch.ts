import type { Command } from "commander";
import type { BootEvent } from "../../cluster/event.ts";
import type { ManagerStatusView } from "../../manager/status-view.ts";
import type { ApiClient } from "../api-client.ts";
import { apiOf, globalOptions } from "../context.ts";
import { eventText } from "../event-text.ts";
import { LiveView } from "../live-view.ts";
import { statusTable } from "../status-table.ts";

const REFRESH_MS = 500;

export function addWatch(bramble: Command): void {
  bramble
    .command("watch")
    .description("the same, live, with what happens below it")
    .action(async (_, command: Command) => {
      const api = apiOf(command);
      const { json } = globalOptions(command);
      if (json || !process.stdout.isTTY) await followEvents(api, json ?? false);
      else await watch(api);
    });
}

async function followEvents(api: ApiClient, json: boolean): Promise<void> {
  for await (const event of api.lines<BootEvent>("/v1/events?follow=1")) {
    const line = json ? JSON.stringify(event) : eventText(event);
    if (line !== undefined) console.log(line);
  }
}

async function watch(api: ApiClient): Promise<void> {
  const view = new LiveView(process.stdout);
  const refresh = async () => view.setTable(statusTable(await api.get<ManagerStatusView>("/v1/status"), Date.now()));
  await refresh();
  const timer = setInterval(() => refresh().catch(() => {}), REFRESH_MS);
  process.once("SIGINT", () => {
    view.close();
    process.exit(0);
  });
  try {
    for await (const event of api.lines<BootEvent>("/v1/events?follow=1")) {
      const line = eventText(event);
      if (line !== undefined) view.addLine(line);
    }
  } finally {
    clearInterval(timer);
    view.close();
  }
}
