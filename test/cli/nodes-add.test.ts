/** Nodes that are added while a manager runs: who does it, what an answer promises, and what a kill leaves. */
import { readFileSync } from "node:fs";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { ApiClient } from "../../src/cli/api-client.ts";
import type { ManagerStatusView } from "../../src/manager/status-view.ts";
import { requireTools } from "../lab/required-tools.ts";
import { type RunningCommand, Workplace } from "./command-line.ts";
import { makeSmallImage, SMALL_IMAGE_COMMANDS } from "./small-image.ts";

const work = new Workplace();
const MANIFEST = `# the attic
cluster: attic
network: { address: 127.0.0.1, dhcp: external, ports: { tftp: 0, nfs: 0, mount: 0, portmap: 0, netconsole: 0 } }
image: os.img
stateDir: state
nodes:
  - { name: node1, mac: "dc:a6:32:00:00:01" }   # the first
`;

const asNobody = { asNobody: true };
const api = new ApiClient(work.path("state/manager.sock"));
let manager: RunningCommand;

async function startManager(): Promise<void> {
  manager = work.start(["up"], asNobody);
  await manager.waitFor(/serving/);
}

const add = (...words: string[]) => work.bramble(["nodes", "add", ...words], asNobody);
const served = async () => (await api.get<ManagerStatusView>("/v1/status")).nodes.filter((node) => node.image);
const namesServed = async () => (await served()).map((node) => node.name);
const namesInFile = () =>
  (parse(work.read("bramble.yaml")) as { nodes: { name: string }[] }).nodes.map(({ name }) => name);
const macOf = (index: number) => `02:00:00:00:00:${index.toString(16).padStart(2, "0")}`;

describe.skipIf(requireTools([...SMALL_IMAGE_COMMANDS, "setpriv"]))("adding a node to a running manager", () => {
  beforeEach(async () => {
    work.write("bramble.yaml", MANIFEST);
    if (manager?.child.exitCode === null) await api.post("/v1/reload");
    else {
      makeSmallImage(work.path("os.img"));
      await startManager();
    }
  });
  afterAll(() => work.remove());

  it("is done by the manager: when the command ends the node is in the file, planned, served and known to ssh", async () => {
    expect(await add("node2", "--mac", "dc:a6:32:00:00:02", "--model", "5")).toEqual({
      code: 0,
      stdout: "node2 is in the manifest and is served; what it writes will be kept apart from all others\n",
      stderr: "",
    });
    expect(work.read("bramble.yaml")).toBe(`${MANIFEST}  - { name: node2, mac: dc:a6:32:00:00:02, model: "5" }\n`);
    const plan = await api.get<{ identity: { sshHostKey: string } }>("/v1/plan/node2");
    expect(work.read("state/known_hosts")).toContain(`node2 ${plan.identity.sshHostKey}\n`);
    expect(await namesServed()).toEqual(["node1", "node2"]);
  });

  it("finds what a person has just written, and adds to that", async () => {
    work.write("bramble.yaml", `${MANIFEST}  - { name: mine, serial: "7" }\ncmdline: quiet # please\n`);
    expect(await add("node2", "--serial", "8")).toMatchObject({ code: 0 });
    expect(work.read("bramble.yaml")).toBe(
      `${MANIFEST}  - { name: mine, serial: "7" }\n  - { name: node2, serial: "8" }\ncmdline: quiet # please\n`,
    );
    expect(await namesServed()).toEqual(["node1", "mine", "node2"]);
    expect(await api.get("/v1/plan/node1")).toMatchObject({ commandLine: expect.stringMatching(/ quiet$/) });
  });

  it.each([
    [
      ["node2", "--mac", "DC-A6-32-00-00-01"],
      "The MAC address DC-A6-32-00-00-01 is already that of node1 (line 7). Give each node its own",
    ],
    [["node1", "--serial", "8"], "The name node1 is already that of nodes[0] (line 7). Give each node its own"],
    [["node2"], "Expected a mac or a serial: it is how the node is recognised"],
    [["Node_2", "--mac", "none"], /^Expected a host name of .*; Expected an Ethernet address of .*$/],
  ])("refuses %j with the words it has without a manager", async (words, why) => {
    const running = await add(...words);
    await manager.stop();
    expect(running).toEqual(await add(...words));
    expect(running).toMatchObject({ code: 1, stdout: "" });
    const said = /^bramble: Cannot add \S+: (.*)\n$/.exec(running.stderr)?.[1];
    if (typeof why === "string") expect(said).toBe(why);
    else expect(said).toMatch(why);
    expect(work.read("bramble.yaml")).toBe(MANIFEST);
  });

  it("tells the problems of a manifest that is wrong by itself, by line, and leaves it", async () => {
    work.write("bramble.yaml", `${MANIFEST}colour: red\n`);
    const { code, stderr } = await add("node2", "--serial", "8");
    expect(stderr).toMatch(/^bramble\.yaml:8:1: colour: Unknown key "colour"\..*\n1 problem in the manifest\n$/);
    expect(code).toBe(3);
    expect(work.read("bramble.yaml")).toBe(`${MANIFEST}colour: red\n`);
  });

  it("leaves a manager alone that serves another manifest from the same folder", async () => {
    work.write("other.yaml", MANIFEST);
    expect(await work.bramble(["-m", "other.yaml", "nodes", "add", "node2", "--serial", "8"], asNobody)).toMatchObject({
      code: 0,
      stdout: "node2 is in the manifest; what it writes will be kept apart from all others\n",
    });
    expect(work.read("other.yaml")).toContain("name: node2");
    expect(work.read("bramble.yaml")).toBe(MANIFEST);
  });

  it.each([
    [{}, ""],
    [{ name: 7 }, ""],
    [{ name: "node2", root: "ephemeral" }, ", not root"],
  ])("refuses %j from a program", async (entry, not) => {
    const message = `Cannot add a node: expected a JSON object of name, mac, serial, address, model as text${not}`;
    await expect(api.post("/v1/nodes", entry)).rejects.toThrow(message);
    expect(work.read("bramble.yaml")).toBe(MANIFEST);
  });

  it("says when a node is in the manifest and cannot be served, and serves it when it can", async () => {
    work.write("os.img", "no image any more");
    const { code, stderr } = await add("node2", "--serial", "8");
    expect(stderr).toMatch(
      /^bramble: Cannot serve node2 yet, though it is in the manifest: Cannot import .*os\.img: .+\n$/,
    );
    expect(code).toBe(1);
    expect(namesInFile()).toEqual(["node1", "node2"]);
    makeSmallImage(work.path("os.img"));
    await api.post("/v1/reload");
    expect(await namesServed()).toEqual(["node1", "node2"]);
  });

  it("takes nodes out again, with the words that there are without a manager", async () => {
    const remove = (name: string) => work.bramble(["nodes", "remove", name], asNobody);
    await add("node2", "--serial", "8");
    expect(await remove("node2")).toEqual({ code: 0, stdout: "node2 is no longer in the manifest\n", stderr: "" });
    expect(work.read("bramble.yaml")).toBe(MANIFEST);
    expect(await namesServed()).toEqual(["node1"]);
    expect(await remove("node2")).toEqual({
      code: 1,
      stdout: "",
      stderr: "bramble: Cannot remove node2: the manifest has no node of that name\n",
    });
    work.write("bramble.yaml", `${MANIFEST}colour: red\n`);
    const { code, stderr } = await remove("node1");
    expect(stderr).toMatch(/^bramble\.yaml:8:1: colour: Unknown key "colour"\..*\n1 problem in the manifest\n$/);
    expect(code).toBe(3);
  });

  it("takes many at once, one after the other", async () => {
    const indexes = Array.from({ length: 20 }, (_, index) => index);
    await Promise.all(indexes.map((index) => api.post("/v1/nodes", { name: `n${index}`, mac: macOf(index) })));
    expect(namesInFile()).toHaveLength(21);
    expect(await namesServed()).toEqual(namesInFile());
  });

  it("killed at any moment leaves every node that was answered, with its identity, and a manifest that is right", async () => {
    const identities = new Map<string, string>();
    let next = 0;
    for (let round = 0; round < 6; round += 1) {
      const killed = manager.ended;
      const wanted = next + 1 + round * 3;
      const child = manager.child;
      for (;;) {
        const name = `n${next}`;
        const answer = api.post("/v1/nodes", { name, mac: macOf(next) }).then(
          () => true,
          () => false,
        );
        next += 1;
        // In the last one of a round the kill comes while the manager works at it.
        if (next > wanted) setTimeout(() => child.kill("SIGKILL"), round * 2);
        if (!(await answer)) break;
        const secrets = readFileSync(work.path(`state/secrets/nodes/${name}.json`), "utf8");
        identities.set(name, (JSON.parse(secrets) as { machineId: string }).machineId);
        if (next > wanted + 200) throw new Error("the manager was not killed");
      }
      await killed;
      await startManager();
      const names = namesInFile();
      expect(names).toEqual(expect.arrayContaining([...identities.keys()]));
      expect(await namesServed()).toEqual(names);
      for (const [name, machineId] of identities) {
        expect(await api.get(`/v1/plan/${name}`)).toMatchObject({ identity: { machineId } });
      }
    }
    expect(identities.size).toBeGreaterThan(20);
  });
});
