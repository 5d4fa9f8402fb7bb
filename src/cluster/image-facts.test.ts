import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { type MemoryFiles, memoryFiles } from "../../test/memory-files.ts";
import { BOOKWORM, BUSYBOX, DEBIAN, elf, kernel, planImage, TRIXIE } from "../../test/plan-images.ts";
import { imageProblems, readImageFacts } from "./image-facts.ts";

interface Image {
  boot: MemoryFiles;
  root: MemoryFiles;
}

const facts = ({ boot, root }: Image) => readImageFacts(memoryFiles(boot), memoryFiles(root));
const withBoot = (image: Image, boot: MemoryFiles): Image => ({ ...image, boot: { ...image.boot, ...boot } });
const withRoot = (image: Image, root: MemoryFiles): Image => ({ ...image, root: { ...image.root, ...root } });

describe("the facts of an image", () => {
  it.each([
    [
      "bookworm",
      BOOKWORM,
      {
        flavour: "raspios-bookworm",
        init: "systemd",
        models: ["3b+", "4", "5"],
        networkManagers: ["networkmanager"],
        sshServer: "openssh",
        hasNfsMountHelper: false,
      },
    ],
    [
      "trixie",
      TRIXIE,
      { flavour: "raspios-trixie", models: ["3b+", "4", "5"], networkManagers: ["networkmanager", "systemd-networkd"] },
    ],
    [
      "debian",
      DEBIAN,
      {
        flavour: "debian",
        models: ["4"],
        networkManagers: ["ifupdown"],
        hasNfsMountHelper: true,
        bootMountPoint: "/boot/firmware",
      },
    ],
    [
      "busybox",
      BUSYBOX,
      { flavour: "busybox", init: "busybox", sshServer: "none", bootMountPoint: "/boot", networkManagers: [] },
    ],
  ])("of %s", (_, image, expected) => {
    expect(facts(image)).toMatchObject({ architecture: "arm64", ...expected });
    expect(imageProblems(facts(image))).toEqual([]);
  });

  it("are plain data", () => {
    const read = facts(BOOKWORM);
    expect(JSON.parse(JSON.stringify(read))).toEqual(read);
  });

  it("take the boot files' place from a line of fstab that counts", () => {
    const fstab = "#/dev/mmcblk0p1 /boot vfat defaults 0 2\nLABEL=firm /boot/firmware vfat defaults 0 2\n";
    expect(facts(withRoot(DEBIAN, { "/etc/fstab": fstab })).bootMountPoint).toBe("/boot/firmware");
  });

  it("tell the system by its own words", () => {
    expect(facts(DEBIAN).os).toEqual({
      id: "debian",
      name: "Debian GNU/Linux 12 (bookworm)",
      version: "12",
      codename: "bookworm",
    });
    const odd = withRoot(DEBIAN, { "/usr/lib/os-release": "# comment\nNAME='My OS'\nID=ubuntu\nbroken\n" });
    expect(facts(odd)).toMatchObject({ os: { id: "ubuntu", name: "My OS" }, flavour: "ubuntu" });
    const { "/etc/os-release": _, ...none } = BUSYBOX.root;
    expect(facts({ ...BUSYBOX, root: none }).os).toEqual({ id: "unknown", name: "unknown" });
  });

  it.each([
    [40, "arm"],
    [62, "x86-64"],
    [3, "x86"],
    [243, "riscv64"],
    [8, "unknown"],
  ])("know programs for ELF machine %i: %s", (machine, architecture) => {
    const root = Object.fromEntries(
      Object.entries(DEBIAN.root).map(([path, value]) => [path, value instanceof Uint8Array ? elf(machine) : value]),
    );
    expect(facts({ ...DEBIAN, root }).architecture).toBe(architecture);
  });

  it("say why nothing can be booted", () => {
    expect(imageProblems(facts({ boot: {}, root: DEBIAN.root }))).toEqual([
      "Cannot boot the image: its boot file system holds no kernel",
    ]);
    const { "/start4.elf": _, ...boot } = DEBIAN.boot;
    expect(imageProblems(facts({ ...DEBIAN, boot }))).toEqual([
      "Cannot boot the image: no Raspberry Pi model finds its firmware, device tree and kernel in it",
    ]);
  });
});

describe("the kernels of an image", () => {
  it("tell what each lacks to mount a root over NFS, and from where that is known", () => {
    expect(facts(BOOKWORM).kernels).toEqual([
      {
        file: "kernel8.img",
        release: "6.12.47+rpt-rpi-v8",
        bits: 64,
        missingForNfsRoot: [],
        networkBuiltInFor: ["3b", "3b+", "cm3", "4", "400", "cm4", "5", "500", "cm5", "cm5l"],
        configuration: "/boot/config-6.12.47+rpt-rpi-v8",
      },
      expect.objectContaining({ file: "kernel_2712.img", release: "6.12.47+rpt-rpi-2712", missingForNfsRoot: [] }),
    ]);
    expect(facts(DEBIAN).kernels).toEqual([
      {
        file: "vmlinuz-6.1.0-50-arm64",
        release: "6.1.0-50-arm64",
        bits: 64,
        missingForNfsRoot: ["ROOT_NFS", "NFS_FS", "NFS_V3", "IP_PNP", "IP_PNP_DHCP"],
        networkBuiltInFor: [],
        configuration: "/boot/config-6.1.0-50-arm64",
      },
    ]);
  });

  it("stay unknown where no configuration is found", () => {
    const { "/boot/config-6.1.0-50-arm64": _, ...root } = DEBIAN.root;
    expect(facts({ ...DEBIAN, root }).kernels).toEqual([
      { file: "vmlinuz-6.1.0-50-arm64", release: "6.1.0-50-arm64", bits: 64 },
    ]);
  });

  it("may carry their configuration with them", () => {
    const config = gzipSync("CONFIG_ROOT_NFS=y\nCONFIG_BCMGENET=y\n").toString("latin1");
    const image = Buffer.concat([kernel("6.1.0-own"), Buffer.from(`IKCFG_ST${config}IKCFG_ED`, "latin1")]);
    const [found] = facts(withBoot(DEBIAN, { "/vmlinuz-6.1.0-50-arm64": gzipSync(image) })).kernels;
    expect(found).toMatchObject({
      release: "6.1.0-own",
      configuration: "the kernel image",
      networkBuiltInFor: ["4", "400", "cm4"],
    });
    expect(found?.missingForNfsRoot).not.toContain("ROOT_NFS");
  });

  it("are listed even when they are damaged or lie in a folder", () => {
    const damaged = gzipSync(kernel("6.1.0-x")).subarray(0, 40);
    const { kernels } = facts(
      withBoot(DEBIAN, { "/kernel8.img": damaged, "/current/vmlinuz": kernel("6.8.0-1-raspi") }),
    );
    expect(kernels.map(({ file, release }) => [file, release])).toEqual([
      ["current/vmlinuz", "6.8.0-1-raspi"],
      ["kernel8.img", undefined],
      ["vmlinuz-6.1.0-50-arm64", "6.1.0-50-arm64"],
    ]);
  });

  it("decide with config.txt which models boot", () => {
    const only4 = withBoot(BOOKWORM, { "/config.txt": "[pi5]\nkernel=missing.img\n[pi3]\nkernel=missing.img\n" });
    expect(planImage("pi", only4).facts.models).toEqual(["4"]);
  });
});
