/** What Docker 20.10.24 of Debian 12 said on virtual Pis (arm64), word for word. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { ShellOutcome } from "../../ports.ts";
import { hostAnswer, OBSERVE_SCRIPT } from "./observation.ts";

const NOW_S = 1_795_219_200;
const BEGIN = `\n@@ clock\n${NOW_S}\n\n@@ uptime\n4711\n\n@@ boot\n7d2cb04b-a7a4\n\n@@ architecture\narm64\n`;

function ended(stdout: string, stderr = ""): ShellOutcome {
  return { kind: "ended", exitCode: 0, stdout: BEGIN + stdout, stderr };
}
const info = (swarm: string, more = "") => `\n@@ info\n{"ID":"X","Driver":"overlay2",${more}"Swarm":${swarm}}\n`;

const OUTSIDE = `{"NodeID":"","NodeAddr":"","LocalNodeState":"inactive","ControlAvailable":false,"Error":"","RemoteManagers":null}`;
const WORKER = `{"NodeID":"rrfcpo1knmaj16yj10gfqiqym","NodeAddr":"10.77.0.12","LocalNodeState":"active","ControlAvailable":false,"Error":"","RemoteManagers":[{"NodeID":"q8y47q0zkbtdxg9qskeqw7kfp","Addr":"10.77.0.11:2377"}]}`;
const MANAGER = `{"NodeID":"q8y47q0zkbtdxg9qskeqw7kfp","NodeAddr":"10.77.0.11","LocalNodeState":"active","ControlAvailable":true,"Error":"","RemoteManagers":[{"NodeID":"q8y47q0zkbtdxg9qskeqw7kfp","Addr":"10.77.0.11:2377"}],"Nodes":2,"Managers":1,"Cluster":{"ID":"yqd70h06o7qfz236xvn29pvvk","Spec":{"Name":"default"},"RootRotationInProgress":false,"DataPathPort":4789}}`;
const NO_LEADER =
  "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are online. Make sure more than half of the managers are online.";
const WITHOUT_QUORUM = `{"NodeID":"q8y47q0zkbtdxg9qskeqw7kfp","NodeAddr":"10.77.0.11","LocalNodeState":"active","ControlAvailable":true,"Error":"${NO_LEADER}","RemoteManagers":[{"NodeID":"q8y47q0zkbtdxg9qskeqw7kfp","Addr":"10.77.0.11:2377"},{"NodeID":"na3s","Addr":"10.77.0.12:2377"}],"Cluster":{"ID":""}}`;
const NODES = `\n@@ nodes\n[
    {"ID":"q8y47q0zkbtdxg9qskeqw7kfp","Version":{"Index":9},
     "Spec":{"Labels":{},"Role":"manager","Availability":"active"},
     "Description":{"Hostname":"node1","Platform":{"Architecture":"aarch64","OS":"linux"},"Resources":{"NanoCPUs":2000000000,"MemoryBytes":1024856064}},
     "Status":{"State":"ready","Addr":"10.77.0.11"},
     "ManagerStatus":{"Leader":true,"Reachability":"reachable","Addr":"10.77.0.11:2377"}},
    {"ID":"rrfcpo1knmaj16yj10gfqiqym",
     "Spec":{"Labels":{"bramble.node":"node2"},"Role":"worker","Availability":"drain"},
     "Description":{"Hostname":"node2","Platform":{"Architecture":"aarch64","OS":"linux"},"Resources":{"NanoCPUs":2000000000,"MemoryBytes":1024856064}},
     "Status":{"State":"down","Message":"heartbeat failure","Addr":"10.77.0.12"}}
]\n`;

function docker(stdout: string) {
  const { host } = hostAnswer("node1", ended(stdout));
  if (host.kind !== "answered") throw new Error(JSON.stringify(host));
  return host.docker;
}
function swarm(stdout: string) {
  const found = docker(stdout);
  if (found.kind !== "running") throw new Error(JSON.stringify(found));
  return found.swarm;
}

describe("Docker is", () => {
  it.each<[string, string, object]>([
    ["missing", "\n@@ docker-missing\n", { kind: "missing" }],
    [
      "for another processor",
      "\n@@ docker-unusable\nsh: 1: docker: Exec format error\n",
      { kind: "unusable", words: "sh: 1: docker: Exec format error" },
    ],
    [
      "stopped",
      `\n@@ info\n{"ID":"","Driver":"","ServerErrors":["Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"],"Swarm":{"NodeID":"","LocalNodeState":"","ControlAvailable":false,"Error":"","RemoteManagers":null}}\n`,
      { kind: "stopped", words: expect.stringContaining("Is the docker daemon running?") },
    ],
    ["stopped where it does not even say JSON", "\n@@ info\nTerminated\n", { kind: "stopped", words: "Terminated" }],
  ])("%s", (_, stdout, expected) => {
    expect(docker(stdout)).toEqual(expected);
  });
});

describe("a node is", () => {
  it("in no swarm", () => {
    expect(swarm(info(OUTSIDE))).toEqual({
      state: "inactive",
      nodeId: "",
      isManager: false,
      managerAddresses: [],
      words: "",
    });
  });

  it("a worker, also after a warning of Docker's program", () => {
    const said = info(WORKER).replace("@@ info\n", "@@ info\nWARNING: No swap limit support\n");
    expect(swarm(said)).toEqual({
      state: "active",
      nodeId: "rrfcpo1knmaj16yj10gfqiqym",
      isManager: false,
      managerAddresses: ["10.77.0.11"],
      words: "",
    });
  });

  it("a manager, who lists members", () => {
    const answer = hostAnswer("node1", ended(info(MANAGER) + NODES));
    expect(swarm(info(MANAGER) + NODES)).toMatchObject({ isManager: true, clusterId: "yqd70h06o7qfz236xvn29pvvk" });
    expect(answer.host).toMatchObject({
      unixMs: NOW_S * 1000,
      uptimeS: 4711,
      bootId: "7d2cb04b-a7a4",
      architecture: "arm64",
    });
    expect(answer.cluster).toEqual({
      id: "yqd70h06o7qfz236xvn29pvvk",
      entries: [
        {
          id: "q8y47q0zkbtdxg9qskeqw7kfp",
          hostname: "node1",
          labels: {},
          role: "manager",
          availability: "active",
          state: "ready",
          memoryBytes: 1_024_856_064,
          manager: { isReachable: true, isLeader: true, address: "10.77.0.11" },
        },
        {
          id: "rrfcpo1knmaj16yj10gfqiqym",
          hostname: "node2",
          labels: { "bramble.node": "node2" },
          role: "worker",
          availability: "drain",
          state: "down",
          memoryBytes: 1_024_856_064,
        },
      ],
    });
  });

  it("a manager that hears no majority", () => {
    const said = `${info(WITHOUT_QUORUM)}\n@@ nodes-failed\nError response from daemon: ${NO_LEADER}\n`;
    const found = swarm(said);
    expect(found).toMatchObject({ state: "active", isManager: true, words: NO_LEADER });
    expect(found.clusterId).toBeUndefined();
  });

  it.each<[string, ShellOutcome, string, string]>([
    [
      "silent when ssh does not get there",
      { kind: "unreachable", reason: "ssh: connect to host 10.77.0.12 port 22: No route to host" },
      "node-unreachable",
      "No route to host",
    ],
    [
      "silent when sudo wants a password",
      { kind: "refused", reason: "sudo: a password is required" },
      "root-refused",
      "a password is required; set access.sudo: nopasswd",
    ],
    ["silent when it takes too long", { kind: "timed-out" }, "step-timed-out", "did not answer in time"],
    [
      "silent when it says something else",
      { kind: "ended", exitCode: 2, stdout: "Welcome!\n", stderr: "sh: 3: Syntax error\n" },
      "node-unreachable",
      "its answer is not understood: sh: 3: Syntax error",
    ],
  ])("%s", (_, outcome, cause, words) => {
    expect(hostAnswer("node2", outcome).host).toEqual({
      kind: "silent",
      problem: { cause, node: "node2", message: expect.stringContaining(words) },
    });
  });
});

it("shows what Docker says as it is, also certificates with line ends", () => {
  const folder = mkdtempSync(join(tmpdir(), "docker-"));
  try {
    const said = JSON.stringify({ Swarm: JSON.parse(MANAGER), Pem: "-----BEGIN-----\nMIIB\n" });
    writeFileSync(join(folder, "docker"), `#!/bin/sh\ncase $1 in info) printf '%s\\n' '${said}' ;; esac\n`, {
      mode: 0o755,
    });
    const env = { ...process.env, PATH: `${folder}:${process.env.PATH}` };
    const stdout = execFileSync("sh", ["-c", OBSERVE_SCRIPT], { env, encoding: "utf8" });
    const outcome: ShellOutcome = { kind: "ended", exitCode: 0, stdout, stderr: "" };
    expect(hostAnswer("node1", outcome).host).toMatchObject({
      docker: { kind: "running", swarm: { isManager: true } },
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
