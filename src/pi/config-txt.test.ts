import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CONFIG_TXT_BYTES_MAX } from "../limits.ts";
import { type Board, type BootFiles, evaluateConfigTxt } from "./config-txt.ts";
import { dropInitramfsLines, patchConfigTxt } from "./config-txt-patch.ts";
import { findPiModel } from "./models.ts";

/** A boot tree: config files with their text, other files by name. */
function bootFiles(config: string | Record<string, string>, names: readonly string[] = []): BootFiles {
  const texts = typeof config === "string" ? { "config.txt": config } : config;
  return {
    read: (path) => (path in texts ? Buffer.from(texts[path]!, "utf8") : undefined),
    exists: (path) => path in texts || names.includes(path),
  };
}

function board(model: string, more: Omit<Board, "model"> = {}): Board {
  return { model: findPiModel(model)!, ...more };
}

const RASPBERRY_PI_OS = [
  "kernel8.img",
  "kernel_2712.img",
  "kernel7l.img",
  "kernel7.img",
  "initramfs8",
  "initramfs_2712",
  "initramfs7l",
  "bcm2710-rpi-3-b.dtb",
  "bcm2711-rpi-4-b.dtb",
  "bcm2712-rpi-5-b.dtb",
  "overlays/README",
];
const RASPBERRY_PI_OS_CONFIG = `
# For more options and information see the documentation
dtparam=audio=on
camera_auto_detect=1
auto_initramfs=1
dtoverlay=vc4-kms-v3d
arm_64bit=1
[cm4]
otg_mode=1
[cm5]
dtoverlay=dwc2,dr_mode=host
[all]
`;

describe("config.txt", () => {
  it.each([
    ["3b", "kernel8.img", "initramfs8", "bcm2710-rpi-3-b.dtb"],
    ["4", "kernel8.img", "initramfs8", "bcm2711-rpi-4-b.dtb"],
    ["5", "kernel_2712.img", "initramfs_2712", "bcm2712-rpi-5-b.dtb"],
  ])("of Raspberry Pi OS sends a %s to its files", (model, kernel, initramfs, deviceTree) => {
    const selection = evaluateConfigTxt(bootFiles(RASPBERRY_PI_OS_CONFIG, RASPBERRY_PI_OS), board(model));
    expect(selection).toEqual({
      kernel,
      is64Bit: true,
      initramfs: [initramfs],
      deviceTree,
      commandLineFile: "cmdline.txt",
      overlays: ["vc4-kms-v3d"],
      overlayPrefix: "overlays/",
      configFiles: ["config.txt"],
    });
  });

  it("of plain Debian names its kernel and initramfs, and prefers mainline device trees", () => {
    const files = bootFiles("arm_64bit=1\nupstream_kernel=1\nkernel=vmlinuz-6.1\ninitramfs initrd.img-6.1\n", [
      "vmlinuz-6.1",
      "initrd.img-6.1",
      "bcm2837-rpi-3-b.dtb",
    ]);
    expect(evaluateConfigTxt(files, board("3b"))).toMatchObject({
      kernel: "vmlinuz-6.1",
      initramfs: ["initrd.img-6.1"],
      deviceTree: "bcm2837-rpi-3-b.dtb",
    });
  });

  it.each([
    ["[pi4]\nkernel=a\n[all]\n", "4", "a"],
    ["[pi4]\nkernel=a\n[all]\n", "5", "kernel_2712.img"],
    ["[pi3]\nkernel=a\n[pi3+]\nkernel=b\n", "3b", "a"],
    ["[pi3]\nkernel=a\n[pi3+]\nkernel=b\n", "3b+", "b"],
    ["[pi4]\nkernel=a\n[pi400]\nkernel=b\n[cm4]\nkernel=c\n", "400", "b"],
    ["[pi4]\nkernel=a\n[pi400]\nkernel=b\n[cm4]\nkernel=c\n", "cm4", "c"],
    ["[cm5]\nkernel=a\n", "cm5", "a"],
    ["[pi5]\nkernel=a\n", "500", "a"],
    ["[none]\nkernel=a\n[all]\nkernel=b\n", "4", "b"],
    ["kernel=b\n[none]\nkernel=a\n", "4", "b"],
    ["kernel=b\n[EDID=VSC-TD2220]\nkernel=a\n", "4", "b"],
    ["kernel=b\n[gpio4=1]\nkernel=a\n", "4", "b"],
    ["kernel=b\n[board-type=0x11]\nkernel=a\n", "4", "a"],
    ["kernel=b\n[tryboot]\nkernel=a\n", "4", "b"],
    ["kernel=a\nkernel=b", "4", "b"],
    ["kernel=a\r\n[pi5]\r\nkernel=b\r\n", "4", "a"],
    ["#kernel=a\nkernel=b", "4", "b"],
    ["kernel=b\n# caf\u00e9\nkernel=a", "4", "b"],
    [`kernel=b\n${"#".repeat(CONFIG_TXT_BYTES_MAX)}\nkernel=a`, "4", "b"],
    ["", "4", "kernel8.img"],
  ])("%j makes a %s load %s", (text, model, kernel) => {
    expect(evaluateConfigTxt(bootFiles(text), board(model)).kernel).toBe(kernel);
  });

  it("joins filters of different kinds and replaces one of the same kind", () => {
    const text = "kernel=none\n[0x91cdf03d]\n[pi4]\nkernel=both\n[pi5]\nkernel=five\n[all]\n";
    const kernel = (model: string, serial?: string) =>
      evaluateConfigTxt(bootFiles(text), board(model, serial ? { serial } : {})).kernel;
    expect(kernel("4", "91cdf03d")).toBe("both");
    expect(kernel("4", "00000001")).toBe("none");
    expect(kernel("5", "91cdf03d")).toBe("five");
    expect(kernel("4")).toBe("none");
  });

  it.each([
    ["4", "", true],
    ["3b", "", false],
    ["3b", "arm_64bit=1", true],
    ["4", "arm_64bit=0", false],
    ["4", "arm_64bit=0\nkernel=kernel8.img", true],
    ["4", "kernel=kernel7l.img", false],
    ["5", "arm_64bit=0", true],
  ])("decides for a %s with %j whether the kernel is 64-bit: %s", (model, text, is64Bit) => {
    expect(evaluateConfigTxt(bootFiles(text), board(model)).is64Bit).toBe(is64Bit);
  });

  it.each([
    ["initramfs a.img followkernel", ["a.img"]],
    ["initramfs a.img 0x00800000", ["a.img"]],
    ["initramfs a.img,b.img followkernel", ["a.img", "b.img"]],
    ["initramfs=a.img", ["a.img"]],
    ["ramfsfile=a.img\nramfsaddr=0", ["a.img"]],
    ["auto_initramfs=1", ["initramfs8"]],
    ["auto_initramfs=1\nauto_initramfs=0", []],
    ["auto_initramfs=1\nkernel=vmlinuz", []],
    ["", []],
  ])("%j loads the initramfs %j", (text, initramfs) => {
    expect(evaluateConfigTxt(bootFiles(text, ["initramfs8"]), board("4")).initramfs).toEqual(initramfs);
  });

  it("follows includes inside sections that hold, and lists what it read", () => {
    const files = bootFiles({
      "config.txt": "include a.txt\n[pi5]\ninclude b.txt\n[all]\ninclude missing.txt\n",
      "a.txt": "kernel=from-a\ninclude c.txt\n",
      "b.txt": "kernel=from-b\n",
      "c.txt": "cmdline=other.txt\n",
    });
    const selection = evaluateConfigTxt(files, board("4"));
    expect(selection).toMatchObject({ kernel: "from-a", commandLineFile: "other.txt" });
    expect(selection.configFiles).toEqual(["config.txt", "a.txt", "c.txt"]);
  });

  it("survives a file that includes itself", () => {
    expect(evaluateConfigTxt(bootFiles("include config.txt\nkernel=a"), board("4")).kernel).toBe("a");
  });

  it("applies os_prefix only when kernel and device tree are there", () => {
    const text = "os_prefix=current/\nkernel=vmlinuz\ninitramfs initrd followkernel\n";
    const full = ["current/vmlinuz", "current/bcm2711-rpi-4-b.dtb", "current/overlays/README"];
    expect(evaluateConfigTxt(bootFiles(text, full), board("4"))).toMatchObject({
      kernel: "current/vmlinuz",
      initramfs: ["current/initrd"],
      deviceTree: "current/bcm2711-rpi-4-b.dtb",
      commandLineFile: "current/cmdline.txt",
      overlayPrefix: "current/overlays/",
    });
    expect(evaluateConfigTxt(bootFiles(text, full.slice(0, 1)), board("4"))).toMatchObject({
      kernel: "vmlinuz",
      initramfs: ["initrd"],
      commandLineFile: "cmdline.txt",
      overlayPrefix: "overlays/",
    });
  });

  it("takes tryboot.txt for a trial boot", () => {
    const files = bootFiles({ "config.txt": "kernel=a", "tryboot.txt": "[tryboot]\nkernel=b" });
    expect(evaluateConfigTxt(files, board("4", { tryboot: true })).kernel).toBe("b");
    expect(evaluateConfigTxt(files, board("4")).kernel).toBe("a");
  });

  it("can ask for no device tree, or for a named one", () => {
    expect(evaluateConfigTxt(bootFiles("device_tree="), board("4")).deviceTree).toBeUndefined();
    expect(evaluateConfigTxt(bootFiles("device_tree=my.dtb"), board("4")).deviceTree).toBe("my.dtb");
  });

  it("is read without failing, whatever its bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const files = { read: (path: string) => (path === "config.txt" ? bytes : undefined), exists: () => false };
        expect(evaluateConfigTxt(files, board("4")).kernel).not.toBe("");
      }),
    );
  });
});

describe("a patched config.txt", () => {
  it("keeps the image's text and adds its lines under [all]", () => {
    const { text } = patchConfigTxt("arm_64bit=1\n# mine\n[pi5]\nkernel=a\n", {
      initramfs: "keep",
      extraLines: ["x=1"],
    });
    expect(text).toBe("arm_64bit=1\n# mine\n[pi5]\nkernel=a\n[all]\n# Added for booting over the network\nx=1\n");
  });

  it("is the image's own text when there is nothing to change", () => {
    expect(patchConfigTxt(RASPBERRY_PI_OS_CONFIG, { initramfs: "keep" }).text).toBe(RASPBERRY_PI_OS_CONFIG);
  });

  it("drops the initramfs in both spellings, also inside sections", () => {
    const { text } = patchConfigTxt("auto_initramfs=1\n[pi4]\ninitramfs a followkernel\ninitramfs=b\n", {
      initramfs: "drop",
    });
    for (const model of ["3b", "4", "5"]) {
      const files = bootFiles(text, RASPBERRY_PI_OS);
      expect(evaluateConfigTxt(files, board(model)).initramfs).toEqual([]);
    }
    expect(dropInitramfsLines("auto_initramfs=1\nx=1\n")).toBe("x=1\n");
  });

  it.each([
    ["automatic", ["initramfs8"]],
    [{ file: "initrd.img" }, ["initrd.img"]],
  ] as const)("brings in the initramfs %j", (initramfs, expected) => {
    const { text } = patchConfigTxt("auto_initramfs=0\n", { initramfs });
    expect(evaluateConfigTxt(bootFiles(text, RASPBERRY_PI_OS), board("4")).initramfs).toEqual(expected);
  });

  it("lets boards keep the initramfs that their section names when it adds the automatic one", () => {
    const { text } = patchConfigTxt("auto_initramfs=0\n[pi5]\ninitramfs own\n", { initramfs: "automatic" });
    const files = bootFiles(text, RASPBERRY_PI_OS);
    expect(evaluateConfigTxt(files, board("4")).initramfs).toEqual(["initramfs8"]);
    expect(evaluateConfigTxt(files, board("5")).initramfs).toEqual(["own"]);
  });

  it("replaces bytes that would end the firmware's reading", () => {
    const { text } = patchConfigTxt("# café\nkernel=a\n", { initramfs: "keep", extraLines: ["#é"] });
    expect(text).toMatch(/^[\x20-\x7e\n]*$/);
    expect(evaluateConfigTxt(bootFiles(text), board("4")).kernel).toBe("a");
  });

  it("gives up comments before anything else when it is too long", () => {
    const long = `${"# a comment\n".repeat(400)}kernel=a\n`;
    const patched = patchConfigTxt(long, { initramfs: "drop", extraLines: ["x=1"] });
    expect(patched.text).toBe("kernel=a\n[all]\n# Added for booting over the network\nauto_initramfs=0\nx=1\n");
    expect(patched.hiddenLines).toEqual([]);
  });

  it("puts its own lines first when the settings alone are too long, and names what gets lost", () => {
    const settings = Array.from({ length: 400 }, (_, index) => `dtparam=p${index}`);
    const patched = patchConfigTxt(settings.join("\n"), { initramfs: "drop", extraLines: ["kernel=mine"] });
    expect(evaluateConfigTxt(bootFiles(patched.text), board("4")).kernel).toBe("mine");
    expect(patched.hiddenLines.at(-1)).toBe("dtparam=p399");
    expect(patched.text.indexOf(patched.hiddenLines[0]!) + patched.hiddenLines[0]!.length).toBeGreaterThan(
      CONFIG_TXT_BYTES_MAX - 20,
    );
  });
});
