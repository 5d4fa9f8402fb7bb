/**
 * What Ansible is told of a cluster: the answer of an inventory script to `--list` and `--host`.
 * Document: Ansible Developer Guide, "Developing dynamic inventory", inventory script conventions.
 * Left out: variables of groups but `all`, and groups of groups.
 */
import type { Stage } from "../cluster/event.ts";
import type { Manifest } from "../cluster/manifest.ts";
import type { Configure } from "../cluster/manifest-configure.ts";
import { managersOf } from "../cluster/orchestrator-managers.ts";
import { isReachable } from "../cluster/status.ts";
import { shellWord } from "./shell-word.ts";
import { pinnedHostKeyOptions, type SshFiles } from "./ssh-options.ts";

/** What a running manager knows of a node. */
export interface KnownNode {
  name: string;
  stage: Stage;
  noAnswerSinceMs?: number;
  address?: string;
  model?: string;
  serial?: string;
  mac?: string;
}

export type HostVariables = Record<string, string | boolean>;

export interface Inventory {
  /** By name; each has `up`, also when nobody is in it, so that plays for it match something. */
  groups: ReadonlyMap<string, readonly string[]>;
  hosts: ReadonlyMap<string, HostVariables>;
  /** Roles that Ansible cannot tell from one another. */
  warnings: readonly string[];
}

/** `known` is what the manager says; nodes that it does not name have what the manifest says, and are not up. */
export function inventoryOf(manifest: Manifest, known: readonly KnownNode[], files: SshFiles): Inventory {
  const knownByName = new Map(known.map((node) => [node.name, node]));
  const groups = new Map<string, string[]>([["up", []]]);
  const managers = managersOf(manifest);
  const hosts = new Map<string, HostVariables>();
  for (const node of manifest.nodes) {
    const { name, role } = node;
    const status = knownByName.get(name);
    const { address, model, serial, mac } = { ...node, ...status };
    for (const group of [
      ...(isReachable(status) ? ["up"] : []),
      ...(model === undefined ? [] : [groupName("model", model)]),
      ...(role === undefined ? [] : [groupName("role", role)]),
      ...orchestratorGroups(managers, name),
    ]) {
      groups.set(group, [...(groups.get(group) ?? []), name]);
    }
    hosts.set(name, {
      ...(address !== undefined && { ansible_host: address }),
      ...connectionVariables(name, manifest.access.user, files),
      ...(model !== undefined && { bramble_model: model }),
      ...(serial !== undefined && { bramble_serial: serial }),
      ...(mac !== undefined && { bramble_mac: mac }),
      ...(role !== undefined && { bramble_role: role }),
    });
  }
  return { groups, hosts, warnings: rolesAlike(manifest) };
}

/** The answer to `--list`: all at once, so that Ansible does not ask for each host. `variables` are for all hosts. */
export function inventoryList(
  { groups, hosts }: Inventory,
  variables: Configure["variables"] = {},
): Record<string, unknown> {
  const members = Array.from(groups, ([name, names]) => [name, { hosts: names }] as const);
  return {
    _meta: { hostvars: Object.fromEntries(hosts) },
    all: { hosts: [...hosts.keys()], ...(Object.keys(variables).length > 0 && { vars: variables }) },
    ...Object.fromEntries(members),
  };
}

function connectionVariables(name: string, user: string, files: SshFiles): HostVariables {
  return {
    ansible_user: user,
    ansible_ssh_private_key_file: files.managerKey,
    // Ansible splits them as a shell does.
    ansible_ssh_common_args: pinnedHostKeyOptions(name, files).map(shellWord).join(" "),
    // Said, because a user's ansible.cfg may switch it off: Ansible then puts an option before ours, and ssh takes the first.
    ansible_host_key_checking: true,
  };
}

function orchestratorGroups(managers: readonly string[], name: string): string[] {
  if (managers.length === 0) return [];
  return [managers.includes(name) ? "orchestrator_manager" : "orchestrator_worker"];
}

/** Ansible takes letters, digits and underscores: `model_3b_plus`, `role_web_front`. */
function groupName(kind: string, value: string): string {
  return `${kind}_${value.replaceAll("+", "_plus").replace(/[^A-Za-z0-9_]/g, "_")}`;
}

function rolesAlike({ nodes }: Manifest): string[] {
  const rolesByGroup = new Map<string, Set<string>>();
  for (const { role } of nodes) {
    if (role === undefined) continue;
    const group = groupName("role", role);
    rolesByGroup.set(group, (rolesByGroup.get(group) ?? new Set()).add(role));
  }
  return Array.from(rolesByGroup)
    .filter(([, roles]) => roles.size > 1)
    .map(
      ([group, roles]) =>
        `The roles ${Array.from(roles, (role) => JSON.stringify(role)).join(" and ")} are one group for Ansible, ${group}; name them so that letters or digits differ`,
    );
}
