import { describe, expect, it } from "vitest";
import type { MemoryFiles } from "../../../test/memory-files.ts";
import { BUSYBOX, DEBIAN, planImage } from "../../../test/plan-images.ts";
import type { Ipv4 } from "../../bytes/addresses.ts";
import type { GeneratedFile } from "../generated-file.ts";
import { parseManifest } from "../manifest.ts";
import { generateRoot } from "./index.ts";
import type { GenerationInput } from "./placing.ts";

interface Image {
  boot: MemoryFiles;
  root: MemoryFiles;
}

function withRoot(image: Image, root: MemoryFiles): Image {
  return { ...image, root: { ...image.root, ...root } };
}

const PROGRAMS = { "/usr/bin/tar": "", "/usr/bin/gzip": "", "/usr/bin/find": "" };
const FULL = withRoot(DEBIAN, { ...PROGRAMS, "/etc/apt/apt.conf.d/": "" });

function generated(lines: string, image: Image = FULL) {
  const access = "access: { authorizedKeys: [ssh-ed25519 AAAA] }";
  const text = `cluster: attic\nimage: pi.img\n${access}\nnodes: [{ name: node1, mac: dc:a6:32:70:da:b0 }]\n${lines}`;
  const result = parseManifest(text, { fileExists: () => true });
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  const { manifest } = result;
  const input: GenerationInput = {
    manifest,
    node: manifest.nodes[0]!,
    rootMode: manifest.root,
    ...planImage("pi", image),
    serverAddress: "10.77.0.1" as Ipv4,
    ports: { nfs: 2049, mount: 20048 },
    secrets: { machineId: "0".repeat(32), sshHostKey: { privateKey: "private", publicKey: "ssh-ed25519 AAAA" } },
    readSource: () => undefined,
  };
  const { files, warnings } = generateRoot(input);
  return { files: new Map(files.map((file) => [file.path, file])), warnings };
}

function textOf(files: Map<string, GeneratedFile>, path: string): string {
  const file = files.get(path);
  return file?.kind === "file" ? Buffer.from(file.content).toString() : `(${file?.kind})`;
}

/** Paths, and what links lead to. */
function placed(files: Map<string, GeneratedFile>, reason: string): string[] {
  const ours = [...files.values()].filter((file) => file.reason === reason);
  return ours.map((file) => (file.kind === "symlink" ? `${file.path} → ${file.target}` : file.path));
}

const SYSTEM = "/etc/systemd/system";
const JOURNALD = "/etc/systemd/journald.conf.d/zz-bramble.conf";
const KEPT_IN_MEMORY = [
  JOURNALD,
  `${SYSTEM}/bramble-logs.service`,
  `${SYSTEM}/sysinit.target.wants/bramble-logs.service → ${SYSTEM}/bramble-logs.service`,
  "/usr/lib/bramble/logs",
];
const FLUSHED = ["/etc/apt/apt.conf.d/90bramble-logs", `${SYSTEM}/bramble-logs-flush.service`];
const TIMER = [
  `${SYSTEM}/bramble-logs-flush.timer`,
  `${SYSTEM}/timers.target.wants/bramble-logs-flush.timer → ${SYSTEM}/bramble-logs-flush.timer`,
];

describe("the files of logs", () => {
  it.each<[string, string, string[]]>([
    ["none without a word of the manifest", "", []],
    ["none when it leaves them to the image", "logs: { keep: disk }", []],
    ["a limit for journald", "logs: { keep: disk, size: 100MiB }", [JOURNALD]],
    ["a flush by the clock and after packages", "logs: { keep: memory }", [...KEPT_IN_MEMORY, ...FLUSHED, ...TIMER]],
    ["folders that packages made", "logs: { keep: none }", [...KEPT_IN_MEMORY, ...FLUSHED]],
    ["no flush to a root that goes", "logs: { keep: memory }\nroot: ephemeral", KEPT_IN_MEMORY],
    ["nor to one in memory", "logs: { keep: memory }\nroot: ram", KEPT_IN_MEMORY],
  ])("%s: %s", (_, lines, expected) => {
    const { files } = generated(lines);
    expect(placed(files, "logs").filter((path) => path !== "/var/lib/bramble")).toEqual([...expected].sort());
  });

  it("fit journald into the memory, wherever the image wants its journal", () => {
    const { files } = generated("logs: { keep: memory, size: 64MiB }");
    expect(textOf(files, JOURNALD)).toBe(
      "[Journal]\nSystemMaxUse=33554432\nRuntimeMaxUse=33554432\nSystemMaxFileSize=4194304\nStorage=persistent\n",
    );
    expect(textOf(generated("logs: { keep: disk, size: 16MiB }").files, JOURNALD)).toBe(
      "[Journal]\nSystemMaxUse=16777216\nRuntimeMaxUse=16777216\n",
    );
  });

  it("are absent where the image lacks programs for them", () => {
    const { files } = generated("logs: { keep: none }", DEBIAN);
    expect(placed(files, "logs")).toEqual([]);
  });

  it("leave /var/log to nothing else", () => {
    const others = { "/etc/fstab": "tmpfs /var/log tmpfs size=5M 0 0\ntmpfs /tmp tmpfs defaults 0 0\n" };
    const image = withRoot(FULL, { ...others, "/usr/lib/systemd/system/log2ram.service": "" });
    const { files } = generated("logs: { keep: none }", image);
    expect(files.get(`${SYSTEM}/log2ram.service`)).toMatchObject({ kind: "symlink", target: "/dev/null" });
    expect(textOf(files, "/etc/fstab")).not.toContain("/var/log");
    expect(textOf(files, "/etc/fstab")).toContain("tmpfs /tmp tmpfs");
    expect(textOf(generated("logs: { keep: disk }", image).files, "/etc/fstab")).toContain("/var/log");
  });

  it.each<[string, string, Image, string[]]>([
    ["well", "logs: { keep: memory }", FULL, []],
    [
      "a root that goes",
      "logs: { keep: memory }\nroot: ephemeral",
      FULL,
      ["The logs of node1 are not flushed, as its root does not outlive a boot (root: ephemeral)"],
    ],
    ["which is as wished", "logs: { keep: none }\nroot: ephemeral", FULL, []],
    [
      "an image that lacks programs",
      "logs: { keep: memory }",
      withRoot(DEBIAN, { "/usr/bin/tar": "" }),
      ["The logs of node1 stay on its disk: its image has no gzip, find"],
    ],
    [
      "an image without systemd",
      "logs: { keep: none }\nswap: { kind: none }",
      withRoot(BUSYBOX, { "/usr/sbin/sshd": "" }),
      [
        "The image of node1 has no systemd: logs: does nothing there",
        "The image of node1 has no systemd: swap: does nothing there",
      ],
    ],
  ])("the plan says how it will be: %s", (_, lines, image, expected) => {
    expect(generated(lines, image).warnings).toEqual(expected);
  });
});
