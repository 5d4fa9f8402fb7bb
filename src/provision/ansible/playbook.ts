/**
 * What ansible-playbook is given for one run: a playbook around the user's and our roles, and an inventory as a file. Both are YAML
 * documents written as JSON.
 * Documents: Ansible, "Playbook keywords"; `ansible.builtin.yaml` inventory.
 */
import type { Configure } from "../../cluster/manifest-configure.ts";
import type { Inventory } from "../inventory.ts";

/**
 * A node that gets to this play has gone through all others: one that failed is left out of what comes after, and a run that is
 * broken off (`any_errors_fatal`, `serial`) does not get here.
 */
export const LAST_PLAY = "bramble: done";

/** Paths of playbooks are absolute. */
export function configurationPlaybook(configure: Configure): object[] {
  const imported = (paths: readonly string[]) => paths.map((path) => ({ "ansible.builtin.import_playbook": path }));
  const roles = {
    name: "Roles of the manifest",
    hosts: "all",
    become: true,
    // The smallest set: the rest takes many seconds on a Pi.
    gather_subset: ["!all"],
    roles: configure.roles,
  };
  const last = {
    name: LAST_PLAY,
    hosts: "all",
    gather_facts: false,
    // Runs on the manager: no connection is made for it.
    tasks: [{ name: LAST_PLAY, "ansible.builtin.debug": { msg: "" } }],
  };
  return [
    ...imported(configure.before),
    ...(configure.roles.length > 0 ? [roles] : []),
    ...imported(configure.after),
    last,
  ];
}

/** The same as `inventoryList` tells, as the YAML plugin reads it: a script would have to be on a disk that lets programs run. */
export function inventoryFile({ groups, hosts }: Inventory, variables: Configure["variables"]): object {
  const members = Array.from(
    groups,
    ([name, names]) => [name, { hosts: Object.fromEntries(names.map(named)) }] as const,
  );
  return { all: { hosts: Object.fromEntries(hosts), vars: variables, children: Object.fromEntries(members) } };
}

function named(name: string): [string, object] {
  return [name, {}];
}
