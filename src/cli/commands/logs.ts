import type { Command } from "commander";
import type { BootEvent } from "../../cluster/event.ts";
import { UnreachableError } from "../api-client.ts";
import { apiOf, globalOptions, stateFolderFor } from "../context.ts";
import { eventLine, eventText } from "../event-text.ts";
import { coloured, formatCount } from "../table.ts";
import { UserError } from "../user-error.ts";

interface LogOptions {
  follow?: boolean;
  lines?: string;
}

export function addLogs(bramble: Command): void {
  bramble
    .command("logs <node>")
    .description("what happened to a node: boot packets, files and the lines of its console, also before a restart")
    .option("-f, --follow", "go on with what happens")
    .option("-n, --lines <count>", "only so many of what has happened")
    .action(async (node: string, { follow, lines }: LogOptions, command: Command) => {
      const query = new URLSearchParams();
      if (follow) query.set("follow", "1");
      if (lines !== undefined) query.set("lines", String(lineCount(lines)));
      const show = globalOptions(command).json ? (event: BootEvent) => JSON.stringify(event) : logText();
      const path = `/v1/nodes/${encodeURIComponent(node)}/log?${query}`;
      const print = (event: BootEvent) => {
        const text = show(event);
        if (text !== undefined) console.log(text);
      };
      try {
        for await (const event of apiOf(command).lines<BootEvent>(path)) print(event);
      } catch (error) {
        if (!(error instanceof UnreachableError) || follow) throw error;
        const { logOnDisk } = await import("../../manager/report-contents.ts");
        const kept = await logOnDisk(stateFolderFor(command), node);
        // Nothing tells then whether there is such a node.
        if (!kept.some((event) => event.node === node)) throw error;
        for (const event of kept.slice(lines === undefined ? 0 : Math.max(0, kept.length - Number(lines))))
          print(event);
        console.error("No manager runs: this is what the last one left");
      }
    });
}

function lineCount(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new UserError(`Cannot show ${text} lines: expected a number, as --lines 100`, 2);
}

/** Texts of events in their order, with a line before the first of each day. */
export function logText(): (event: BootEvent) => string | undefined {
  let day = "";
  return (event) => {
    const text = lineOf(event);
    if (text === undefined) return undefined;
    const before = day;
    day = new Date(event.unixMs).toISOString().slice(0, 10);
    return day === before ? text : `${coloured(`${day} UTC`, "bold")}\n${text}`;
  };
}

/** Also of what would be too much for the other views. */
function lineOf(event: BootEvent): string | undefined {
  switch (event.kind) {
    case "tftp-request": {
      const blocks = event.blockBytes === undefined ? "" : ` in blocks of ${event.blockBytes}`;
      return eventLine(event, coloured(`tftp  asks for ${event.path}${blocks}`, "dim"));
    }
    case "console-line": {
      const dropped = event.dropped === undefined ? "" : `(${formatCount(event.dropped, "line")} before left out) `;
      return eventLine(event, `cons  ${dropped}${event.text}`);
    }
    default:
      return eventText(event);
  }
}
