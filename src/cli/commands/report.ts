import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import type { Explanation } from "../../cluster/diagnosis/explanation.ts";
import type { BootEvent } from "../../cluster/event.ts";
import type { BootPlanJson } from "../../cluster/plan-json.ts";
import type { CapturedPacketJson } from "../../manager/capture/captured-packet.ts";
import type { ManagerStatusView } from "../../manager/status-view.ts";
import { type ApiClient, UnreachableError } from "../api-client.ts";
import { apiOf, globalOptions, printJson, stateFolderFor } from "../context.ts";
import { withoutColours } from "../table.ts";
import { UserError } from "../user-error.ts";
import { explanationText } from "./explain.ts";
import { logText } from "./logs.ts";

/** A file of the report; the name without the folder. */
interface Part {
  name: string;
  content: string | Uint8Array;
}

export function addReport(bramble: Command): void {
  bramble
    .command("report <node>")
    .description("puts what is known of a node's boots into one file for a bug report, without secrets")
    .option("-o, --output <file>", "where to; compressed unless it ends with .tar")
    .action(async (node: string, { output }: { output?: string }, command: Command) => {
      const path = output ?? `bramble-report-${node}.tar.gz`;
      const { parts, missing } = await gather(node, command);
      await writeTar(path, `bramble-report-${node}`, parts);
      if (globalOptions(command).json) {
        printJson({ path: resolve(path), files: parts.map(({ name }) => name), missing });
        return;
      }
      console.log(`${path}: ${parts.map(({ name }) => name).join(", ")}`);
      for (const why of missing) console.log(`missing: ${why}`);
      console.log(
        "Secrets are taken out. Names, addresses and serial numbers are not: look through it before you publish it.",
      );
    });
}

interface Gathered {
  parts: Part[];
  missing: string[];
}

async function gather(node: string, command: Command): Promise<Gathered> {
  const { manifest } = globalOptions(command);
  const { readManifestText } = await import("../../manager/manifest-text.ts");
  const { redaction, redactManifest, redactPlan, redactValue } = await import("../../manager/report-redaction.ts");
  const { secretsOfState } = await import("../../manager/report-secrets.ts");
  const contents = await import("../../manager/report-contents.ts");

  const stateFolder = stateFolderFor(command);
  const ofManifest = redactManifest(readManifestText(manifest));
  const ofState = secretsOfState(stateFolder);
  const redact = redaction([...(ofManifest?.secrets ?? []), ...ofState.secrets]);
  const parts: Part[] = [];
  const missing = ofState.unreadable.map(
    (path) => `${path} may not be read; what looks like a secret is taken out all the same`,
  );
  const add = (name: string, text: string) => void parts.push({ name, content: redact(withoutColours(text)) });
  const addJson = (name: string, value: unknown) =>
    void parts.push({ name, content: `${JSON.stringify(redactValue(value, redact), null, 1)}\n` });
  const attempt = async (what: string, run: () => Promise<void> | void) => {
    try {
      await run();
    } catch (error) {
      missing.push(redact(`${what}: ${(error as Error).message}`));
    }
  };

  const api = apiOf(command);
  const status = await statusOf(api, node, missing);
  addJson("versions.json", contents.versions());
  if (ofManifest) add("manifest.yaml", ofManifest.text);
  else missing.push("the manifest: it is no valid YAML, so nobody knows which parts of it are secret");
  if (status) {
    addJson("status.json", { ...status, nodes: status.nodes.filter(({ name }) => name === node) });
    await attempt("the plan", async () =>
      addJson("plan.json", redactPlan(await api.get<BootPlanJson>(`/v1/plan/${encodeURIComponent(node)}`))),
    );
    await attempt("its explanation", async () => {
      const explanation = await api.get<Explanation>(`/v1/explanation/${encodeURIComponent(node)}`);
      add("explanation.txt", `${explanationText(explanation, Date.now())}\n`);
      addJson("explanation.json", explanation);
    });
    await attempt("its activity", async () =>
      addJson("activity.json", await api.get(`/v1/activity/${encodeURIComponent(node)}`)),
    );
    await attempt("its packets", async () => {
      const all = await collect<CapturedPacketJson>(api, `/v1/nodes/${encodeURIComponent(node)}/capture`);
      const packets = all.map(contents.withoutContents);
      parts.push({ name: "capture.pcap", content: contents.captureFile(packets) });
      add("capture.txt", contents.captureText(packets));
    });
  }
  await attempt("its log", async () => {
    const log = status
      ? await collect<BootEvent>(api, `/v1/nodes/${encodeURIComponent(node)}/log`)
      : await contents.logOnDisk(stateFolder, node);
    const lines = log.map((event) => `${JSON.stringify(redactValue(event, redact))}\n`);
    parts.push({ name: "events.ndjson", content: lines.join("") });
    const text = logText();
    add(
      "log.txt",
      log
        .flatMap((event) => text(event) ?? [])
        .map((line) => `${line}\n`)
        .join(""),
    );
    if (!status) add("explanation.txt", contents.standingDiagnoses(log));
  });
  add("README.txt", readme(node, missing));
  return { parts, missing };
}

/** `undefined` when no manager runs. Rejects when it knows no such node. */
async function statusOf(api: ApiClient, node: string, missing: string[]): Promise<ManagerStatusView | undefined> {
  try {
    const status = await api.get<ManagerStatusView>("/v1/status");
    if (status.nodes.some(({ name }) => name === node)) return status;
    throw new UserError(`Cannot report on ${node}: the manifest has no node of that name`);
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
    missing.push(`status, plan, activity and packets. ${error.message}`);
    return undefined;
  }
}

async function collect<T>(api: ApiClient, path: string): Promise<T[]> {
  const all: T[] = [];
  for await (const each of api.lines<T>(path)) all.push(each);
  return all;
}

function readme(node: string, missing: readonly string[]): string {
  return `Report of bramble on the node ${node}, made ${new Date().toISOString()}.

README.txt        this
explanation.txt   why it does not get on, as far as that is known
log.txt           its boots: packets, files, console lines
events.ndjson     the same as data
capture.pcap      its last packets, for Wireshark; contents of files and console lines are left out, headers are made again
capture.txt       the same as text
status.json, explanation.json, plan.json, activity.json, versions.json, manifest.yaml

Taken out: password hashes, keys, tokens, passwords in URLs, comments of the manifest, contents of files that it gives to
nodes. Not taken out: names, addresses, serial numbers, and whatever a node printed that does not look like a secret.
${missing.length > 0 ? `\nMissing:\n${missing.map((why) => `- ${why}\n`).join("")}` : ""}`;
}

async function writeTar(path: string, folderName: string, parts: readonly Part[]): Promise<void> {
  const { create } = await import("tar");
  const place = await mkdtemp(join(tmpdir(), "bramble-report-"));
  try {
    await mkdir(join(place, folderName));
    for (const { name, content } of parts) await writeFile(join(place, folderName, name), content, { mode: 0o644 });
    await create({ file: path, cwd: place, gzip: !path.endsWith(".tar"), portable: true }, [folderName]);
  } catch (error) {
    throw new UserError(`Cannot write the report ${path}: ${(error as Error).message}`);
  } finally {
    await rm(place, { recursive: true, force: true });
  }
}
