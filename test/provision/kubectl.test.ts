/**
 * What the real kubectl makes of our command lines and of our kubeconfig. There is no cluster for it, so it is told of one that refuses
 * connections: words that it does not know it names before it tries one. The rest of Kubernetes is not to be had here.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { kubeconfigFor } from "../../src/provision/kubernetes/kubeconfig.ts";
import * as scripts from "../../src/provision/kubernetes/kubectl-scripts.ts";
import { requireTools } from "../lab/required-tools.ts";

/** Nothing listens on the port of `discard`. */
const NOBODY = "http://127.0.0.1:9";
/** Of `apply`, which asks for the schema first. */
const REFUSED =
  /(was refused - did you specify the right host or port\?|connect: connection refused; if you choose to ignore these errors.*)$/;

describe.skipIf(requireTools(["kubectl"]))("the real kubectl", () => {
  let folder: string;
  let kubectl: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bramble-kubectl-"));
    kubectl = join(folder, "kubectl");
    // Says that all went well, so that scripts go on to their next command.
    const answer = `said=$(kubectl --server=${NOBODY} "$@" 2>&1 < /dev/stdin)
printf '%s\\t%s\\n' "$*" "$(printf %s "$said" | tail -n 1)" >> ${folder}/log
case $* in *podIP*) echo 127.0.0.1 ;; esac
case $* in wait*|*' wait '*) [ ! -e ${folder}/wait-fails ] ;; esac`;
    writeFileSync(kubectl, `#!/bin/sh\n${answer}\n`, { mode: 0o755 });
  });

  afterAll(() => rmSync(folder, { recursive: true }));

  it("knows every word of the scripts' commands", { timeout: 120_000 }, () => {
    const access = { kubectl, forget: ":", pauseImage: "registry.k8s.io/pause:3.10" };
    const check = scripts.checkScript(access, "node1", "boot");
    const all = [
      scripts.nodesScript(access),
      scripts.waitReadyScript(access, "node1", 4),
      scripts.deleteScript(access, ["node1", "node2"]),
      scripts.drainScript(access, "node1", "leave"),
      scripts.uncordonScript(access, "node1"),
      scripts.markScript(access, [
        { name: "node1", labels: { "example.org/disk": "nfs" }, taints: ["small=yes:NoSchedule"] },
      ]),
      check,
    ];
    for (const script of all) expect(spawnSync("sh", { input: script, encoding: "utf8" }).stderr).toBe("");
    writeFileSync(join(folder, "wait-fails"), "");
    spawnSync("sh", { input: check });

    const told = readFileSync(join(folder, "log"), "utf8")
      .trim()
      .split("\n")
      .map((line) => line.split("\t"));
    expect(told.filter(([, said]) => !REFUSED.test(said!))).toEqual([]);
    const verbs = ["annotate", "apply", "delete", "drain", "get", "label", "taint", "uncordon", "wait"];
    const asked = told.map(([words]) => words!.replace(/^-n kube-system /, ""));
    expect([...new Set(asked.map((words) => words.split(" ")[0]))].sort()).toEqual(verbs);
    expect(asked).toContain(
      "get events --field-selector involvedObject.name=bramble-check-node1 -o jsonpath={.items[-1:].message}",
    );
  });

  it("would have named a word that it does not know", () => {
    writeFileSync(join(folder, "log"), "");
    spawnSync(kubectl, ["drain", "node1", "--ignore-daemon-sets"]);
    expect(readFileSync(join(folder, "log"), "utf8")).not.toMatch(REFUSED);
  });

  it("reads the kubeconfig that users get", () => {
    const path = join(folder, "attic.yaml");
    const cluster = "{server: 'https://127.0.0.1:6443', certificate-authority-data: c3RhbmQtaW4=}";
    const text = `apiVersion: v1\nkind: Config\nclusters:\n- name: default\n  cluster: ${cluster}\nusers:\n- name: default\n  user: {client-key-data: c2VjcmV0}\n`;
    writeFileSync(path, kubeconfigFor(text, "attic", "192.168.1.11")!);
    const words = ["config", "view", "--kubeconfig", path, "--minify", "--output"];
    const said = execFileSync("kubectl", [...words, "jsonpath={.current-context} {.clusters[0].cluster.server}"], {
      encoding: "utf8",
    });
    expect(said).toBe("attic https://192.168.1.11:6443");
  });
});
