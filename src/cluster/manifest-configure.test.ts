import { describe, expect, it } from "vitest";
import { parseManifest } from "./manifest.ts";

const NODE = '\nnodes: [{ name: a, mac: "dc:a6:32:00:00:01" }]\n';

function parse(lines: string, missing: readonly string[] = []) {
  return parseManifest(`cluster: attic\nimage: pi.img\n${lines}${NODE}`, {
    fileExists: (path) => !missing.includes(path),
  });
}

function problemsOf(lines: string, missing?: readonly string[]): string[] {
  const result = parse(lines, missing);
  return result.ok
    ? []
    : result.problems.map(({ line, column, path, message }) => `${line}:${column} ${path}: ${message}`);
}

describe("configure of the manifest", () => {
  it("names roles of our collection in short, and others in full", () => {
    const result = parse("configure: { roles: [base, community.general.thing], variables: { base_packages: [htop] } }");
    expect(result.ok && result.manifest.configure).toEqual({
      roles: ["bramble.cluster.base", "community.general.thing"],
      variables: { base_packages: ["htop"] },
      before: [],
      after: [],
      auto: true,
    });
  });

  it("is not there when the manifest says nothing", () => {
    const result = parse("");
    expect(result.ok && result.manifest.configure).toBe(undefined);
  });

  it.each<[string, string, string[]]>([
    [
      "a role that there is not",
      "configure: { roles: [bse] }",
      [
        "3:22 configure.roles[0]: Expected a role: base, docker, k3s, kubeadm, log2ram, swarm, or one of another collection, as community.general.role",
      ],
    ],
    [
      "nothing to do",
      "configure: { auto: true }",
      ["3:12 configure: Expected something to do: roles, or playbooks in before or after"],
    ],
    ["an unknown key", "configure: { role: [base] }", ['3:14 configure.role: Unknown key "role"']],
    [
      "a variable that Ansible could not use",
      "configure: { roles: [base], variables: { base-packages: [] } }",
      ["3:42 configure.variables.base-packages: Expected the name of a variable: letters, digits and underscores"],
    ],
    [
      "a playbook that is not there",
      "configure: { before: [pre.yml], after: [site.yml, missing.yml] }",
      ["3:51 configure.after[1]: The playbook missing.yml is not there"],
    ],
    [
      "no way to become root on the nodes",
      "configure: { roles: [base] }\naccess: { sudo: password }",
      ["3:1 configure: Ansible has to become root on the nodes, and access.sudo is password"],
    ],
    [
      "a password of a user who may not use sudo",
      "configure: { roles: [base], variables: { ansible_become_password: x } }\naccess: { sudo: none }",
      ["3:1 configure: Ansible has to become root on the nodes, and access.sudo is none"],
    ],
  ])("refuses %s", (_, lines, problems) => {
    const found = problemsOf(lines, ["missing.yml"]);
    expect(found).toEqual(expect.arrayContaining(problems));
  });

  it.each([
    "configure: { roles: [base], variables: { ansible_become_password: x } }\naccess: { sudo: password }",
    "configure: { roles: [base] }\naccess: { sudo: none, user: root }",
  ])("takes %s", (lines) => {
    expect(problemsOf(lines)).toEqual([]);
  });
});
