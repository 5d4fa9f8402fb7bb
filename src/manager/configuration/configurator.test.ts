import { beforeEach, describe, expect, it } from "vitest";
import { MemoryClock } from "../../../test/memory-network.ts";
import { parseIpv4 } from "../../bytes/addresses.ts";
import type { BootEvent, BootOccurrence } from "../../cluster/event.ts";
import { parseManifest } from "../../cluster/manifest.ts";
import { INITIAL_STATUS, nextStatus } from "../../cluster/status.ts";
import type { NodeOutcome } from "../../provision/ansible/progress.ts";
import type { LoadedManifest } from "../manifest-file.ts";
import type { AnsibleRun } from "./ansible-run.ts";
import { Configurator, type ConfigureEvent } from "./configurator.ts";

const MINUTE_MS = 60_000;

function manifestOf(lines: string, nodes = ["a", "b"]): LoadedManifest {
  const list = nodes.map((name, index) => `  - { name: ${name}, mac: "dc:a6:32:00:00:0${index}" }\n`).join("");
  const result = parseManifest(`cluster: x\nimage: pi.img\n${lines}\nnodes:\n${list}`, { fileExists: () => true });
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return { manifest: result.manifest, resolvePath: (path: string) => path } as LoadedManifest;
}

/** A manager's status and journal, and an Ansible that does what it is told. */
class Bench {
  readonly clock = new MemoryClock();
  readonly runs: AnsibleRun[] = [];
  readonly told: BootEvent[] = [];
  loaded = manifestOf("configure: { roles: [base] }");
  status = INITIAL_STATUS;
  readonly failing = new Map<string, string>();
  ansible: (run: AnsibleRun) => Promise<NodeOutcome[]> = async ({ nodes }) => nodes.map((node) => this.outcomeOf(node));
  readonly #listeners = new Set<(event: BootEvent) => void>();
  stop: () => Promise<void> = async () => {};
  configurator = this.#newConfigurator();

  outcomeOf(node: string): NodeOutcome {
    const message = this.failing.get(node);
    const counts = { node, ok: 3, changed: 1, skipped: 0 };
    return message === undefined
      ? { ...counts, result: "configured" }
      : { ...counts, result: "failed", task: "Install", message };
  }

  #newConfigurator() {
    return new Configurator({
      loaded: () => this.loaded,
      status: () => this.status,
      clock: this.clock,
      journal: {
        listen: (listener) => {
          this.#listeners.add(listener);
          return () => void this.#listeners.delete(listener);
        },
      },
      report: (occurrence, node) => this.happen(occurrence, node),
      runAnsible: (run) => {
        this.runs.push(run);
        return this.ansible(run);
      },
    });
  }

  start(): void {
    this.stop = this.configurator.start();
  }

  /** The manager is killed, and another one starts with what the journal has. */
  async restart(): Promise<void> {
    await this.stop();
    this.configurator = this.#newConfigurator();
    this.start();
  }

  happen(occurrence: BootOccurrence, node?: string): void {
    const about = node === undefined ? {} : { node };
    const event = { ...occurrence, ...about, sequence: this.told.length + 1, unixMs: this.clock.unixMs() };
    this.told.push(event);
    this.status = nextStatus(this.status, event);
    for (const listener of this.#listeners) listener(event);
  }

  up(node: string, bootId = "boot"): void {
    this.happen({ kind: "up", bootId }, node);
  }

  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 1000) {
      this.clock.pass(1000);
      for (let turn = 0; turn < 10; turn++) await Promise.resolve();
    }
  }

  get ran(): string[] {
    return this.runs.map(({ nodes }) => nodes.join());
  }

  messages(): string[] {
    return this.told.flatMap((event) => (event.kind === "configure-failed" ? [event.message] : []));
  }
}

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
  bench.start();
});

describe("the manager by itself", () => {
  it("configures together nodes that come up together, and once", async () => {
    bench.up("a");
    await bench.pass(2000);
    bench.up("b");
    await bench.pass(3 * 60 * MINUTE_MS);
    expect(bench.ran).toEqual(["a,b"]);
    expect(bench.told.filter(({ kind }) => kind === "configured")).toHaveLength(2);
  });

  it("tries again what failed, later and later, and says when", async () => {
    bench.failing.set("a", "no such package");
    bench.up("a");
    await bench.pass(10_000);
    expect(bench.messages()).toEqual([
      'Cannot configure a: task "Install": no such package; it is tried again in 1 min, or now by bramble configure a',
    ]);
    await bench.pass(2 * MINUTE_MS);
    expect(bench.messages()[1]).toMatch(/tried again in 2 min/);
    await bench.pass(30_000);
    expect(bench.ran).toHaveLength(2);
    bench.failing.clear();
    await bench.pass(2 * MINUTE_MS);
    expect(bench.ran).toHaveLength(3);
    expect(bench.status.nodes.get("a")).toMatchObject({ configured: { bootId: "boot" } });
    expect(bench.status.nodes.get("a")).not.toHaveProperty("configureFailed");
  });

  it("goes on after a restart where the last manager ended", async () => {
    bench.failing.set("b", "no");
    bench.up("a");
    bench.up("b");
    await bench.pass(10_000);
    await bench.restart();
    await bench.pass(30_000);
    expect(bench.ran).toEqual(["a,b"]);
    await bench.pass(MINUTE_MS);
    expect(bench.ran).toEqual(["a,b", "b"]);
    expect(bench.messages()[1]).toMatch(/tried again in 2 min/);
  });

  it("begins anew after a restart in the middle of a run, whose outcome nobody heard", async () => {
    bench.ansible = ({ signal, nodes }) =>
      new Promise((resolve) =>
        signal.addEventListener("abort", () =>
          resolve(nodes.map((node) => ({ ...bench.outcomeOf(node), result: "failed" }))),
        ),
      );
    bench.up("a");
    await bench.pass(10_000);
    expect(bench.configurator.taskOn("a")).toBe("");
    await bench.restart();
    expect(bench.messages()).toEqual([]);
    bench.ansible = async ({ nodes }) => nodes.map((node) => bench.outcomeOf(node));
    await bench.pass(10_000);
    expect(bench.ran).toEqual(["a", "a"]);
    expect(bench.status.nodes.get("a")?.configured?.bootId).toBe("boot");
  });

  it("does it again when the settings change, and when the node's files are dropped", async () => {
    bench.up("a");
    await bench.pass(10_000);
    bench.loaded = manifestOf("configure: { roles: [base, docker] }");
    bench.happen({ kind: "manifest-loaded", nodes: 2 });
    await bench.pass(10_000);
    expect(bench.ran).toEqual(["a", "a"]);
    bench.happen({ kind: "reset" }, "a");
    await bench.pass(10_000);
    expect(bench.ran).toEqual(["a", "a", "a"]);
  });

  it("does not count what was done for a boot that is over", async () => {
    bench.ansible = async ({ nodes }) => {
      bench.happen({ kind: "shutdown-seen" }, "a");
      bench.up("a", "later");
      bench.ansible = async () => nodes.map((node) => bench.outcomeOf(node));
      return nodes.map((node) => bench.outcomeOf(node));
    };
    bench.up("a");
    await bench.pass(20_000);
    expect(bench.ran).toEqual(["a", "a"]);
    expect(bench.status.nodes.get("a")?.configured?.bootId).toBe("later");
  });

  it("does nothing where the manifest does not ask for it", async () => {
    bench.loaded = manifestOf("configure: { roles: [base], auto: false }");
    bench.up("a");
    await bench.pass(MINUTE_MS);
    expect(bench.ran).toEqual([]);
  });

  it("tells of each node when Ansible cannot be run at all", async () => {
    bench.ansible = () => Promise.reject(new Error("Cannot run Ansible: it is not installed"));
    bench.up("a");
    bench.up("b");
    await bench.pass(10_000);
    expect(bench.messages()).toEqual([
      "Cannot configure a: it is not installed; it is tried again in 1 min, or now by bramble configure a",
      "Cannot configure b: it is not installed; it is tried again in 1 min, or now by bramble configure b",
    ]);
  });
});

describe("who asks", () => {
  const ask = async (request: Parameters<Configurator["prepare"]>[0], signal = new AbortController().signal) => {
    const events: ConfigureEvent[] = [];
    await bench.configurator.prepare(request)((event) => events.push(event), signal);
    return events;
  };

  it("has a node that does not answer any more for off", async () => {
    bench.up("a");
    bench.happen({ kind: "no-answer", address: parseIpv4("10.0.0.11"), sinceMs: 0 }, "a");
    const events = await ask({ nodes: ["a"] });
    expect(events.at(-1)).toEqual({ event: "summary", outcomes: [{ node: "a", result: "off" }] });
  });

  it("has all nodes that are up done, and hears of those that are off", async () => {
    bench.up("a");
    expect(await ask({})).toEqual([
      { event: "begin", nodes: ["a"] },
      { event: "summary", outcomes: [bench.outcomeOf("a"), { node: "b", result: "off" }] },
    ]);
    await bench.pass(MINUTE_MS);
    expect(bench.ran).toEqual(["a"]);
  });

  it("changes nothing with check, and nothing is remembered of it", async () => {
    bench.up("a");
    await ask({ nodes: ["a"], check: true });
    expect(bench.runs[0]?.check).toBe(true);
    expect(bench.status.nodes.get("a")).not.toHaveProperty("configured");
  });

  it("waits for the run that is under way", async () => {
    let end: () => void = () => {};
    bench.ansible = ({ nodes }) =>
      new Promise((resolve) => {
        end = () => resolve(nodes.map((node) => bench.outcomeOf(node)));
      });
    bench.up("a");
    await bench.pass(10_000);
    const asked = ask({});
    await bench.pass(1000);
    expect(bench.ran).toEqual(["a"]);
    end();
    await bench.pass(1000);
    expect(bench.ran).toEqual(["a", "a"]);
    end();
    expect((await asked).at(-1)).toMatchObject({ event: "summary" });
  });

  it("does nothing any more when it was given up before its turn", async () => {
    const given = new AbortController();
    given.abort();
    bench.up("a");
    expect(await ask({}, given.signal)).toEqual([]);
    expect(bench.ran).toEqual([]);
  });

  it.each([
    [
      "a node that there is not",
      "configure: { roles: [base] }",
      ["c"],
      /^Cannot configure c: the manifest has no node/,
    ],
    ["anything where nothing is to be done", "", [], /^Cannot configure nodes: the manifest does not say how/],
  ])("is refused %s", (_, lines, nodes, message) => {
    bench.loaded = manifestOf(lines);
    expect(() => bench.configurator.prepare({ nodes })).toThrow(message);
  });
});
