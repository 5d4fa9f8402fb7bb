import { describe, expect, it } from "vitest";
import { formatProblem, parseManifest } from "./manifest.ts";

const ERRORS = {
  sysctl: "Expected the name of a kernel setting, as net.ipv4.ip_forward",
  value: "Expected a whole number or one line of ASCII text; numbers of more than 15 digits in quotes",
  module: "Expected the name of a kernel module, as br_netfilter",
  unit: "Expected the name of a systemd unit, as fstrim.timer or getty@tty2.service",
};

function parse(line: string, nodeLine = "") {
  const node = `{ name: a, mac: dc:a6:32:70:da:b0, ${nodeLine} }`;
  return parseManifest(`cluster: attic\nimage: pi.img\n${line}\nnodes: [${node}]\n`, { fileExists: () => true });
}

function problemsOf(line: string, nodeLine?: string): string[] {
  const result = parse(line, nodeLine);
  return result.ok ? [] : result.problems.map((problem) => formatProblem("", problem).replace(/^:/, ""));
}

describe("kernel settings, modules and units in the manifest", () => {
  it("are brought into one form, for all nodes and for each", () => {
    const line =
      "sysctl: { net.ipv4.ip_forward: 1, net.ipv4.conf.eth0/1.rp_filter: -1, net.ipv4.conf.*.log_martians: '0', kernel.core_pattern: '|/bin/false %p' }";
    const result = parse(line, "modules: [br_netfilter, 8021q], units: { enable: [ssh, getty@tty2, a.timer] }");
    expect(result.ok && result.manifest).toMatchObject({
      sysctl: {
        "net.ipv4.ip_forward": "1",
        "net.ipv4.conf.eth0/1.rp_filter": "-1",
        "net.ipv4.conf.*.log_martians": "0",
        "kernel.core_pattern": "|/bin/false %p",
      },
      units: { enable: [], mask: [] },
      nodes: [
        {
          modules: ["br_netfilter", "8021q"],
          units: { enable: ["ssh.service", "getty@tty2.service", "a.timer"], mask: [] },
        },
      ],
    });
  });

  it.each([
    ["sysctl: { ip_forward: 1 }", `3:11: sysctl.ip_forward: ${ERRORS.sysctl}`],
    ["sysctl: { net.//.x: 1 }", `3:11: sysctl.net.//.x: ${ERRORS.sysctl}`],
    ["sysctl: { -net.ipv4.ip_forward: 1 }", `3:11: sysctl.-net.ipv4.ip_forward: ${ERRORS.sysctl}`],
    ["sysctl: { vm.swappiness: 1.5 }", `3:26: sysctl.vm.swappiness: ${ERRORS.value}`],
    ["sysctl: { vm.swappiness: true }", `3:26: sysctl.vm.swappiness: ${ERRORS.value}`],
    ["sysctl: { kernel.shmmax: 18446744073692774399 }", `3:26: sysctl.kernel.shmmax: ${ERRORS.value}`],
    ['sysctl: { vm.swappiness: "1\\nvm.x = 2" }', `3:26: sysctl.vm.swappiness: ${ERRORS.value}`],
    ['sysctl: { vm.swappiness: "" }', `3:26: sysctl.vm.swappiness: ${ERRORS.value}`],
    ["sysctl: [vm.swappiness=1]", "3:9: sysctl: Expected a map of keys and values"],
    ["modules: [zram.ko]", `3:11: modules[0]: ${ERRORS.module}`],
    ["modules: br_netfilter", "3:10: modules: Expected a list"],
    ["units: { enable: [a b.service] }", `3:19: units.enable[0]: ${ERRORS.unit}`],
    ["units: { mask: [/etc/x.service] }", `3:17: units.mask[0]: ${ERRORS.unit}`],
    ["units: { mask: [a@b@c.service] }", `3:17: units.mask[0]: ${ERRORS.unit}`],
    ["units: { disable: [ssh] }", '3:10: units.disable: Unknown key "disable". Known here: enable, mask'],
    [
      "units: { enable: [ssh.service], mask: [cron, ssh] }",
      "3:46: units.mask[1]: The unit ssh.service would be enabled and masked. Leave it in one of the two lists",
    ],
    ["cgroups: cpu", "3:10: cgroups: Expected one of memory, none"],
  ])("%s is refused", (line, expected) => {
    expect(problemsOf(line)).toEqual([expected]);
  });

  it("may differ for a node, but not contradict themselves there", () => {
    expect(problemsOf("units: { mask: [ssh] }", "units: { enable: [ssh] }")).toEqual([]);
    expect(problemsOf("", "units: { enable: [x.timer], mask: [x.timer] }")).toEqual([
      "4:79: nodes[0].units.mask[0]: The unit x.timer would be enabled and masked. Leave it in one of the two lists",
    ]);
  });
});
