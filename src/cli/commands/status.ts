import type { Command } from "commander";
import type { ManagerStatusView } from "../../manager/status-view.ts";
import { apiOf, globalOptions, printJson } from "../context.ts";
import { statusTable } from "../status-table.ts";

export function addStatus(bramble: Command): void {
  bramble
    .command("status")
    .description("every node: stage, model, address, last boot")
    .action(async (_, command: Command) => {
      const status = await apiOf(command).get<ManagerStatusView>("/v1/status");
      if (globalOptions(command).json) printJson(status);
      else console.log(statusTable(status, Date.now()));
    });
}
