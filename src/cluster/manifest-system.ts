/** What the manifest says of a node's running system: kernel settings and modules, systemd's units, packages, control groups. */
import { z } from "zod";

/** sysctl.d(5): parts between dots, `*` for any, and a slash for a dot that belongs to a name (`eth0/1`). */
const SYSCTL_NAME = /^[A-Za-z0-9_]+(\.[\w:@*-]+(\/[\w:@*-]+)*)+$/;
const SYSCTL_VALUE = /^[!-~]([ -~]*[!-~])?$/;
/** MODULE_NAME_LEN of a 64-bit kernel, less its final zero. */
const MODULE_NAME = /^[A-Za-z0-9_-]{1,55}$/;
/** systemd.unit(5). */
const UNIT_NAME = /^(?=.{1,255}$)[\w:.\\-]+(@[\w:.\\-]*)?$/;
const UNIT_TYPE = /\.(service|socket|timer|path|target|mount|automount|swap|slice)$/;

/** `ssh` is `ssh.service`, as for systemctl. */
export function fullUnitName(name: string): string {
  return UNIT_TYPE.test(name) ? name : `${name}.service`;
}

const BAD_VALUE = "Expected a whole number or one line of ASCII text; numbers of more than 15 digits in quotes";

const sysctl = z.record(
  z.string().regex(SYSCTL_NAME, { error: "Expected the name of a kernel setting, as net.ipv4.ip_forward" }),
  z
    .union([z.int({ error: BAD_VALUE }), z.string().regex(SYSCTL_VALUE, { error: BAD_VALUE })], { error: BAD_VALUE })
    .transform(String),
);

/** Debian Policy 5.6.1. */
const packageName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9+.-]{1,127}$/, { error: "Expected the name of a Debian package, as htop" });

const moduleName = z.string().regex(MODULE_NAME, { error: "Expected the name of a kernel module, as br_netfilter" });

const unitNames = z
  .array(
    z
      .string()
      .regex(UNIT_NAME, { error: "Expected the name of a systemd unit, as fstrim.timer or getty@tty2.service" })
      .transform(fullUnitName),
  )
  .default([]);

/** For all nodes, and once more for each; what a node says wins over what is said for all. */
export const systemSettings = {
  sysctl: sysctl.default({}).describe("Kernel settings, as net.ipv4.ip_forward: 1"),
  modules: z.array(moduleName).default([]).describe("Kernel modules to load at boot"),
  units: z.strictObject({ enable: unitNames, mask: unitNames }).prefault({}).describe("Units of systemd"),
  packages: z.array(packageName).default([]).describe("Debian packages that a node installs when they are missing"),
  cgroups: z
    .enum(["memory", "none"])
    .exactOptional()
    .describe(
      "memory: the kernel counts and limits the memory of containers; by default where there is an orchestrator",
    ),
};
