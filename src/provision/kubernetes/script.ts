/**
 * Scripts of POSIX sh that run on nodes as root, and what they say. Each is read as a whole before it begins, so that one whose
 * connection ends goes on. What failed is a word that `problems.ts` knows, and what a program said.
 */
import type { RemoteShell } from "../../ports.ts";
import { lastWords, runScript as runToItsEnd, StepError } from "../problems.ts";
import { isKubernetesCause, type KubernetesCause, kubernetesProblem } from "./problems.ts";

/** Below it the versions of the programs stand beside one another; role k3s and kubeadm put them there. */
export const PROGRAMS_FOLDER = "/usr/local/lib/bramble";
/** In memory: what is only needed while a node joins. */
export const SECRETS_FOLDER = "/run/bramble";

const LOCK_PATH = "/run/bramble-kubernetes.lock";
const LOCK_LIMIT_S = 480;
const FAILED = "bramble-failed";

const PRELUDE = `PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
umask 077
say() { printf '%s=%s\\n' "$1" "$2"; }
# A word for the manager, and what a program said.
fail() { printf '${FAILED} %s\\n%s\\n' "$1" "$2" >&2; exit 3; }
`;

export function script(functions: string, body: string): string {
  return `${PRELUDE}${functions}\nmain() {\n${body}\n}\nmain < /dev/null\n`;
}

/**
 * One that changes the node: it waits for what an earlier one still does there. A manager that is started again finds the scripts of the
 * last one under way, and the end of one would take the token from the other.
 */
export function changingScript(functions: string, body: string): string {
  return script(
    functions,
    `exec 9> ${LOCK_PATH}\nflock -w ${LOCK_LIMIT_S} 9 || fail busy "since ${LOCK_LIMIT_S} s"\n${body}`,
  );
}

/** Writes a file whole, or not at all. */
export function fileWritten(path: string, text: string, mode: string): string {
  const folder = path.slice(0, path.lastIndexOf("/"));
  return `mkdir -p ${folder} && cat > ${path}.new <<'BRAMBLE_END_OF_FILE' && chmod ${mode} ${path}.new && mv ${path}.new ${path} || fail not-started "${path} could not be written"
${text.trimEnd()}
BRAMBLE_END_OF_FILE`;
}

export interface ScriptTask {
  /** Where it runs, and about which node it is. */
  on: string;
  about: string;
  /** As "Cannot join node2". */
  task: string;
  /** For people: k3s or Kubernetes. */
  what: string;
  /** What a failure is called that the script has no word for. */
  otherwise: KubernetesCause;
  timeoutMs: number;
  /** Words that no message may have. */
  secrets?: readonly string[];
}

/** What the script printed. Rejects with `StepError`. */
export async function runScript(shell: RemoteShell, text: string, task: ScriptTask): Promise<string> {
  const { on: node, task: name, timeoutMs } = task;
  const outcome = await runToItsEnd(shell, { node, task: name, script: text, timeoutMs });
  if (outcome.exitCode === 0) return outcome.stdout;
  const [, named, said] = new RegExp(`(?:^|\\n)${FAILED} (\\S+)\\n([^]*)$`).exec(outcome.stderr) ?? [];
  const cause = named !== undefined && isKubernetesCause(named) ? named : task.otherwise;
  const detail = withoutSecrets(lastWords(said ?? outcome.stderr), task.secrets ?? []);
  throw new StepError(kubernetesProblem(cause, task.about, task.what, detail));
}

function withoutSecrets(text: string, secrets: readonly string[]): string {
  return secrets.reduce((clean, secret) => clean.replaceAll(secret, "…"), text);
}

/** `key=value` lines; a key may come several times. */
export function saidValues(text: string): ReadonlyMap<string, readonly string[]> {
  const values = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const at = line.indexOf("=");
    if (at <= 0) continue;
    const key = line.slice(0, at);
    values.set(key, [...(values.get(key) ?? []), line.slice(at + 1)]);
  }
  return values;
}
