import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { MemoryFiles } from "../../../test/memory-files.ts";
import { BOOKWORM, BUSYBOX, DEBIAN, planImage, TRIXIE } from "../../../test/plan-images.ts";
import type { Ipv4 } from "../../bytes/addresses.ts";
import type { GeneratedFile } from "../generated-file.ts";
import { parseManifest } from "../manifest.ts";
import { generateRoot, parseUpReport } from "./index.ts";
import { withoutWired } from "./network.ts";
import type { GenerationInput } from "./placing.ts";

interface Image {
  boot: MemoryFiles;
  root: MemoryFiles;
}

function input(image: Image, lines = "", sources: Record<string, string> = {}): GenerationInput {
  const text = `cluster: attic\nimage: pi.img\nnodes: [{ name: node1, mac: dc:a6:32:70:da:b0 }]\n${lines}`;
  const result = parseManifest(text, { fileExists: () => true });
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return {
    manifest: result.manifest,
    node: result.manifest.nodes[0]!,
    rootMode: result.manifest.root,
    ...planImage("pi", image),
    serverAddress: "10.77.0.1" as Ipv4,
    ports: { nfs: 2049, mount: 20048 },
    secrets: { machineId: "0".repeat(32), sshHostKey: { privateKey: "private", publicKey: "ssh-ed25519 AAAA" } },
    readSource: (path) => (path in sources ? Buffer.from(sources[path]!) : undefined),
  };
}

/** As `input`, of a node whose root is in memory. */
function inMemory(image: Image): Map<string, GeneratedFile> {
  return new Map(generateRoot({ ...input(image), rootMode: "ram" }).files.map((file) => [file.path, file]));
}

function generated(image: Image, lines = "", sources: Record<string, string> = {}): Map<string, GeneratedFile> {
  return new Map(generateRoot(input(image, lines, sources)).files.map((file) => [file.path, file]));
}

function textOf(files: Map<string, GeneratedFile>, path: string): string {
  const file = files.get(path);
  return file?.kind === "file" ? Buffer.from(file.content).toString() : `(${file?.kind})`;
}

function withRoot(image: Image, root: MemoryFiles): Image {
  return { ...image, root: { ...image.root, ...root } };
}

describe("ping", () => {
  const PATH = "/etc/sysctl.d/00-bramble-ping.conf";
  const ping = { "/usr/bin/ping": "", "/usr/lib/sysctl.d/": "" };

  it("is allowed to all groups where the image has it and reads such settings", () => {
    const files = generated(withRoot(DEBIAN, ping));
    expect(textOf(files, PATH)).toMatch(/^net\.ipv4\.ping_group_range = 0 2147483647$/m);
    expect(generated(withRoot(BUSYBOX, { "/bin/ping": "" })).has(PATH)).toBe(false);
    expect(generated(DEBIAN).has(PATH)).toBe(false);
  });
});

describe("kernel settings and modules of the manifest", () => {
  const SYSCTL = "/etc/sysctl.d/zz-bramble.conf";
  const MODULES = "/etc/modules-load.d/bramble.conf";
  const MODULE_LISTS = {
    "/usr/lib/modules/6.1.0-50-arm64/modules.dep":
      "kernel/net/bridge/br_netfilter.ko: kernel/net/llc/llc.ko\nextra/a-b.ko.xz:\n",
    "/usr/lib/modules/6.1.0-50-arm64/modules.builtin": "kernel/drivers/block/loop.ko\n",
    "/usr/lib/modules/6.1.0-50-arm64/modules.alias": "alias fs-btrfs btrfs\nalias pci:v0000* ahci\n",
  };
  const LOADERS = { "/usr/lib/systemd/systemd-sysctl": "", "/usr/lib/systemd/systemd-modules-load": "" };
  const image = withRoot(DEBIAN, { ...LOADERS, ...MODULE_LISTS });
  const lines = "sysctl: { vm.swappiness: 7, net.ipv4.ip_forward: 1 }\nmodules: [br_netfilter]\n";
  const own = (text: string) => `nodes: [{ name: node1, mac: dc:a6:32:70:da:b0, ${text} }]\n`;
  const planned = (of: Image, text: string) => {
    const { manifest, ...rest } = input(of);
    const result = parseManifest(
      `cluster: attic\nimage: pi.img\naccess: { authorizedKeys: [ssh-ed25519 AAAA] }\n${text}`,
      {
        fileExists: () => true,
      },
    );
    if (!result.ok) throw new Error(JSON.stringify(result.problems));
    const { files, warnings } = generateRoot({ ...rest, manifest: result.manifest, node: result.manifest.nodes[0]! });
    return { files: new Map(files.map((file) => [file.path, file])), warnings };
  };

  it("are files that systemd reads at boot, the node's own over those for all", () => {
    const { files, warnings } = planned(
      image,
      lines + own("sysctl: { vm.swappiness: 9 }, modules: [loop, br_netfilter]"),
    );
    expect(textOf(files, SYSCTL)).toBe("vm.swappiness = 9\nnet.ipv4.ip_forward = 1\n");
    expect(textOf(files, MODULES)).toBe("br_netfilter\nloop\n");
    expect(warnings).toEqual([]);
  });

  it("leave no file where there are none", () => {
    const { files } = planned(image, own(""));
    expect([files.has(SYSCTL), files.has(MODULES)]).toEqual([false, false]);
  });

  it.each([
    ["modules: [loop, br-netfilter, a_b, fs-btrfs]", image, []],
    ["modules: [loop, zram]", image, ["The image has no module zram for its kernel 6.1.0-50-arm64"]],
    ["modules: [zram]", withRoot(DEBIAN, LOADERS), []],
    [
      "modules: [loop]",
      withRoot(BUSYBOX, { "/usr/sbin/sshd": "" }),
      ["The image has no program that loads modules at boot; those of the manifest are not loaded"],
    ],
    [
      "sysctl: { vm.swappiness: 1 }",
      withRoot(BUSYBOX, { "/usr/sbin/sshd": "" }),
      ["The image has no program that applies sysctl settings at boot; those of the manifest do nothing"],
    ],
  ])("%s: what the image cannot do is said", (text, of, expected) => {
    expect(planned(of, own(text)).warnings).toEqual(expected);
  });

  describe("units", () => {
    const SYSTEM = "/etc/systemd/system";
    const install = (text: string) => `[Install]\n${text}\n`;
    const withUnits = withRoot(DEBIAN, {
      "/usr/lib/systemd/system/fstrim.timer": install("WantedBy=timers.target"),
      "/usr/lib/systemd/system/cron.service": install(
        "WantedBy=multi-user.target\nAlso=cron.socket gone.timer static.service",
      ),
      "/usr/lib/systemd/system/cron.socket": install("WantedBy=sockets.target\nAlso=cron.service"),
      "/usr/lib/systemd/system/static.service": "[Service]\nExecStart=/bin/true\n",
      "/usr/lib/systemd/system/host.service": install("WantedBy=on-%H.target"),
      "/usr/lib/systemd/system/vpn@.service": install("WantedBy=multi-user.target"),
      "/usr/lib/systemd/system/masked.service": install("WantedBy=multi-user.target"),
      [`${SYSTEM}/masked.service`]: "-> /dev/null",
      "/etc/init.d/old": "",
    });
    /** Link → target, or what else became of the path. */
    const links = (text: string, of: Image = withUnits) => {
      const { files, warnings } = planned(of, text);
      const ours = [...files.values()].filter((file) => file.reason === "manifest units");
      return {
        links: Object.fromEntries(
          ours.map((file) => [file.path.replace(`${SYSTEM}/`, ""), file.kind === "symlink" ? file.target : file.kind]),
        ),
        warnings,
      };
    };
    const CRON = "/usr/lib/systemd/system/cron.service";

    it.each([
      [
        "enabled with those that go with it",
        "units: { enable: [cron] }",
        {
          "multi-user.target.wants/cron.service": CRON,
          "sockets.target.wants/cron.socket": "/usr/lib/systemd/system/cron.socket",
        },
      ],
      [
        "an instance of a template",
        "units: { enable: [vpn@home] }",
        { "multi-user.target.wants/vpn@home.service": "/usr/lib/systemd/system/vpn@.service" },
      ],
      [
        "enabled although it is masked for all nodes of all clusters",
        "units: { enable: [fstrim.timer] }",
        { "fstrim.timer": "removed", "timers.target.wants/fstrim.timer": "/usr/lib/systemd/system/fstrim.timer" },
      ],
      [
        "enabled although the image masks it",
        "units: { enable: [masked] }",
        {
          "masked.service": "removed",
          "multi-user.target.wants/masked.service": "/usr/lib/systemd/system/masked.service",
        },
      ],
      [
        "of the manifest's own files",
        'files: [{ path: /etc/systemd/system/cron.service, content: "[Install]\\nWantedBy=my.target\\n" }], units: { enable: [cron] }',
        { "my.target.wants/cron.service": `${SYSTEM}/cron.service` },
      ],
      [
        "masked, with one that it would have brought along",
        "units: { enable: [cron], mask: [cron.socket, old, vpn@x] }",
        {
          "cron.socket": "/dev/null",
          "old.service": "/dev/null",
          "vpn@x.service": "/dev/null",
          "multi-user.target.wants/cron.service": CRON,
        },
      ],
    ])("%s", (_, text, expected) => {
      expect(links(own(text))).toEqual({ links: expected, warnings: [] });
    });

    it("are the node's own before those for all", () => {
      const text = `units: { enable: [cron, vpn@a], mask: [masked] }\n${own("units: { enable: [masked], mask: [cron] }")}`;
      expect(Object.keys(links(text).links).sort()).toEqual([
        "cron.service",
        "masked.service",
        "multi-user.target.wants/masked.service",
        "multi-user.target.wants/vpn@a.service",
      ]);
      expect(links(text).links).toMatchObject({ "cron.service": "/dev/null", "masked.service": "removed" });
    });

    it.each([
      ["enable: [fstrm.timer]", 'Cannot enable fstrm.timer: the image has no such unit. Did you mean "fstrim.timer"?'],
      ["enable: [nothing]", "Cannot enable nothing.service: the image has no such unit"],
      ["enable: [old]", "Cannot enable old.service: the image has no such unit"],
      [
        "enable: [static]",
        "Cannot enable static.service: it has no [Install] section, so others start it; a unit of your own (files:) can want it",
      ],
      [
        "enable: [vpn@]",
        "Cannot enable vpn@.service: it is a template without a default instance; write vpn@NAME.service",
      ],
      [
        "enable: [host]",
        "Cannot enable host.service: its [Install] section says on-%H.target, which only the running node could tell",
      ],
      ["mask: [bramble-up]", "Cannot mask bramble-up.service: it is Bramble's own, for up report"],
    ])("%s is not done, and said", (text, warning) => {
      expect(links(own(`units: { ${text} }`))).toEqual({ links: {}, warnings: [warning] });
    });

    it("are masked also where the image does not have them, and it is said", () => {
      expect(links(own("units: { mask: [fstrim.timr] }"))).toMatchObject({
        links: { "fstrim.timr.service": "/dev/null" },
        warnings: ["The image has no unit fstrim.timr.service to mask"],
      });
    });

    it("need an image with systemd", () => {
      const image = withRoot(BUSYBOX, { "/usr/sbin/sshd": "" });
      expect(links(own("units: { mask: [cron] }"), image)).toEqual({
        links: {},
        warnings: ["Cannot enable or mask units: the image has no systemd"],
      });
    });
  });
});

describe("the user", () => {
  it("is added with the first free ids, a group of its own, and the groups that there are", () => {
    const taken = withRoot(DEBIAN, {
      "/etc/passwd": "root:x:0:0:root:/root:/bin/bash\nsomebody:x:1000:1000::/home/somebody:/bin/sh\n",
      "/etc/group": "root:x:0:\nsudo:x:27:\nvideo:x:44:somebody\nother:x:1001:\n",
      "/etc/gshadow": "root:*::\nsudo:*::\nvideo:!::somebody\n",
    });
    const files = generated(taken, "access: { user: alice }");
    expect(textOf(files, "/etc/passwd")).toMatch(/\nalice:x:1002:1002::\/home\/alice:\/bin\/bash\n$/);
    expect(textOf(files, "/etc/group")).toBe(
      "root:x:0:\nsudo:x:27:alice\nvideo:x:44:somebody,alice\nother:x:1001:\nalice:x:1002:\n",
    );
    expect(textOf(files, "/etc/gshadow")).toBe("root:*::\nsudo:*::alice\nvideo:!::somebody,alice\nalice:!::\n");
    expect(files.get("/home/alice")).toMatchObject({ kind: "directory", mode: 0o700, uid: 1002, gid: 1002 });
    expect(files.get("/home/alice/.profile")).toMatchObject({ kind: "file", uid: 1002 });
  });

  it("keeps the account that the image has, and replaces its password", () => {
    const files = generated(BOOKWORM, 'access: { passwordHash: "$6$salt$hash" }');
    expect(textOf(files, "/etc/passwd")).toContain("\npi:x:1000:1000:,,,:/home/pi:/bin/bash\n");
    expect(textOf(files, "/etc/shadow")).toContain("\npi:$6$salt$hash::0:99999:7:::\n");
    expect(files.get("/etc/shadow")).toMatchObject({ mode: 0o640, gid: 42, secret: true });
    expect(files.has("/home/pi")).toBe(false);
  });

  it("has no password, yet is not locked, when only keys are given", () => {
    expect(textOf(generated(BOOKWORM), "/etc/shadow")).toContain("\npi:*::0:99999:7:::\n");
  });

  it("gets a shell where the image forbids to log in", () => {
    const image = withRoot(DEBIAN, {
      "/etc/passwd": "root:x:0:0::/root:/bin/bash\npi:x:1000:1000::/home/pi:/usr/sbin/nologin\n",
    });
    expect(textOf(generated(image), "/etc/passwd")).toContain("pi:x:1000:1000::/home/pi:/bin/bash");
  });

  it("can be root, who needs no sudo", () => {
    const files = generated(DEBIAN, "access: { user: root, authorizedKeys: [k] }", { k: "ssh-ed25519 AAAA" });
    expect(files.get("/root/.ssh/authorized_keys")).toMatchObject({ uid: 0, mode: 0o600 });
    expect([...files.keys()].filter((path) => path.startsWith("/etc/sudoers.d"))).toEqual([]);
    expect(textOf(files, "/etc/group")).not.toContain("sudo:x:27:root");
  });

  it.each([
    ["nopasswd", "file", undefined, "sudo:x:27:pi"],
    ["password", undefined, "removed", "sudo:x:27:pi"],
    ["none", undefined, "removed", "sudo:x:27:\n"],
  ])("with sudo %s", (sudo, ours, images, group) => {
    const files = generated(BOOKWORM, `access: { sudo: ${sudo} }`);
    expect(files.get("/etc/sudoers.d/010_bramble-nopasswd")?.kind).toBe(ours);
    expect(files.get("/etc/sudoers.d/010_pi-nopasswd")?.kind).toBe(images);
    expect(textOf(files, "/etc/group")).toContain(group);
  });

  it("without sudo loses the place among the administrators that the image gave it", () => {
    const image = withRoot(BOOKWORM, {
      "/etc/group": "root:x:0:\nadm:x:4:pi\nsudo:x:27:alice,pi\nwheel:x:990:pi\npi:x:1000:\n",
      "/etc/gshadow": "root:*::\nsudo:*::pi\n",
    });
    const files = generated(image, "access: { sudo: none }");
    expect(textOf(files, "/etc/group")).toContain("\nadm:x:4:pi\nsudo:x:27:alice\nwheel:x:990:pi\npi:x:1000:\n");
    expect(textOf(files, "/etc/gshadow")).toBe("root:*::\nsudo:*::\n");
  });

  it("is not asked for again where Raspberry Pi OS would ask at its first boot", () => {
    const asking = withRoot(BOOKWORM, {
      "/etc/systemd/system/multi-user.target.wants/userconfig.service": "",
      "/usr/lib/systemd/system/getty@.service": "",
      "/etc/sudoers.d/010_wiz-nopasswd": "rpi-first-boot-wizard ALL=(ALL) NOPASSWD: ALL\n",
      "/etc/xdg/autostart/piwiz.desktop": "",
      "/etc/lightdm/lightdm.conf": "[Seat:*]\nautologin-user=rpi-first-boot-wizard\nuser-session=rpd\n",
    });
    const files = generated(asking);
    expect(files.get("/etc/systemd/system/userconfig.service")?.kind).toBe("symlink");
    // What the dialogue does at its end: it had taken the console's login away.
    expect(files.get("/etc/systemd/system/getty.target.wants/getty@tty1.service")).toMatchObject({
      kind: "symlink",
      target: "/usr/lib/systemd/system/getty@.service",
    });
    expect(files.get("/etc/sudoers.d/010_wiz-nopasswd")?.kind).toBe("removed");
    expect(files.get("/etc/xdg/autostart/piwiz.desktop")?.kind).toBe("removed");
    expect(textOf(files, "/etc/lightdm/lightdm.conf")).toBe("[Seat:*]\nuser-session=rpd\n");
  });

  it("finds consoles and desktop as the image has them where nobody would be asked", () => {
    const files = generated(withRoot(BOOKWORM, { "/etc/lightdm/lightdm.conf": "[Seat:*]\nautologin-user=pi\n" }));
    expect(files.has("/etc/systemd/system/getty.target.wants/getty@tty1.service")).toBe(false);
    expect(files.has("/etc/lightdm/lightdm.conf")).toBe(false);
  });

  it("has its password in passwd where there is no shadow", () => {
    const files = generated(BUSYBOX, 'access: { passwordHash: "$6$salt$hash" }');
    expect(textOf(files, "/etc/passwd")).toContain("pi:$6$salt$hash:1000:");
    expect(files.has("/etc/shadow")).toBe(false);
  });
});

describe("fstab", () => {
  it("keeps the owner's lines that need no partition and drops the others", () => {
    const own =
      "# mine\ntmpfs /tmp tmpfs size=1g 0 0\nnas:/share /share nfs defaults 0 0\nLABEL=x / ext4 defaults 0 1\n/swap none swap sw 0 0\nUUID=1 /boot/firmware vfat defaults 0 2\n";
    const text = textOf(generated(withRoot(DEBIAN, { "/etc/fstab": own })), "/etc/fstab");
    expect(text).toMatch(
      /^proc \/proc proc defaults 0 0\n# mine\ntmpfs \/tmp tmpfs size=1g 0 0\nnas:\/share \/share nfs defaults 0 0\n10\.77\.0\.1:\/bramble\/node1\/boot \/boot\/firmware nfs /,
    );
    expect(text.trimEnd().split("\n")).toHaveLength(5);
  });

  it("goes on without a disk that the image mounts and the node may not have", () => {
    const own =
      "PARTUUID=4e639091-03 /data ext4 defaults,noatime 0 2\n/dev/sda1 /usb ext4 ro,nofail 0 2\nLABEL=x /x vfat\ntmpfs /tmp tmpfs size=1g 0 0\n";
    const lines = (image: Image) => textOf(generated(withRoot(image, { "/etc/fstab": own })), "/etc/fstab").split("\n");
    expect(lines(DEBIAN).slice(1, 5)).toEqual([
      "PARTUUID=4e639091-03 /data ext4 defaults,noatime,nofail 0 2",
      "/dev/sda1 /usb ext4 ro,nofail 0 2",
      "LABEL=x /x vfat nofail",
      "tmpfs /tmp tmpfs size=1g 0 0",
    ]);
    expect(lines(BUSYBOX)).toContain("PARTUUID=4e639091-03 /data ext4 defaults,noatime 0 2");
  });

  it("names the server's address for the kernel only where mount has no helper of its own", () => {
    expect(textOf(generated(DEBIAN), "/etc/fstab")).not.toContain("addr=");
    expect(textOf(generated(BOOKWORM), "/etc/fstab")).toContain(",addr=10.77.0.1,");
  });

  it("comes with the protocol names that mount.nfs looks up, where netbase is missing", () => {
    expect(textOf(generated(DEBIAN), "/etc/protocols")).toBe("tcp\t6\tTCP\nudp\t17\tUDP\n");
    expect(generated(withRoot(DEBIAN, { "/etc/protocols": "" })).has("/etc/protocols")).toBe(false);
    expect(generated(BOOKWORM).has("/etc/protocols")).toBe(false);
  });

  it("mounts the boot tree at /boot in an image from before bookworm", () => {
    const image = withRoot(BOOKWORM, {
      "/etc/fstab": "PARTUUID=1-01 /boot vfat defaults 0 2\nPARTUUID=1-02 / ext4 defaults 0 1\n",
    });
    expect(textOf(generated(image), "/etc/fstab")).toContain(" /boot nfs ");
  });
});

describe("SSH", () => {
  it("replaces the image's host keys by the node's one", () => {
    const files = generated(DEBIAN);
    expect(files.get("/etc/ssh/ssh_host_ed25519_key")).toMatchObject({ kind: "file", mode: 0o600, secret: true });
    expect(textOf(files, "/etc/ssh/ssh_host_ed25519_key.pub")).toBe("ssh-ed25519 AAAA node1\n");
    expect(files.get("/etc/ssh/ssh_host_rsa_key")?.kind).toBe("removed");
    expect(files.get("/etc/ssh/ssh_host_rsa_key.pub")?.kind).toBe("removed");
  });

  it("stays with the socket where the image starts it by one", () => {
    const files = generated(withRoot(DEBIAN, { "/etc/systemd/system/sockets.target.wants/ssh.socket": "" }));
    expect(files.has("/etc/systemd/system/multi-user.target.wants/ssh.service")).toBe(false);
  });
});

describe("the network", () => {
  it.each([
    [
      "auto lo\niface lo inet loopback\nallow-hotplug eth0\niface eth0 inet dhcp\n",
      "auto lo\niface lo inet loopback\n",
    ],
    [
      "auto lo eth0 wlan0\niface eth0 inet static\n    address 10.0.0.1/24\niface wlan0 inet dhcp\n    wpa-ssid x\n",
      "auto lo wlan0\niface wlan0 inet dhcp\n    wpa-ssid x\n",
    ],
    ["iface enp1s0 inet dhcp\nsource /etc/network/interfaces.d/*\n", "source /etc/network/interfaces.d/*\n"],
    ["auto wlan0\niface wlan0 inet dhcp\n", "auto wlan0\niface wlan0 inet dhcp\n"],
  ])("of ifupdown loses its wired stanzas (%#)", (text, expected) => {
    expect(withoutWired(text)).toBe(expected);
  });

  it("of ifupdown is left alone where it has none", () => {
    const files = generated(
      withRoot(DEBIAN, {
        "/etc/network/interfaces": "auto lo\niface lo inet loopback\n",
        "/etc/network/interfaces.d/wired": "iface eth0 inet dhcp",
      }),
    );
    expect(files.has("/etc/network/interfaces")).toBe(false);
    expect(textOf(files, "/etc/network/interfaces.d/wired")).toBe("\n");
  });

  it("of dhcpcd denies wired interfaces before anything else", () => {
    const files = generated(withRoot(BOOKWORM, { "/etc/dhcpcd.conf": "hostname\ninterface wlan0\n" }));
    expect(textOf(files, "/etc/dhcpcd.conf")).toBe("denyinterfaces eth* en*\nhostname\ninterface wlan0\n");
  });
});

describe("name servers", () => {
  const server = "network: { dhcp: server, range: { from: 10.77.0.9, to: 10.77.0.20 }";
  it.each([
    ["", true, undefined],
    [
      "network: { dns: [10.0.0.1, 1.1.1.1], domain: home.arpa }",
      false,
      "search home.arpa\nnameserver 10.0.0.1\nnameserver 1.1.1.1\n",
    ],
    [
      "network: { dns: [10.0.0.1], domain: home.arpa, search: [lan, home.arpa] }",
      false,
      "search home.arpa lan\nnameserver 10.0.0.1\n",
    ],
    [`${server}, dns: [10.0.0.1] }`, false, "nameserver 10.0.0.1\n"],
    [`${server} }`, false, undefined],
  ])("with %j are taken over at boot (%s), or written down", (lines, takenOver, text) => {
    const files = generated(DEBIAN, lines);
    expect(files.has("/usr/lib/bramble/name-servers")).toBe(takenOver);
    expect(files.has("/etc/resolv.conf") ? textOf(files, "/etc/resolv.conf") : undefined).toBe(text);
  });
});

describe("name servers of the manifest", () => {
  it("reach systemd-resolved, whoever manages the network", () => {
    const image = withRoot(TRIXIE, { "/etc/systemd/system/sysinit.target.wants/systemd-resolved.service": "" });
    const files = generated(image, "network: { dns: [10.0.0.1, 1.1.1.1], domain: home.arpa }");
    expect(textOf(files, "/etc/systemd/resolved.conf.d/90-bramble.conf")).toBe(
      "[Resolve]\nDNS=10.0.0.1 1.1.1.1\nDomains=home.arpa\n",
    );
    expect(files.has("/etc/resolv.conf")).toBe(false);
  });
});

describe("files of the manifest", () => {
  const LINES = `access: { user: alice }
files:
  - { path: /etc/motd, content: "hello\\n", mode: 0600, owner: alice, group: video }
  - { path: /etc/hostname, source: name }
`;

  it("are placed with their owner, and win over what is generated", () => {
    const files = generated(DEBIAN, LINES, { name: "mine\n" });
    expect(files.get("/etc/motd")).toMatchObject({ mode: 0o600, uid: 1000, gid: 44, reason: "manifest files" });
    expect(textOf(files, "/etc/hostname")).toBe("mine\n");
  });

  it.each([
    [LINES, "Cannot place /etc/hostname: its source name is not there"],
    ["files: [{ path: /a, content: b, owner: bob }]", "Cannot place /a: the image has no user bob"],
    ["files: [{ path: /a, content: b, group: crew }]", "Cannot place /a: the image has no group crew"],
  ])("are refused with the reason (%#)", (lines, message) => {
    expect(() => generated(DEBIAN, lines)).toThrow(message);
  });
});

describe("locale", () => {
  it("is set where the manifest says so", () => {
    const files = generated(BOOKWORM, "locale: C.UTF-8\ntimezone: Europe/Berlin\nkeymap: de\n");
    expect(textOf(files, "/etc/default/locale")).toBe("LANG=C.UTF-8\n");
    expect(files.get("/etc/localtime")).toMatchObject({ kind: "symlink", target: "/usr/share/zoneinfo/Europe/Berlin" });
    expect(textOf(files, "/etc/default/keyboard")).toContain('XKBLAYOUT="de"');
    expect(textOf(files, "/etc/vconsole.conf")).toBe("KEYMAP=de\n");
  });
});

describe("warnings", () => {
  const KEYS = "access: { authorizedKeys: [ssh-ed25519 AAAA] }\n";
  it.each([
    [DEBIAN, KEYS, []],
    [DEBIAN, "", ["Nobody can log in as pi: the manifest has neither access.authorizedKeys nor access.passwordHash"]],
    [DEBIAN, `${KEYS}timezone: Mars/Base`, ["The image has no time zone Mars/Base; the node's clock will show UTC"]],
    [DEBIAN, `${KEYS}locale: de_DE.UTF-8`, ["The image has no locale de_DE.UTF-8; programs will fall back to C"]],
    [BUSYBOX, KEYS, ["The image has no OpenSSH server; bramble ssh will not reach the node"]],
    [
      DEBIAN,
      `${KEYS}network: { dhcp: server, range: { from: 10.77.0.9, to: 10.77.0.20 }, router: 10.77.0.1 }`,
      ["The node will resolve no names: set network.dns in the manifest"],
    ],
    [
      withRoot(TRIXIE, { "/etc/systemd/system/sysinit.target.wants/systemd-resolved.service": "" }),
      KEYS,
      [
        "The image resolves names with systemd-resolved, which does not hear of DHCP's name servers; set network.dns in the manifest",
      ],
    ],
  ])("say what will not be as wished (%#)", (image, lines, expected) => {
    expect(generateRoot(input(image, lines)).warnings).toEqual(expected);
  });
});

/** Runs a generated script with its absolute paths moved into a folder. */
function runScript(script: string, folder: string, ...words: string[]): void {
  const moved = script.replaceAll(/(?<![\w.])\/(etc|run|proc\/net|var|proc\/sys|proc\/uptime)/g, `${folder}/$1`);
  execFileSync("sh", ["-u", "-c", moved, "script", ...words]);
}

describe("the scripts that nodes run", () => {
  const folder = () => {
    const path = mkdtempSync(join(tmpdir(), "bramble-script-"));
    for (const name of ["etc", "run", "proc/net", "proc/sys/kernel/random", "var/lib/bramble"])
      mkdirSync(join(path, name), { recursive: true });
    return path;
  };

  it.each([
    [
      "the kernel's note",
      {
        "proc/net/pnp":
          "#PROTO: DHCP\ndomain home.arpa\nnameserver 10.0.0.1\nnameserver 0.0.0.0\nbootserver 10.0.0.2\n",
      },
      "search home.arpa\nnameserver 10.0.0.1\n",
    ],
    [
      "the initramfs's note",
      {
        "run/net-eth0.conf":
          "DEVICE='eth0'\nIPV4ADDR='10.0.0.9'\nIPV4DNS0='10.0.0.1'\nIPV4DNS1='0.0.0.0'\nHOSTNAME=''\nDNSDOMAIN='home.arpa'\n",
      },
      "nameserver 10.0.0.1\nsearch home.arpa\n",
    ],
    ["no note", {}, "old\n"],
  ])("take over the name servers from %s", (_, notes, expected) => {
    const path = folder();
    try {
      writeFileSync(join(path, "run/old"), "old\n");
      symlinkSync("../run/old", join(path, "etc/resolv.conf"));
      for (const [name, text] of Object.entries(notes)) writeFileSync(join(path, name), text);
      runScript(textOf(generated(DEBIAN), "/usr/lib/bramble/name-servers"), path);
      expect(readFileSync(join(path, "etc/resolv.conf"), "utf8")).toBe(expected);
    } finally {
      rmSync(path, { recursive: true });
    }
  });

  it.each([
    ["up", []],
    ["down", ["down"]],
  ])("report that the node is %s, in the words that the manager reads", (state, words) => {
    const path = folder();
    try {
      const bootId = "0b8a4f0e-3f2d-4b7a-9c61-2f3f7c5d1e11";
      writeFileSync(join(path, "proc/sys/kernel/random/boot_id"), `${bootId}\n`);
      writeFileSync(join(path, "proc/uptime"), "32.17 60.02\n");
      runScript(textOf(generated(DEBIAN), "/usr/lib/bramble/up"), path, ...words);
      expect(existsSync(join(path, "var/lib/bramble/up"))).toBe(true);
      expect(parseUpReport(readFileSync(join(path, "var/lib/bramble/up")))).toEqual({ state, bootId, uptimeS: 32.17 });
    } finally {
      rmSync(path, { recursive: true });
    }
  });

  it("report from a root in memory by a write to the served one, once it can be mounted, and never fail", () => {
    const path = folder();
    try {
      const bootId = "0b8a4f0e-3f2d-4b7a-9c61-2f3f7c5d1e11";
      writeFileSync(join(path, "proc/sys/kernel/random/boot_id"), `${bootId}\n`);
      writeFileSync(join(path, "proc/uptime"), "32.17 60.02\n");
      mkdirSync(join(path, "served/var/lib/bramble"), { recursive: true });
      // The first attempt to mount fails, as when the manager is just starting.
      const program = (name: string, text: string) =>
        writeFileSync(join(path, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
      program("mount", `[ -e ${path}/tried ] && echo "$*" >> ${path}/calls || { : > ${path}/tried; exit 1; }`);
      program("umount", `echo "umount $*" >> ${path}/calls`);
      program("sleep", "");
      const script = textOf(inMemory(DEBIAN), "/usr/lib/bramble/up")
        .replace("served=/usr/lib/bramble/served", `served=${path}/served`)
        .replace("#!/bin/sh\n", `#!/bin/sh\nPATH=${path}:$PATH\n`);
      runScript(script, path);
      const report = join(path, "served/var/lib/bramble/up");
      expect(parseUpReport(readFileSync(report))).toEqual({ state: "up", bootId, uptimeS: 32.17 });
      expect(readFileSync(join(path, "calls"), "utf8")).toMatch(
        /^-i -t nfs -o vers=3,.*soft.* 10\.77\.0\.1:\/bramble\/node1\/root .*served\numount -i .*served\n$/,
      );
      rmSync(join(path, "tried"));
      runScript(script, path, "down");
      expect(parseUpReport(readFileSync(report))?.state).toBe("up");
      runScript(script, path, "down");
      expect(parseUpReport(readFileSync(report))?.state).toBe("down");
    } finally {
      rmSync(path, { recursive: true });
    }
  });

  it("are read by a POSIX shell without complaint", () => {
    for (const file of inMemory(DEBIAN).values()) {
      if (file.kind !== "file" || !Buffer.from(file.content.subarray(0, 9)).equals(Buffer.from("#!/bin/sh"))) continue;
      execFileSync("sh", ["-n"], { input: file.content });
    }
  });

  it.each(["", "0b8a4f0e-3f2d-4b7a-9c61-2f3f7c5d1e11 32.1", "x 1\n"])(
    "leave %j, which is no report, unread",
    (text) => {
      expect(parseUpReport(Buffer.from(text))).toBeUndefined();
    },
  );
});
