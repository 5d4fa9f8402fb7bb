import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseIpv4 } from "../bytes/addresses.ts";
import { commandLineKey, MEMORY_CGROUP_WORDS, type NfsRoot, patchCommandLine, splitCommandLine } from "./cmdline.ts";

const ROOT: NfsRoot = {
  lane: "kernel",
  server: parseIpv4("10.77.0.1"),
  path: "/bramble/node1/root",
  nfsPort: 2049,
  mountPort: 20048,
};
const KERNEL_ROOT =
  "root=/dev/nfs nfsroot=10.77.0.1:/bramble/node1/root,vers=3,tcp,nolock,port=2049,mountport=20048,rsize=131072,wsize=131072 rw ip=dhcp rootwait panic=10";

describe("the kernel command line", () => {
  it.each([
    [
      "bookworm's, with its first-boot init",
      "console=serial0,115200 console=tty1 root=PARTUUID=4e639091-02 rootfstype=ext4 fsck.repair=yes rootwait quiet init=/usr/lib/raspberrypi-sys-mods/firstboot",
      `console=serial0,115200 console=tty1 ${KERNEL_ROOT}`,
    ],
    [
      "trixie's, with the word resize",
      "console=serial0,115200 console=tty1 root=PARTUUID=4e639091-02 rootfstype=ext4 fsck.repair=yes rootwait resize cfg80211.ieee80211_regdom=GB",
      `console=serial0,115200 console=tty1 cfg80211.ieee80211_regdom=GB ${KERNEL_ROOT}`,
    ],
    [
      "one with a first-run script of the Imager",
      "console=tty1 root=LABEL=x systemd.run=/boot/firstrun.sh systemd.run_success_action=reboot systemd.unit=kernel-command-line.target init=/usr/lib/raspi-config/init_resize.sh",
      `console=tty1 ${KERNEL_ROOT}`,
    ],
    ["one with an init of the owner's", "init=/sbin/openrc-init boot=overlay", `init=/sbin/openrc-init ${KERNEL_ROOT}`],
    ["an empty one", "\n", KERNEL_ROOT],
    ["one that already reboots on panic", "panic=3", KERNEL_ROOT.replace(/^(.*) panic=10$/, "panic=3 $1")],
  ])("patches %s", (_, text, expected) => {
    expect(patchCommandLine(text, ROOT)).toBe(expected);
  });

  it("never gives mountport to an initramfs, and the port only when it is not the standard one", () => {
    const standard = patchCommandLine("", { ...ROOT, lane: "initramfs" });
    expect(standard).toContain("nfsroot=10.77.0.1:/bramble/node1/root,vers=3,tcp,nolock,rsize=131072,wsize=131072 ");
    const moved = patchCommandLine("", { ...ROOT, lane: "initramfs", nfsPort: 12049 });
    expect(moved).toContain(",nolock,port=12049,rsize=");
    expect(moved).not.toContain("mountport");
  });

  it("puts the manifest's words last, instead of words with the same key, but keeps every console", () => {
    const line = patchCommandLine("console=tty1 loglevel=3", ROOT, ["loglevel=7 console=ttyAMA0", "panic=0"]);
    expect(line).toBe(`console=tty1 ${KERNEL_ROOT.replace(" panic=10", "")} loglevel=7 console=ttyAMA0 panic=0`);
  });

  it.each([
    ["an image without a word of them", "console=tty1", [], `console=tty1 ${KERNEL_ROOT} WORDS`],
    [
      "an image that has them, and another controller",
      "cgroup_enable=cpuset cgroup_memory=1 cgroup_enable=memory console=tty1",
      [],
      `cgroup_enable=cpuset console=tty1 ${KERNEL_ROOT} WORDS`,
    ],
    [
      "a manifest that has one of them, too",
      "",
      ["quiet cgroup_memory=1 cgroup_enable=cpuset"],
      `${KERNEL_ROOT} cgroup_enable=memory quiet cgroup_memory=1 cgroup_enable=cpuset`,
    ],
  ])("switches the memory controller on once: %s", (_, text, own, expected) => {
    const line = patchCommandLine(text, ROOT, [...MEMORY_CGROUP_WORDS, ...own]);
    expect(line).toBe(expected.replace("WORDS", MEMORY_CGROUP_WORDS.join(" ")));
  });

  it("starts a first program instead of the init, and tells it which one that is", () => {
    const root = { ...ROOT, firstProgram: "/usr/lib/first" };
    expect(patchCommandLine("console=tty1", root)).toBe(`console=tty1 ${KERNEL_ROOT} init=/usr/lib/first`);
    const words = splitCommandLine(patchCommandLine("init=/sbin/openrc-init", root));
    expect(words.slice(0, 1).concat(words.slice(-1))).toEqual([
      "bramble.init=/sbin/openrc-init",
      "init=/usr/lib/first",
    ]);
    const owners = splitCommandLine(patchCommandLine("init=/sbin/openrc-init", root, ["init=/bin/sh"]));
    expect(owners.filter((word) => word.includes("init="))).toEqual(["bramble.init=/bin/sh", "init=/usr/lib/first"]);
  });

  it("keeps spaces inside quotes", () => {
    expect(splitCommandLine('a="b c" d  "e f=g"\n')).toEqual(['a="b c"', "d", '"e f=g"']);
  });

  it("always names exactly one root, whatever the image says", () => {
    const word = fc.constantFrom(
      "root=/dev/sda1",
      "root=/dev/nfs",
      "ip=off",
      "ro",
      "rw",
      "quiet",
      "x=1",
      "console=tty1",
    );
    fc.assert(
      fc.property(fc.array(word), (words) => {
        const keys = splitCommandLine(patchCommandLine(words.join(" "), ROOT)).map(commandLineKey);
        for (const key of ["root", "nfsroot", "ip", "rw", "rootwait"]) {
          expect(keys.filter((candidate) => candidate === key)).toHaveLength(1);
        }
        expect(keys).not.toContain("ro");
      }),
    );
  });
});
