/**
 * Tries work on a node of a Swarm as anybody would give it: a service on that node alone, with a port in host mode, reached from a manager
 * over the network. It needs no registry: its image is empty, and its one program is the perl of the node itself (perl-base is in every
 * Debian), by read-only mounts.
 */
import type { RemoteShell } from "../../ports.ts";
import { lastWords, runScript, StepError } from "../problems.ts";
import { shellWord } from "../shell-word.ts";
import type { SwarmStep } from "./steps.ts";

const IMAGE = "bramble-trial:1";
const PORT = 8000;
/** Making the image: a container file system and two commands. */
const IMAGE_TIMEOUT_MS = 120_000;
/** The first container of a boot took three minutes where emulated machines shared two busy processors. */
const TRIAL_S = 300;
/** Of the script below, which makes the service before and removes it after. */
const TRIAL_TIMEOUT_MS = (TRIAL_S + 120) * 1000;

const IMAGE_SCRIPT = `set -e
folder=$(mktemp -d)
trap 'rmdir "$folder"' EXIT
tar -C "$folder" -c . | docker import - ${IMAGE}
`;

const REMOVE_IMAGE_SCRIPT = `for attempt in 1 2 3 4 5; do
  docker image rm ${IMAGE} >/dev/null 2>&1 && exit
  sleep 2
done
`;

/** Says its name to whoever connects. */
const SERVER = `$SIG{TERM} = sub { exit }; my $s = IO::Socket::INET->new(LocalPort => ${PORT}, Listen => 8, ReuseAddr => 1) or die "listen: $!"; while (my $c = $s->accept) { print $c "$ARGV[0]\\n"; close $c }`;

const CLIENT = `alarm 15; my $s = IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => $ARGV[1], Timeout => 5) or die "$!\\n"; print scalar <$s>`;

export async function tryWork(step: SwarmStep & { kind: "try" }, shell: RemoteShell): Promise<void> {
  const { node, via } = step;
  const task = `Cannot try work on ${node}`;
  const made = await runScript(shell, { node, task, script: IMAGE_SCRIPT, timeoutMs: IMAGE_TIMEOUT_MS });
  const image = /^sha256:[0-9a-f]{64}$/m.exec(made.stdout)?.[0];
  if (made.exitCode !== 0 || image === undefined) throw failed(step, lastWords(made.stderr));
  try {
    const tried = await runScript(shell, {
      node: via,
      task,
      script: trialScript(step, image),
      timeoutMs: TRIAL_TIMEOUT_MS,
    });
    const answer = /^answer: (.*)$/m.exec(tried.stdout)?.[1];
    if (answer === node) return;
    const state = /^task: (.*)$/m.exec(tried.stdout)?.[1];
    throw failed(step, answer ? `it was reached from ${via} with: ${answer}` : (state ?? lastWords(tried.stderr)));
  } finally {
    await shell.run(node, REMOVE_IMAGE_SCRIPT, IMAGE_TIMEOUT_MS);
  }
}

function failed({ node, via }: SwarmStep & { kind: "try" }, words: string): StepError {
  return new StepError({
    cause: "trial-failed",
    node,
    message: `Cannot run work on ${node}, or not reach it from ${via}: ${lastWords(words) || "no answer in time"}; see "bramble ssh ${node} sudo journalctl -u docker"; it is tried again`,
  });
}

/** The image by its id is not looked for in a registry. */
export function trialScript({ node, id, address }: SwarmStep & { kind: "try" }, image: string): string {
  const service = shellWord(`bramble-trial-${node}`);
  return `service=${service}
show() { printf '%s\\n' "$1"; }
remove() { docker service rm "$service" >/dev/null 2>&1; }
remove
trap remove EXIT
docker service create --detach --quiet --name "$service" --constraint node.id==${id} --restart-condition none \\
  --no-resolve-image --stop-grace-period 2s --publish mode=host,target=${PORT} \\
  --mount type=bind,source=/usr,target=/usr,readonly --mount type=bind,source=/lib,target=/lib,readonly \\
  ${image} /usr/bin/perl -MIO::Socket::INET -e ${shellWord(SERVER)} ${shellWord(node)} >/dev/null || exit
end=$(($(date +%s) + ${TRIAL_S}))
while [ "$(date +%s)" -lt $end ]; do
  task=$(docker service ps --quiet --no-trunc "$service" | head -n 1)
  [ -n "$task" ] && status=$(docker inspect --type task --format '{{json .Status}}' "$task")
  port=$(show "$status" | sed -n 's/.*"PublishedPort":\\([0-9]*\\).*/\\1/p')
  case $status in
    *'"State":"failed"'* | *'"State":"rejected"'*)
      break
      ;;
    *'"State":"running"'*)
      if [ -n "$port" ]; then
        answer=$(perl -MIO::Socket::INET -e ${shellWord(CLIENT)} ${address} "$port" 2>&1)
        [ "$answer" = ${shellWord(node)} ] && break
      fi
      ;;
  esac
  sleep 1
done
[ -z "$answer" ] || show "answer: $answer"
show "task: $(show "$status" | sed -n 's/.*"State":"\\([a-z]*\\)".*/\\1/p') $(show "$status" | sed -n 's/.*"Err":"\\([^"]*\\)".*/\\1/p')"
`;
}
