/**
 * Tokens that let nodes into a Swarm, good for the moment: fetched before a join, shared by joins at the same time, and made void when
 * the last of them is done. Nowhere kept but here.
 */
import type { RemoteShell } from "../../ports.ts";
import type { MemberRole } from "../orchestrator.ts";
import { lastWords, runScript, StepError } from "../problems.ts";

const TIMEOUT_MS = 90_000;
const FORM = /^SWMTKN-[A-Za-z0-9-]+$/;

/** Docker's words for one that is void or of another swarm. */
const REFUSED = /join token|does not match fingerprint/i;

export class JoinTokens {
  readonly #held = new Map<MemberRole, { token: Promise<string>; users: number }>();

  /** `join` resolves with what Docker said when it refused, and with nothing when it did not. A void token is fetched again once. */
  async use(
    role: MemberRole,
    { via, shell }: { via: string; shell: RemoteShell },
    join: (token: string) => Promise<string | undefined>,
  ): Promise<string | undefined> {
    const held = this.#held.get(role) ?? { token: fetchToken(role, via, shell), users: 0 };
    this.#held.set(role, held);
    held.users += 1;
    try {
      const refusal = await join(await held.token);
      if (refusal === undefined || !REFUSED.test(refusal)) return refusal;
      held.token = fetchToken(role, via, shell);
      return await join(await held.token);
    } finally {
      held.users -= 1;
      if (held.users === 0) {
        this.#held.delete(role);
        await voidToken(role, via, shell);
      }
    }
  }
}

export function isTokenRefusal(words: string): boolean {
  return REFUSED.test(words);
}

async function fetchToken(role: MemberRole, via: string, shell: RemoteShell): Promise<string> {
  const task = `Cannot fetch a join token from ${via}`;
  const script = `docker swarm join-token --quiet ${role}`;
  const { stdout, stderr } = await runScript(shell, { node: via, task, script, timeoutMs: TIMEOUT_MS });
  const token = stdout.trim();
  if (FORM.test(token)) return token;
  throw new StepError({
    cause: "token-unavailable",
    node: via,
    message: `${task}: ${lastWords(stderr) || "Docker gave none"}; look at "docker node ls" there: its managers must hear one another`,
  });
}

/** One that cannot be made void lets nodes in until the next join. That is no reason to call the join failed. */
async function voidToken(role: MemberRole, via: string, shell: RemoteShell): Promise<void> {
  const script = `docker swarm join-token --rotate --quiet ${role} >/dev/null`;
  const once = () => shell.run(via, script, TIMEOUT_MS);
  const outcome = await once();
  if (outcome.kind !== "ended" || outcome.exitCode !== 0) await once();
}
