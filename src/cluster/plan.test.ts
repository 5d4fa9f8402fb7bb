import { describe, expect, it } from "vitest";
import type { MemoryFiles } from "../../test/memory-files.ts";
import { BOOKWORM, BUSYBOX, DEBIAN, elf, planImage, TRIXIE } from "../../test/plan-images.ts";
import type { Ipv4 } from "../bytes/addresses.ts";
import { evaluateConfigTxt } from "../pi/config-txt.ts";
import { isEepromUpdateFile } from "../pi/eeprom-files.ts";
import { findPiModel } from "../pi/models.ts";
import { type Manifest, parseManifest } from "./manifest.ts";
import { type BootPlan, planNode } from "./plan.ts";
import { planToJson } from "./plan-json.ts";
import { encodeSshKey } from "./ssh-keys.ts";

const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample me@home";
const BASE = `cluster: attic
image: pi.img
network: { domain: home.arpa }
access: { authorizedKeys: ["${KEY}", key.pub] }
`;
const NODES = `nodes:
  - { name: node1, mac: "dc:a6:32:70:da:b0" }
  - { name: node2, serial: "91cdf03d", address: 10.77.0.12 }
`;

function manifestOf(text: string): Manifest {
  const result = parseManifest(text, { fileExists: () => true });
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.manifest;
}

function plan(image: { boot: MemoryFiles; root: MemoryFiles }, text = BASE + NODES, node = 0): BootPlan {
  const manifest = manifestOf(text);
  return planNode(manifest, manifest.nodes[node]!, planImage("pi", image), {
    serverAddress: "10.77.0.1" as Ipv4,
    ports: { nfs: 2049, mount: 20048 },
    secrets: {
      machineId: "5e1f0c7e8d9a4b3c8f2e1d0c9b8a7f6e",
      sshHostKey: encodeSshKey(new Uint8Array(32).fill(1), new Uint8Array(4).fill(2)),
    },
    readSource: (path) => (path === "key.pub" ? Buffer.from(`# laptop\n\n${KEY}\nssh-ed25519 AAAAOther\n`) : undefined),
  });
}

function textAt(planned: BootPlan, path: string, tree = "root"): string | undefined {
  const file = planned.files.find((candidate) => candidate.tree === tree && candidate.path === path);
  return file?.kind === "file" ? Buffer.from(file.content).toString() : undefined;
}

/** The whole plan as text that a person can review. */
function describePlan(planned: BootPlan): string {
  const { files, ...rest } = planToJson(planned);
  const lines = files.flatMap(({ tree, kind, path, mode, uid, gid, target, text, reason, secret }) => {
    const head = `${tree} ${kind} ${path}${mode ? ` ${mode} ${uid}:${gid}` : ""}${target ? ` -> ${target}` : ""} (${reason})`;
    const body = (text?.trimEnd() ?? "").split("\n").map((line) => `    ${line}`.trimEnd());
    return [head + (secret ? " SECRET" : ""), ...(text ? body : [])];
  });
  return `${JSON.stringify(rest, null, 2)}\n\n${lines.join("\n")}\n`;
}

describe("the plan of a node", () => {
  it.each([
    ["bookworm", BOOKWORM, 0],
    ["trixie", TRIXIE, 1],
    ["debian", DEBIAN, 0],
    ["busybox", BUSYBOX, 0],
  ] as const)("on %s is as reviewed", async (name, image, node) => {
    await expect(describePlan(plan(image, BASE + NODES, node))).toMatchFileSnapshot(`snapshots/plan-${name}.txt`);
  });

  it("is the same for the same input, sorted, without a path twice", () => {
    const { files } = plan(BOOKWORM);
    const keys = files.map(({ tree, path }) => `${tree}:${path}`);
    expect(keys).toEqual([...new Set(keys)].sort());
    expect(plan(BOOKWORM)).toEqual(plan(BOOKWORM));
  });

  it("mounts the root by the kernel where it can, and by the initramfs where it cannot", () => {
    expect(plan(BOOKWORM)).toMatchObject({ lane: "kernel", problems: [] });
    expect(plan(BOOKWORM).commandLine).toContain(",port=2049,mountport=20048,");
    expect(plan(BOOKWORM).boards.map(({ model, kernel, initramfs }) => [model, kernel, initramfs])).toEqual([
      ["3b+", "kernel8.img", []],
      ["4", "kernel8.img", []],
      ["5", "kernel_2712.img", []],
    ]);
    expect(plan(DEBIAN)).toMatchObject({
      lane: "initramfs",
      problems: [],
      boards: [{ initramfs: ["initrd.img-6.1.0-50-arm64"] }],
    });
    expect(plan(DEBIAN).commandLine).not.toContain("port=");
  });

  it("begins with a program that copies the root into memory, which needs nothing of the manager later", () => {
    const tools = ["sh", "mount", "umount", "mkdir", "sleep", "df", "cp", "pivot_root", "chroot"];
    const root = { ...DEBIAN.root, ...Object.fromEntries(tools.map((name) => [`/usr/bin/${name}`, elf()])) };
    const planned = plan({ ...DEBIAN, root }, `${BASE}root: ram\n${NODES}`);
    expect(planned).toMatchObject({ rootMode: "ram", problems: [] });
    expect(planned.commandLine).toMatch(/ init=\/usr\/lib\/bramble\/ram-root$/);
    expect(textAt(planned, "/etc/fstab")).not.toContain("nfs");
    expect(textAt(planned, "/usr/lib/bramble/up")).toContain(
      "nolock,soft,timeo=30,retrans=1,port=2049,mountport=20048,addr=10.77.0.1 10.77.0.1:/bramble/node1/root",
    );
  });

  it.each([
    ["", "", false],
    ["cgroups: memory", "", true],
    ["cgroups: memory", "cgroups: none,", false],
    ["", "cgroups: memory,", true],
    ["orchestrator: { kind: swarm }", "", true],
    ["orchestrator: { kind: swarm }", "cgroups: none,", false],
    ["orchestrator: { kind: swarm }\ncgroups: none", "", false],
  ])("counts memory for containers with %j for all and %j for the node: %s", (all, own, expected) => {
    const { commandLine } = plan(DEBIAN, `${BASE}${all}\n${NODES.replace("{ name: node1,", `{ name: node1, ${own}`)}`);
    expect(commandLine.endsWith(" cgroup_enable=memory cgroup_memory=1")).toBe(expected);
    expect(commandLine.includes("cgroup")).toBe(expected);
  });

  it("takes durability and quota from the node, or else from the manifest", () => {
    const text = `${BASE}durability: async\nquota: 1.5GiB\n${NODES}`;
    expect(plan(DEBIAN, text).storage).toEqual({ durability: "async", quotaBytes: 1.5 * 2 ** 30 });
    const own = text.replace(/\{ name: (\w+),/, "{ name: $1, durability: sync, quota: 500 MiB,");
    expect(plan(DEBIAN, own).storage).toEqual({ durability: "sync", quotaBytes: 500 * 2 ** 20 });
    expect(plan(DEBIAN).storage).toEqual({ durability: "sync" });
  });

  it("says what an image lacks for a root in memory", () => {
    expect(plan(BUSYBOX, `${BASE}root: ram\n${NODES}`).problems).toContain(
      "Cannot keep the root of node1 in memory: the image has no mount, umount, mkdir, sleep, df, cp, pivot_root, chroot",
    );
  });

  it("knows how much memory the files of a root take, also those that the manifest places", () => {
    const needed = (text: string, node = 0) =>
      Number(/^needed_kib=(\d+)$/m.exec(textAt(plan(DEBIAN, text, node), "/usr/lib/bramble/ram-root") ?? "")![1]);
    const without = needed(`${BASE}root: ram\n${NODES}`);
    expect(without).toBeGreaterThan(100);
    const one = "files: [{ path: /srv/one, content: 12345 }]";
    expect(needed(`${BASE}root: ram\n${one.replace("12345", "x".repeat(5000))}\n${NODES}`)).toBe(without + 8 + 1);
  });

  it("keeps the initramfs when one of the models needs it", () => {
    const root = { ...BOOKWORM.root, "/boot/config-6.12.47+rpt-rpi-2712": "CONFIG_NFS_FS=m\n" };
    const both = plan({ ...BOOKWORM, root });
    expect(both.lane).toBe("initramfs");
    expect(both.boards.map(({ initramfs }) => initramfs)).toEqual([["initramfs8"], ["initramfs8"], ["initramfs_2712"]]);
    const four = plan({ ...BOOKWORM, root }, `${BASE}nodes: [{ name: a, serial: 1, model: 4 }]`);
    expect(four).toMatchObject({ lane: "kernel", boards: [{ model: "4", initramfs: [] }] });
  });

  it("finds an initramfs that config.txt does not name", () => {
    const boot = { ...DEBIAN.boot, "/config.txt": "arm_64bit=1\nkernel=vmlinuz-6.1.0-50-arm64\n" };
    expect(plan({ ...DEBIAN, boot })).toMatchObject({
      lane: "initramfs",
      problems: [],
      boards: [{ initramfs: ["initrd.img-6.1.0-50-arm64"] }],
    });
  });

  it("says why a kernel without either cannot boot", () => {
    const { "/initrd.img-6.1.0-50-arm64": _, ...rest } = DEBIAN.boot;
    const boot = { ...rest, "/config.txt": "kernel=vmlinuz-6.1.0-50-arm64\n" };
    expect(plan({ ...DEBIAN, boot }).problems).toEqual([
      "Cannot boot Raspberry Pi 4 Model B: the kernel vmlinuz-6.1.0-50-arm64 cannot mount a root over NFS by itself (not built in: ROOT_NFS, NFS_FS, NFS_V3, IP_PNP, IP_PNP_DHCP, BCMGENET), and the image has no initramfs for it",
    ]);
  });

  it("takes the initramfs when nothing is known about the kernel, and says so", () => {
    const { "/boot/config-6.1.0-50-arm64": _, ...root } = DEBIAN.root;
    expect(plan({ ...DEBIAN, root })).toMatchObject({
      lane: "initramfs",
      warnings: [
        "The configuration of the kernel vmlinuz-6.1.0-50-arm64 is not in the image; taking its initramfs to mount the root",
      ],
    });
  });

  it("names the files that a model of the manifest lacks", () => {
    expect(plan(DEBIAN, `${BASE}nodes: [{ name: a, serial: 1, model: 3b+ }]`).problems).toContain(
      "Cannot boot Raspberry Pi 3 Model B+: the image has no bootcode.bin, start.elf, fixup.dat, bcm2837-rpi-3-b-plus.dtb",
    );
  });

  it.each([
    [62, "Cannot boot the image: its programs are for x86-64, and a Raspberry Pi needs arm64 or arm"],
    [999, "Cannot boot the image: its root file system holds no /sbin/init or /bin/sh"],
  ])("refuses an image for another machine (%i)", (machine, problem) => {
    const header = Buffer.alloc(64);
    header.write("\x7fELF", "latin1");
    header.writeUInt16LE(machine, 18);
    const root = Object.fromEntries(
      Object.entries(DEBIAN.root).map(([path, value]) => [path, value instanceof Uint8Array ? header : value]),
    );
    expect(plan({ ...DEBIAN, root }).problems).toEqual([problem]);
  });

  it("drops the initramfs also from files that config.txt includes", () => {
    const boot = { ...BOOKWORM.boot, "/config.txt": "include more.txt\n", "/more.txt": "auto_initramfs=1\nx=1\n" };
    const planned = plan({ ...BOOKWORM, boot });
    expect(textAt(planned, "/more.txt", "boot")).toBe("x=1\n");
    expect(planned.boards.every(({ initramfs }) => initramfs.length === 0)).toBe(true);
  });

  it("writes the command line where the firmware will look for it", () => {
    const folder = Object.fromEntries(Object.entries(BOOKWORM.boot).map(([path, value]) => [`/current${path}`, value]));
    const boot = { ...BOOKWORM.boot, ...folder, "/config.txt": "os_prefix=current/\narm_64bit=1\n" };
    const planned = plan({ ...BOOKWORM, boot });
    expect(planned.boards[0]).toMatchObject({ kernel: "current/kernel8.img", commandLineFile: "current/cmdline.txt" });
    expect(textAt(planned, "/current/cmdline.txt", "boot")).toContain("root=/dev/nfs");
    expect(textAt(planned, "/cmdline.txt", "boot")).toBeUndefined();
  });

  it("adds the manifest's words and lines, the node's after those for all", () => {
    const planned = plan(
      BOOKWORM,
      `${BASE}config: [dtparam=i2c_arm=on]\ncmdline: loglevel=3\nnodes: [{ name: a, serial: 1, config: ["[pi4]", kernel=mine.img], cmdline: [loglevel=7] }]`,
    );
    expect(textAt(planned, "/config.txt", "boot")).toMatch(
      /auto_initramfs=0\ndtparam=i2c_arm=on\n\[pi4\]\nkernel=mine.img\n$/,
    );
    expect(planned.commandLine).toMatch(/ loglevel=3 loglevel=7$/);
    expect(planned.problems).toEqual(["Cannot boot Raspberry Pi 4 Model B: the image has no mine.img"]);
  });

  it("does not let a section of the lines for all nodes swallow those of the node", () => {
    const planned = plan(BOOKWORM, `${BASE}config: ["[pi5]", a=1]\nnodes: [{ name: a, serial: 1, config: [b=2] }]`);
    expect(textAt(planned, "/config.txt", "boot")).toMatch(/\n\[pi5\]\na=1\n\[all\]\nb=2\n$/);
  });

  it("decides for the kernel and the initramfs that the manifest's lines choose", () => {
    const root = { ...BOOKWORM.root, "/boot/config-6.12.47+rpt-rpi-2712": "CONFIG_NFS_FS=m\n" };
    const nodes = (line: string) => `${BASE}nodes: [{ name: a, serial: 1, model: 5, config: ["${line}"] }]`;
    expect(plan({ ...BOOKWORM, root }, nodes("kernel=kernel8.img"))).toMatchObject({
      lane: "kernel",
      boards: [{ kernel: "kernel8.img", initramfs: [] }],
    });
    const own = plan(BOOKWORM, nodes("initramfs initramfs_2712 followkernel"));
    expect(own).toMatchObject({ lane: "initramfs", boards: [{ initramfs: ["initramfs_2712"] }] });
    expect(own.commandLine).not.toContain("mountport");
  });

  it("refuses a command line of any board that holds more than ASCII", () => {
    const boot = { ...BOOKWORM.boot, "/config.txt": "[pi5]\ncmdline=five.txt\n", "/five.txt": "console=tty1 név\n" };
    const problem = "Cannot build the kernel command line: the image's cmdline.txt holds bytes that are not ASCII";
    expect(plan({ ...BOOKWORM, boot }).problems).toEqual([problem]);
  });

  it("refuses a command line that the kernel would cut off", () => {
    const planned = plan(BOOKWORM, `${BASE}cmdline: [x=${"y".repeat(2000)}]\n${NODES}`);
    expect(planned.problems[0]).toMatch(
      /^Cannot build the kernel command line: it has 21\d\d bytes, and the kernel reads 2048$/,
    );
  });

  it("uses the ports that the services have", () => {
    const manifest = manifestOf(BASE + NODES);
    const image = planImage("pi", DEBIAN);
    const planned = planNode(manifest, manifest.nodes[0]!, image, {
      serverAddress: "10.77.0.1" as Ipv4,
      ports: { nfs: 12049, mount: 12048 },
      secrets: { machineId: "0", sshHostKey: { privateKey: "", publicKey: "" } },
      readSource: () => undefined,
    });
    expect(planned.commandLine).toContain(",nolock,port=12049,rsize=");
    expect(textAt(planned, "/etc/fstab")).toContain("port=12049,mountport=12048");
  });

  it("hides the password when it stands among the accounts", () => {
    const text = `${BASE.replace("access: {", 'access: { passwordHash: "$6$salt$hash",')}${NODES}`;
    expect(JSON.stringify(planToJson(plan(BUSYBOX, text)))).not.toContain("$6$salt$hash");
  });

  it("hides secrets when it is printed", () => {
    const printed = JSON.stringify(
      planToJson(plan(BOOKWORM, `${BASE.replace("access: {", 'access: { passwordHash: "$6$salt$hash",')}${NODES}`)),
    );
    expect(printed).not.toContain("PRIVATE KEY");
    expect(printed).not.toContain("$6$salt");
    expect(printed).toContain("node1");
  });

  it("evaluates to the same boards that the firmware will find", () => {
    const planned = plan(BOOKWORM);
    const text = textAt(planned, "/config.txt", "boot")!;
    const names = new Set(Object.keys(BOOKWORM.boot).map((path) => path.slice(1)));
    const files = {
      read: (path: string) => (path === "config.txt" ? Buffer.from(text) : undefined),
      exists: (path: string) => names.has(path),
    };
    for (const { model, kernel, initramfs } of planned.boards) {
      expect(evaluateConfigTxt(files, { model: findPiModel(model)! })).toMatchObject({ kernel, initramfs });
    }
  });
});

describe("EEPROM update files", () => {
  it.each([
    ["pieeprom.sig", true],
    ["91cdf03d/pieeprom.upd", true],
    ["PIEEPROM.BIN", true],
    ["recovery.bin", true],
    ["vl805.sig", true],
    ["recovery.elf", false],
    ["start4.elf", false],
    ["mypieeprom.bin", false],
  ])("%s: %s", (path, blocked) => {
    expect(isEepromUpdateFile(path)).toBe(blocked);
  });
});
