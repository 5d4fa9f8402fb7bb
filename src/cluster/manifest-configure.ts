/** `configure:` of the manifest: what Ansible does on nodes that are up. */
import { z } from "zod";
import { isPlain, listAt, type Plain, plainAt } from "./manifest-plain.ts";
import type { LocatedProblem } from "./manifest-problem.ts";

/** Roles of our collection that `configure.roles` may name without its name. */
export const COLLECTION_ROLES = ["base", "docker", "k3s", "kubeadm", "log2ram", "swarm"] as const;
export const COLLECTION = "bramble.cluster";

/** A role of any collection: `namespace.collection.role`. */
const FULL_ROLE_NAME = /^[a-z_]\w*\.[a-z_]\w*\.[a-z_]\w*$/;
const VARIABLE_NAME = /^[A-Za-z_]\w*$/;

const role = z
  .string()
  .refine((name) => isOurs(name) || FULL_ROLE_NAME.test(name), {
    error: `Expected a role: ${COLLECTION_ROLES.join(", ")}, or one of another collection, as community.general.role`,
  })
  .transform((name) => (isOurs(name) ? `${COLLECTION}.${name}` : name));

const playbook = z.string().min(1, { error: "Expected the path of a playbook" });

export const configure = z
  .strictObject({
    roles: z
      .array(role)
      .default([])
      .describe("Roles, in their order: of our collection as docker, of others by their full name"),
    variables: z
      .record(
        z.string().regex(VARIABLE_NAME, { error: "Expected the name of a variable: letters, digits and underscores" }),
        z.json(),
      )
      .default({})
      .describe("Variables of the roles and playbooks"),
    before: z.array(playbook).default([]).describe("Playbooks to run before the roles"),
    after: z.array(playbook).default([]).describe("Playbooks to run after the roles"),
    auto: z.boolean().default(true).describe("Whether the manager does it by itself when a node comes up"),
  })
  .refine(({ roles, before, after }) => roles.length + before.length + after.length > 0, {
    error: "Expected something to do: roles, or playbooks in before or after",
  })
  .describe("What Ansible does on nodes that are up");

export type Configure = z.output<typeof configure>;

function isOurs(name: string): boolean {
  return (COLLECTION_ROLES as readonly string[]).includes(name);
}

/** What is wrong beside the shape: playbooks that are not there, and no way to become root on the nodes. */
export function checkConfigure(data: Plain, fileExists: (path: string) => boolean): LocatedProblem[] {
  if (!isPlain(data.configure)) return [];
  return [...missingPlaybooks(data.configure, fileExists), ...noWayToRoot(data, data.configure)];
}

function missingPlaybooks(section: Plain, fileExists: (path: string) => boolean): LocatedProblem[] {
  return ["before", "after"].flatMap((key) =>
    listAt(section, key).flatMap((path, index) =>
      typeof path !== "string" || path === "" || fileExists(path)
        ? []
        : [
            {
              path: ["configure", key, index],
              message: `The playbook ${path} is not there`,
              hint: "Relative paths start at the manifest's own directory",
            },
          ],
    ),
  );
}

const PASSWORD_VARIABLES = ["ansible_become_password", "ansible_become_pass"];

function noWayToRoot(data: Plain, section: Plain): LocatedProblem[] {
  const { user, sudo } = plainAt(data, "access");
  const variables = plainAt(section, "variables");
  if (user === "root" || (sudo !== "password" && sudo !== "none")) return [];
  if (sudo === "password" && PASSWORD_VARIABLES.some((name) => name in variables)) return [];
  const message = `Ansible has to become root on the nodes, and access.sudo is ${sudo}`;
  return [{ path: ["configure"], message, hint: "Use access.sudo: nopasswd (the default)", atKey: true }];
}
