/**
 * Docker Swarm as an orchestrator: joins nodes that have Docker. What runs on nodes is Docker's own command line, 20.10 or later.
 * Left out: autolock, swarms with certificates of an outside authority, and networks of their own for control and data.
 */
import type { Clock, RemoteShell } from "../../ports.ts";
import type { DesiredCluster, Orchestrator } from "../orchestrator.ts";
import { lastWords, runScript, StepError } from "../problems.ts";
import { shellWord } from "../shell-word.ts";
import { isTokenRefusal, JoinTokens } from "./join-tokens.ts";
import { observeSwarm } from "./observation.ts";
import type { ObservedSwarm } from "./observed.ts";
import { planSwarm } from "./plan.ts";
import { expectSwarm, type SwarmStep } from "./steps.ts";
import { tryWork } from "./trial.ts";

/** Docker gives a join 20 s, then goes on in the background. */
const STEP_TIMEOUT_MS = 180_000;
/** Work that is drained may need its time to stop: Docker gives it 10 s, if nobody says otherwise. */
const DRAIN_TIMEOUT_MS = 300_000;
const MANAGER_PORT = 2377;

export class Swarm implements Orchestrator<ObservedSwarm, SwarmStep> {
  readonly #clock: Pick<Clock, "unixMs">;
  readonly #tokens = new JoinTokens();
  /** On which nodes work was tried, with their boot ids: until they are told to be joined. Forgotten, it is tried again. */
  readonly #tried = new Map<string, string>();

  constructor(clock: Pick<Clock, "unixMs">) {
    this.#clock = clock;
  }

  observe(desired: DesiredCluster, shell: RemoteShell): Promise<ObservedSwarm> {
    const wasTried = (node: string, bootId: string) => this.#tried.get(node) === bootId;
    return observeSwarm(desired, shell, () => this.#clock.unixMs(), wasTried);
  }

  plan = planSwarm;
  expect = expectSwarm;

  run(step: SwarmStep, _desired: DesiredCluster, shell: RemoteShell): Promise<void> {
    switch (step.kind) {
      case "init":
        return runDocker(shell, step.node, step, initScript(step.address));
      case "join":
        return this.#join(step, shell);
      case "update":
        return runDocker(shell, step.via, step, updateScript(step), DRAIN_TIMEOUT_MS);
      case "try":
        return this.#try(step, shell);
      case "leave":
        return runDocker(shell, step.node, step, leaveScript(step.isManager));
      case "forget":
        return runDocker(shell, step.via, step, forgetScript(step));
    }
  }

  async #try(step: SwarmStep & { kind: "try" }, shell: RemoteShell): Promise<void> {
    await tryWork(step, shell);
    this.#tried.set(step.node, step.bootId);
  }

  async #join(step: SwarmStep & { kind: "join" }, shell: RemoteShell): Promise<void> {
    const { node, via, address, managerAddress } = step;
    const refusal = await this.#tokens.use(step.role, { via, shell }, async (token) => {
      const script = joinScript(token, address, managerAddress);
      const task = `Cannot ${step.title}`;
      const { exitCode, stderr } = await runScript(shell, { node, task, script, timeoutMs: STEP_TIMEOUT_MS });
      return exitCode === 0 ? undefined : lastWords(stderr);
    });
    if (refusal === undefined) return;
    throw new StepError(
      isTokenRefusal(refusal)
        ? {
            cause: "token-refused",
            node,
            message: `Cannot join ${node} to the swarm: ${managerAddress} takes no token, though a new one was fetched: ${refusal}; look whether ${managerAddress} is still ${via}'s address`,
          }
        : {
            cause: "join-refused",
            node,
            message: `Cannot join ${node} to the swarm of ${via}: ${refusal}; from ${node}, TCP port ${MANAGER_PORT} of ${managerAddress} must be open, and both clocks right; it is tried again`,
          },
    );
  }
}

async function runDocker(
  shell: RemoteShell,
  node: string,
  step: SwarmStep,
  script: string,
  timeoutMs = STEP_TIMEOUT_MS,
): Promise<void> {
  const task = `Cannot ${step.title}`;
  const { exitCode, stderr } = await runScript(shell, { node, task, script, timeoutMs });
  if (exitCode === 0) return;
  throw new StepError({
    cause: "step-failed",
    node: step.node,
    message: `Cannot ${step.title}: Docker on ${node} said: ${lastWords(stderr) || `(nothing, exit code ${exitCode})`}; it is tried again`,
  });
}

/** What it says has a token in it: nobody is to have that. */
function initScript(address: string): string {
  return `[ "$(docker info --format '{{.Swarm.LocalNodeState}}')" = active ] && exit
docker swarm init --advertise-addr ${address} >/dev/null
`;
}

function joinScript(token: string, address: string, managerAddress: string): string {
  return `[ "$(docker info --format '{{.Swarm.LocalNodeState}}')" = active ] && exit
docker swarm join --token ${shellWord(token)} --advertise-addr ${address} ${managerAddress}:${MANAGER_PORT} >/dev/null
`;
}

function updateScript({ id, labels, role, availability, awaitsEnd }: SwarmStep & { kind: "update" }): string {
  const words = [
    ...Object.entries(labels).map(([key, value]) =>
      value === undefined ? `--label-rm ${shellWord(key)}` : `--label-add ${shellWord(`${key}=${value}`)}`,
    ),
    ...(role ? [`--role ${role}`] : []),
    ...(availability ? [`--availability ${availability}`] : []),
  ];
  const update = `docker node update ${words.join(" ")} ${id} >/dev/null || exit\n`;
  if (!awaitsEnd) return update;
  // Not without end, and not from a node that is off: its work stays listed as running.
  return `${update}tries=0
while [ $tries -lt 60 ] && docker node ps --format '{{.CurrentState}}' ${id} | grep -q '^Running'; do
  [ "$(docker node inspect --format '{{.Status.State}}' ${id})" = ready ] || exit 0
  tries=$((tries + 1))
  sleep 2
done
exit 0
`;
}

function leaveScript(isManager: boolean): string {
  return `[ "$(docker info --format '{{.Swarm.LocalNodeState}}')" = inactive ] && exit
docker swarm leave${isManager ? " --force" : ""} >/dev/null
`;
}

/** A manager is made a worker first, which takes other managers a moment. One that is forgotten already is done. */
function forgetScript({ id, isManager }: SwarmStep & { kind: "forget" }): string {
  return `docker node inspect ${id} >/dev/null 2>&1 || exit 0
${isManager ? `docker node demote ${id} >/dev/null || exit\n` : ""}tries=0
until words=$(docker node rm ${id} 2>&1); do
  tries=$((tries + 1))
  [ $tries -lt 10 ] || { printf '%s\\n' "$words" >&2; exit 1; }
  sleep 2
done
`;
}
