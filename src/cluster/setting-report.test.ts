import { describe, expect, it } from "vitest";
import { parseSettingReports, settingProblem } from "./setting-report.ts";

describe("what a node says of its settings", () => {
  it.each<[string, object[]]>([
    [
      "logs ready; swap ready",
      [
        { setting: "logs", state: "ready" },
        { setting: "swap", state: "ready" },
      ],
    ],
    ["logs full 3000 65536", [{ setting: "logs", state: "full", freeKiB: 3000, sizeKiB: 65536 }]],
    ["colour green; swap no-zram", [{ setting: "swap", state: "no-zram" }]],
    ["swap full; logs toString; logs ready x; logs", []],
    ["", []],
  ])("%j is read as far as it is understood", (text, expected) => {
    expect(parseSettingReports(text)).toEqual(expected);
  });

  it.each<[string, string | RegExp | undefined]>([
    ["logs ready 60000 65536", undefined],
    ["swap ready", undefined],
    ["logs full 3072 65536", /^The logs of node1 nearly fill their memory: 3 of 64 MiB are free; .*raise logs\.size$/],
    ["logs journal-full 3072 65536", /^The journal of node1 nearly fills the memory of its logs: 3 of 64 MiB are free/],
    ["logs too-large", /^The logs of node1 begin anew: the earlier ones do not fit into logs\.size; /],
    ["logs damaged", /^The logs of node1 begin anew: the earlier ones cannot be read; /],
    ["logs mount-failed", /^Cannot keep the logs of node1 in memory: mounting it failed; see journalctl -u /],
    ["logs no-space", /^Cannot flush the logs of node1: there is no space; make room .*is lost when it loses power$/],
    ["logs over-quota", /^Cannot flush the logs of node1: its quota does not allow it; raise quota; /],
    ["logs flush-failed", /^Cannot flush the logs of node1: see journalctl -u 'bramble-logs\*' on the node; /],
    ["swap no-zram", /^Cannot swap on node1: its kernel has no zram; /],
    ["swap failed", /^Cannot swap on node1: setting up zram failed; see journalctl -u bramble-swap on the node$/],
  ])("%s is told", (text, expected) => {
    const [report] = parseSettingReports(text);
    const message = settingProblem("node1", report!);
    if (expected === undefined) expect(message).toBeUndefined();
    else expect(message).toMatch(expected);
  });
});
