/** What is known of a node's configuration by Ansible, as far as its events tell. A part of `NodeStatus`. */
import type { BootEvent } from "./event.ts";

export interface Configured {
  unixMs: number;
  fingerprint: string;
  bootId: string;
}

export interface ConfiguredState {
  /** The last time that Ansible did all that the manifest said then. */
  configured?: Configured;
  /** The last time it could not, when that was later; `attempts`: so often in a row, in this boot and with these settings. */
  configureFailed?: Configured & { message: string; attempts: number };
}

type EventOf<Kind extends BootEvent["kind"]> = BootEvent & { kind: Kind };

export function afterConfigured<Status extends ConfiguredState>(status: Status, event: EventOf<"configured">): Status {
  const { configureFailed: _, ...rest } = status;
  return { ...(rest as Status), configured: configuredBy(event) };
}

export function afterConfigureFailed<Status extends ConfiguredState>(
  status: Status,
  event: EventOf<"configure-failed">,
): Status {
  const { configureFailed: last } = status;
  const isAgain = last?.fingerprint === event.fingerprint && last.bootId === event.bootId;
  const attempts = (isAgain ? last.attempts : 0) + 1;
  return { ...status, configureFailed: { ...configuredBy(event), message: event.message, attempts } };
}

/** Its files are not those that Ansible worked on. */
export function unconfigured<Status extends ConfiguredState>(status: Status): Status {
  const { configured: _, configureFailed: __, ...rest } = status;
  return rest as Status;
}

function configuredBy({ unixMs, fingerprint, bootId }: Configured): Configured {
  return { unixMs, fingerprint, bootId };
}
