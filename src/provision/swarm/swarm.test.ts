/** Steps as they are run: what is asked of which node, and what is made of what Docker 20.10 says. */
import { describe, expect, it } from "vitest";
import type { Ipv4 } from "../../bytes/addresses.ts";
import type { RemoteShell, ShellOutcome } from "../../ports.ts";
import { StepError } from "../problems.ts";
import type { SwarmStep } from "./steps.ts";
import { Swarm } from "./swarm.ts";

const TOKEN = `SWMTKN-1-${"a1".repeat(25)}-${"b2".repeat(12)}c`;
const OK: ShellOutcome = { kind: "ended", exitCode: 0, stdout: "", stderr: "" };
const said = (stderr: string): ShellOutcome => ({ kind: "ended", exitCode: 1, stdout: "", stderr: `${stderr}\n` });
const printed = (stdout: string): ShellOutcome => ({ ...OK, stdout }) as ShellOutcome;

/** Answers by the first part of a script that is found in it; keeps what was asked. */
class RecordingShell implements RemoteShell {
  readonly asked: string[] = [];
  readonly #answers: [string, ShellOutcome | (() => ShellOutcome)][];

  constructor(answers: [string, ShellOutcome | (() => ShellOutcome)][]) {
    this.#answers = answers;
  }

  async run(node: string, script: string): Promise<ShellOutcome> {
    const found = this.#answers.find(([part]) => script.includes(part));
    this.asked.push(`${node}: ${found?.[0] ?? script}`);
    const answer = found?.[1] ?? OK;
    return typeof answer === "function" ? answer() : answer;
  }
}

const DESIRED = { name: "attic", members: [] };
const JOIN: SwarmStep = {
  kind: "join",
  node: "node2",
  title: "join node2 as a worker",
  role: "worker",
  address: "10.77.0.12" as Ipv4,
  via: "node1",
  managerAddress: "10.77.0.11" as Ipv4,
};
const TRY = {
  kind: "try",
  node: "node2",
  title: "try work on node2",
  via: "node1",
  id: "rrfcpo1knmaj16yj10gfqiqym",
  address: "10.77.0.12" as Ipv4,
  bootId: "7d2cb04b",
} as const satisfies SwarmStep;
const FETCH = "join-token --quiet worker";
const ROTATE = "join-token --rotate";
const JOINS = "docker swarm join --token";

async function run(step: SwarmStep, shell: RemoteShell): Promise<{ cause: string; message: string } | undefined> {
  try {
    await new Swarm({ unixMs: () => 0 }).run(step, DESIRED, shell);
    return undefined;
  } catch (error) {
    if (error instanceof StepError) return error.problem;
    throw error;
  }
}

describe("a join", () => {
  it("uses a token that was fetched for it, and makes it void after", async () => {
    const shell = new RecordingShell([
      [FETCH, printed(`${TOKEN}\n`)],
      [`--token ${TOKEN} --advertise-addr 10.77.0.12 10.77.0.11:2377`, OK],
      [ROTATE, OK],
    ]);
    expect(await run(JOIN, shell)).toBeUndefined();
    expect(shell.asked).toEqual([
      `node1: ${FETCH}`,
      `node2: --token ${TOKEN} --advertise-addr 10.77.0.12 10.77.0.11:2377`,
      `node1: ${ROTATE}`,
    ]);
  });

  it("shares its token with others at the same time, and the last makes it void", async () => {
    const shell = new RecordingShell([
      [FETCH, printed(TOKEN)],
      [JOINS, OK],
      [ROTATE, OK],
    ]);
    const swarm = new Swarm({ unixMs: () => 0 });
    const steps = ["node2", "node3", "node4"].map((node): SwarmStep => ({ ...JOIN, node }) as SwarmStep);
    await Promise.all(steps.map((step) => swarm.run(step, DESIRED, shell)));
    expect(shell.asked.filter((asked) => !asked.includes("--token"))).toEqual([`node1: ${FETCH}`, `node1: ${ROTATE}`]);
    expect(shell.asked.at(-1)).toBe(`node1: ${ROTATE}`);
  });

  it("fetches a new token once when the first is void", async () => {
    const refused = said(
      "Error response from daemon: rpc error: code = InvalidArgument desc = A valid join token is necessary to join this cluster",
    );
    let joins = 0;
    const shell = new RecordingShell([
      [FETCH, printed(TOKEN)],
      [JOINS, () => (joins++ === 0 ? refused : OK)],
    ]);
    expect(await run(JOIN, shell)).toBeUndefined();
    expect(joins).toBe(2);

    const stubborn = new RecordingShell([
      [FETCH, printed(TOKEN)],
      [JOINS, refused],
    ]);
    expect(await run(JOIN, stubborn)).toMatchObject({
      cause: "token-refused",
      message: expect.stringContaining("A valid join token is necessary"),
    });
    expect(stubborn.asked.filter((asked) => asked.includes(JOINS))).toHaveLength(2);
  });

  it.each([
    'Error response from daemon: rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing dial tcp 10.77.0.99:2377: connect: no route to host"',
    'Error response from daemon: Timeout was reached before node joined. The attempt to join the swarm will continue in the background. Use the "docker info" command to see the current swarm status of your node.',
  ])("keeps Docker's words when it is refused: %s", async (words) => {
    const shell = new RecordingShell([
      [FETCH, printed(TOKEN)],
      [JOINS, said(words)],
    ]);
    expect(await run(JOIN, shell)).toMatchObject({ cause: "join-refused", message: expect.stringContaining(words) });
    expect(shell.asked.at(-1)).toContain("--rotate");
  });

  it("tells nobody the token, whatever Docker says", async () => {
    const shell = new RecordingShell([
      [FETCH, printed(TOKEN)],
      [JOINS, said(`Error response from daemon: ${TOKEN} is not what it was`)],
    ]);
    const problem = await run(JOIN, shell);
    expect(problem?.message).toContain("[redacted] is not what it was");
    expect(JSON.stringify(problem)).not.toContain("SWMTKN");
  });

  it("says why there is no token", async () => {
    const words = "rpc error: code = Unknown desc = The swarm does not have a leader.";
    const shell = new RecordingShell([[FETCH, said(`Error response from daemon: ${words}`)]]);
    expect(await run(JOIN, shell)).toMatchObject({
      cause: "token-unavailable",
      message: expect.stringContaining(words),
    });
  });
});

describe("work that is tried", () => {
  const IMAGE = `sha256:${"d9".repeat(32)}`;
  const IMPORT = "docker import";
  const CREATE = "docker service create";
  const REMOVE = "docker image rm";

  it("is a service of an empty image by its id on that node, and leaves nothing behind", async () => {
    const scripts: string[] = [];
    const recorder = new RecordingShell([
      [IMPORT, printed(`${IMAGE}\n`)],
      [CREATE, printed("answer: node2\ntask: running \n")],
    ]);
    const shell: RemoteShell = {
      run: (node, script) => {
        scripts.push(script);
        return recorder.run(node, script);
      },
    };
    expect(await run(TRY, shell)).toBeUndefined();
    expect(recorder.asked.map((asked) => asked.slice(0, 40))).toEqual([
      `node2: ${IMPORT}`,
      `node1: ${CREATE}`,
      expect.stringContaining("node2: for attempt"),
    ]);
    expect(scripts[1]).toContain(`--constraint node.id==rrfcpo1knmaj16yj10gfqiqym`);
    expect(scripts[1]).toContain(`${IMAGE} /usr/bin/perl`);
    expect(scripts[2]).toContain(REMOVE);
  });

  it("is not tried again in the same boot", async () => {
    let bootId = "boot-1";
    const swarmOfNode = `"Swarm":{"NodeID":"abc","LocalNodeState":"active","ControlAvailable":true,"Cluster":{"ID":"c1"}}`;
    const spec = `"Spec":{"Labels":{"bramble.node":"node2"},"Role":"manager","Availability":"active"}`;
    const entry = `{"ID":"abc",${spec},"Status":{"State":"ready"},"ManagerStatus":{"Reachability":"reachable","Addr":"10.77.0.12:2377"}}`;
    const shell = new RecordingShell([
      [IMPORT, printed(IMAGE)],
      [CREATE, printed("answer: node2\n")],
      [
        "docker info --format",
        () =>
          printed(
            `@@ clock\n1\n@@ boot\n${bootId}\n@@ info\n{"Driver":"overlay2",${swarmOfNode}}\n@@ nodes\n[${entry}]\n`,
          ),
      ],
    ]);
    const member = {
      name: "node2",
      role: "manager",
      wish: "in",
      facts: {},
      address: TRY.address,
      isReady: true,
    } as const;
    const desired = { name: "attic", members: [{ ...member, wasTried: false, hasJoined: false }] };
    const swarm = new Swarm({ unixMs: () => 0 });
    const next = async () => swarm.plan(desired, await swarm.observe(desired, shell));
    const [step] = (await next()).steps;
    expect(step).toMatchObject({ kind: "try", bootId: "boot-1" });
    await swarm.run(step!, desired, shell);
    expect(await next()).toMatchObject({ steps: [], joined: ["node2"] });
    bootId = "boot-2";
    expect((await next()).steps).toMatchObject([{ kind: "try", bootId: "boot-2" }]);
  });

  it.each<[string, ShellOutcome, RegExp]>([
    [
      "its task is rejected",
      printed("task: rejected No such image: sha256:d98b\n"),
      /not reach it from node1: task: rejected|rejected No such image/,
    ],
    ["its port is not reached", printed("answer: Connection timed out\ntask: running \n"), /Connection timed out/],
    [
      "the service is refused",
      said("Error response from daemon: rpc error: code = InvalidArgument"),
      /code = InvalidArgument/,
    ],
  ])("fails when %s", async (_, outcome, words) => {
    const shell = new RecordingShell([
      [IMPORT, printed(IMAGE)],
      [CREATE, outcome],
    ]);
    expect(await run(TRY, shell)).toMatchObject({ cause: "trial-failed", message: expect.stringMatching(words) });
  });
});

describe("another step", () => {
  it.each<[string, SwarmStep, string]>([
    [
      "init asks for nothing when it was done, and keeps what it says to itself",
      { kind: "init", node: "node1", title: "make a swarm", address: "10.77.0.11" as Ipv4 },
      `node1: [ "$(docker info --format '{{.Swarm.LocalNodeState}}')" = active ] && exit\ndocker swarm init --advertise-addr 10.77.0.11 >/dev/null\n`,
    ],
    [
      "update takes what changes to one command, quoted",
      {
        kind: "update",
        node: "node2",
        title: "label node2",
        via: "node1",
        id: "x1",
        labels: { "bramble.node": "node2", "bramble.role": "it's a disk", "bramble.drained": undefined },
        role: "manager",
      },
      `node1: docker node update --label-add bramble.node=node2 --label-add 'bramble.role=it'"'"'s a disk' --label-rm bramble.drained --role manager x1 >/dev/null || exit\n`,
    ],
    [
      "drain of a node that is gone does not wait for the end of its work",
      {
        kind: "update",
        node: "node2",
        title: "drain node2",
        via: "node1",
        id: "x1",
        labels: {},
        availability: "drain",
      },
      "node1: docker node update --availability drain x1 >/dev/null || exit\n",
    ],
    [
      "leave of a worker has no force",
      { kind: "leave", node: "node2", title: "have node2 leave", isManager: false },
      `node2: [ "$(docker info --format '{{.Swarm.LocalNodeState}}')" = inactive ] && exit\ndocker swarm leave >/dev/null\n`,
    ],
  ])("%s", async (_, step, expected) => {
    const shell = new RecordingShell([]);
    expect(await run(step, shell)).toBeUndefined();
    expect(shell.asked).toEqual([expected]);
  });

  it("tells in Docker's words what it would not do", async () => {
    const words = "node rrfcpo1knmaj16yj10gfqiqym is not down and can't be removed";
    const step: SwarmStep = { kind: "forget", node: "x", title: "forget x", via: "node1", id: "a", isManager: false };
    expect(await run(step, new RecordingShell([["docker node rm", said(words)]]))).toEqual({
      cause: "step-failed",
      node: "x",
      message: `Cannot forget x: Docker on node1 said: ${words}; it is tried again`,
    });
  });
});
