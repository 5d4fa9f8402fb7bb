/** The commands that read and edit the manifest, as a person meets them. */
import { mkdirSync, symlinkSync } from "node:fs";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { Workplace } from "./command-line.ts";

const work = new Workplace();

const GOOD = `# the attic
cluster: attic
network: { address: 127.0.0.1 }   # loopback
image: os.img
stateDir: state
nodes:
  # on the left
  - { name: node1, mac: "dc:a6:32:00:00:01" }   # a Pi 4
`;

describe("the manifest on the command line", () => {
  beforeEach(() => {
    work.write("os.img", "");
    work.write("bramble.yaml", GOOD);
  });
  afterAll(() => work.remove());

  it("is good", async () => {
    expect(await work.bramble(["validate"])).toEqual({ code: 0, stdout: "bramble.yaml: ok, 1 node\n", stderr: "" });
    expect(JSON.parse((await work.bramble(["validate", "--json"])).stdout)).toEqual({ ok: true, problems: [] });
  });

  it("has all its problems told at once, each with its line and what to do", async () => {
    const text = GOOD.replace("cluster:", "colour: red\nclustr:").replace("os.img", "none.img");
    work.write("bramble.yaml", `${text}  - { name: node2, mac: "DC-A6-32-00-00-01" }\n`);
    const lines = [
      'bramble.yaml:2:1: cluster: The key "cluster" is missing',
      expect.stringMatching(
        /^bramble\.yaml:2:1: colour: Unknown key "colour"\. Known here: cluster, network, .*\bnodes\b/,
      ),
      'bramble.yaml:3:1: clustr: Unknown key "clustr". Did you mean "cluster"?',
      "bramble.yaml:5:8: image: The image none.img is not there. Relative paths start at the manifest's own directory",
      "bramble.yaml:10:25: nodes[1].mac: The MAC address DC-A6-32-00-00-01 is already that of node1 (line 9). Give each node its own",
      "5 problems in the manifest",
    ];
    for (const command of ["validate", "up"]) {
      const { code, stderr } = await work.bramble([command]);
      expect(stderr.trimEnd().split("\n")).toEqual(lines);
      expect(code).toBe(3);
    }
    const { code, stdout } = await work.bramble(["validate", "--json"]);
    expect(code).toBe(3);
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, problems: { length: 5 } });
  });

  it.each([
    {
      file: "missing.yaml",
      why: 'there is no such file; make one with "bramble init", or name one with --manifest',
    },
    { file: ".", why: "it is a folder; name the file in it with --manifest" },
  ])("cannot be read: $file", async ({ file, why }) => {
    expect(await work.bramble(["--manifest", file, "up"])).toEqual({
      code: 1,
      stdout: "",
      stderr: `bramble: Cannot read the manifest ${file}: ${why}\n`,
    });
  });

  it("has a JSON Schema for editors", async () => {
    const schema = JSON.parse((await work.bramble(["schema"])).stdout) as { properties: object; required: string[] };
    expect(Object.keys(schema.properties)).toContain("nodes");
    expect(schema.required).toEqual(["cluster"]);
  });

  it("is made by init without a question where nobody can answer, and never overwritten", async () => {
    const words = ["--manifest", "new.yaml", "init", "--cluster", "loft", "--interface", "lo", "--image", "os.img"];
    expect((await work.bramble(words)).stdout).toMatch(/^Wrote new\.yaml\b.*\nNext: look it over/);
    expect((await work.bramble(["--manifest", "new.yaml", "validate"])).stdout).toBe("new.yaml: ok, 0 nodes\n");
    expect(await work.bramble(words)).toMatchObject({
      code: 1,
      stderr: "bramble: Cannot write new.yaml: it exists already; edit it, or name another with --manifest\n",
    });
    await work.bramble(["--manifest", "new.yaml", "nodes", "add", "node1", "--serial", "91cdf03d"]);
    expect(work.read("new.yaml")).toContain("nodes:\n  - { name: node1, serial: 91cdf03d }\n");
  });

  it("gets and loses a node with its comments and style kept, also from another folder and through a link", async () => {
    mkdirSync(work.path("elsewhere"), { recursive: true });
    symlinkSync("../bramble.yaml", work.path("elsewhere/link.yaml"));
    const link = ["--manifest", "elsewhere/link.yaml", "--state", "state"];
    work.write("elsewhere/os.img", "");
    const added = await work.bramble([...link, "nodes", "add", "node2", "--mac", "dc:a6:32:00:00:02", "--model", "5"]);
    expect(added).toMatchObject({ code: 0, stderr: "" });
    expect(work.read("bramble.yaml")).toBe(`${GOOD}  - { name: node2, mac: dc:a6:32:00:00:02, model: "5" }\n`);
    expect((await work.bramble(["nodes", "list"])).stdout).toBe(
      [
        "NAME   MAC                SERIAL  MODEL  ADDRESS  ROOT",
        "node1  dc:a6:32:00:00:01  -       -      -        persistent",
        "node2  dc:a6:32:00:00:02  -       5      -        persistent",
        "",
      ].join("\n"),
    );
    expect((await work.bramble(["nodes", "remove", "node2"])).code).toBe(0);
    expect(work.read("bramble.yaml")).toBe(GOOD);
  });

  it.each([
    {
      words: ["add", "node2", "--mac", "dc:a6:32:00:00:01"],
      message:
        "Cannot add node2: The MAC address dc:a6:32:00:00:01 is already that of node1 (line 8). Give each node its own",
    },
    {
      words: ["add", "node1", "--mac", "dc:a6:32:00:00:02"],
      message: "Cannot add node1: The name node1 is already that of nodes[0] (line 8). Give each node its own",
    },
    {
      words: ["add", "node2"],
      message: "Cannot add node2: Expected a mac or a serial: it is how the node is recognised",
    },
    { words: ["remove", "node7"], message: "Cannot remove node7: the manifest has no node of that name" },
  ])("is left as it is by: nodes $words", async ({ words, message }) => {
    expect(await work.bramble(["nodes", ...words])).toEqual({ code: 1, stdout: "", stderr: `bramble: ${message}\n` });
    expect(work.read("bramble.yaml")).toBe(GOOD);
  });

  it("with problems of its own tells those when a node is added", async () => {
    work.write("bramble.yaml", `${GOOD}colour: red\n`);
    const { code, stderr } = await work.bramble(["nodes", "add", "node2", "--mac", "dc:a6:32:00:00:02"]);
    expect(stderr).toMatch(/^bramble\.yaml:9:1: colour: Unknown key "colour"\./);
    expect(code).toBe(3);
  });

  it.each([["status"], ["watch"], ["plan", "node1"], ["nodes", "reset", "node1"], ["ssh", "node1"]])(
    "has no manager to ask: %s",
    async (...words) => {
      expect(await work.bramble(words)).toEqual({
        code: 1,
        stdout: "",
        stderr: `bramble: Cannot reach the manager: none listens on ${work.path("state/manager.sock")}; start it with "bramble up"\n`,
      });
    },
  );

  it("is not needed for a usage error", async () => {
    const unknown = await work.bramble(["frobnicate"]);
    expect(unknown.stderr).toMatch(/^error: unknown command 'frobnicate'\n\nUsage: bramble /);
    const missing = await work.bramble(["image", "import"]);
    expect(missing.stderr).toMatch(/^error: missing required argument 'source'\n\nUsage: bramble image import /);
    expect([unknown.code, missing.code]).toEqual([2, 2]);
  });
});
