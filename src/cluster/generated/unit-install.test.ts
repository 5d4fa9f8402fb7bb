import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { requireTools } from "../../../test/lab/required-tools.ts";
import { readInstall, templateOf } from "./unit-install.ts";

const INSTALL = "[Unit]\nWantedBy=no.target\n[Install]\n";

const CASES: [name: string, unit: string, lines: string, links: string[], also: string[]][] = [
  ["one target", "a.service", "WantedBy=multi-user.target", ["multi-user.target.wants/a.service"], []],
  [
    "several targets, in several lines, over several lines, and comments between them",
    "a.socket",
    "WantedBy=b.target \\\n  c.target\n# WantedBy=d.target\n;WantedBy=e.target\nWantedBy = f.target",
    ["b.target.wants/a.socket", "c.target.wants/a.socket", "f.target.wants/a.socket"],
    [],
  ],
  ["an empty value, which forgets those before", "a.service", "WantedBy=b.target\nWantedBy=", [], []],
  [
    "all ways to be wanted",
    "a.service",
    "WantedBy=b.target\nRequiredBy=c.service\nUpheldBy=d.service",
    ["b.target.wants/a.service", "c.service.requires/a.service", "d.service.upholds/a.service"],
    [],
  ],
  [
    "another name, and units to go with it",
    "ssh.service",
    "WantedBy=b.target\nAlias=sshd.service\nAlso=x.socket y.timer",
    ["b.target.wants/ssh.service", "sshd.service"],
    ["x.socket", "y.timer"],
  ],
  [
    "an instance of a template",
    "wg-quick@wg0.service",
    "WantedBy=b.target\nAlias=vpn@.service\nRequiredBy=%p-%i-%N-%j.target",
    [
      "b.target.wants/wg-quick@wg0.service",
      "wg-quick-wg0-wg-quick@wg0-quick.target.requires/wg-quick@wg0.service",
      "vpn@wg0.service",
    ],
    [],
  ],
  ["units named after it", "a.service", "Also=%n.x 100%%", [], ["a.service.x", "100%"]],
  [
    "a template with a default instance",
    "getty@.service",
    "WantedBy=getty.target\nDefaultInstance=tty1",
    ["getty.target.wants/getty@tty1.service"],
    [],
  ],
  ["nothing", "a.service", "", [], []],
];

/** Below /etc/systemd/system, what `systemctl enable` of this machine links in a root of its own. */
function linksOfSystemctl(unit: string, text: string): string[] {
  const root = mkdtempSync(join(tmpdir(), "bramble-units-"));
  try {
    const folder = join(root, "usr/lib/systemd/system");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, templateOf(unit) ?? unit), text);
    execFileSync("systemctl", [`--root=${root}`, "enable", unit], { stdio: "ignore" });
    const entries = readdirSync(join(root, "etc/systemd/system"), { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => entry.isSymbolicLink())
      .map((entry) => join(entry.parentPath, entry.name).slice(join(root, "etc/systemd/system/").length));
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

describe("the [Install] section of a unit", () => {
  it.each(CASES)("with %s", (_, unit, lines, links, also) => {
    expect(readInstall(INSTALL + lines, unit)).toEqual({ links, also });
  });

  /** UpheldBy= is younger than the systemd of Debian 12, and units that go with it are not there. */
  const known = CASES.filter(([, , lines, links]) => links.length > 0 && !/UpheldBy|Also/.test(lines));

  it.skipIf(requireTools(["systemctl"])).each(known)(
    "leads to the links of systemctl itself, with %s",
    (_, unit, lines, links) => {
      expect(linksOfSystemctl(unit, INSTALL + lines).sort()).toEqual([...links].sort());
    },
  );

  it("says which word only the node could fill in", () => {
    expect(readInstall(`${INSTALL}WantedBy=on-%H.target`, "a.service").unknownWord).toBe("on-%H.target");
  });
});
