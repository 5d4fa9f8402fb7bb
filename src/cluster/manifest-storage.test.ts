import { describe, expect, it } from "vitest";
import { containerStorageOf } from "./container-storage.ts";
import { formatProblem, parseManifest } from "./manifest.ts";

const manifest = (lines: string, nodes = "{ name: node1, serial: 91cdf03d }") =>
  parseManifest(`cluster: attic\nimage: pi.img\n${lines}\nnodes: [${nodes}]\n`, { fileExists: () => true });

function problemsOf(lines: string, nodes?: string): string[] {
  const result = manifest(lines, nodes);
  return result.ok ? [] : result.problems.map((problem) => formatProblem("bramble.yaml", problem));
}

describe("storage in the manifest", () => {
  it("is the node's own, or else the manifest's, or none", () => {
    const result = manifest(
      "storage: { kind: loop, size: 8GiB }",
      "{ name: a, serial: 1 }, { name: b, serial: 2, storage: { kind: memory, size: 512MiB } }, { name: c, serial: 3, storage: { kind: none } }, { name: d, serial: 4, storage: { kind: disk, device: /dev/disk/by-id/usb-Maker_Stick_01-0:0 } }, { name: e, serial: 5, storage: { kind: disk, device: /dev/disk/by-id/nvme-Maker_01-part2, format: true } }",
    );
    expect(result.ok && result.manifest.nodes.map((node) => containerStorageOf(result.manifest, node))).toEqual([
      { kind: "loop", sizeBytes: 8 * 2 ** 30 },
      { kind: "memory", sizeBytes: 512 * 2 ** 20 },
      undefined,
      { kind: "disk", device: "/dev/disk/by-id/usb-Maker_Stick_01-0:0", format: false },
      { kind: "disk", device: "/dev/disk/by-id/nvme-Maker_01-part2", format: true },
    ]);
  });

  const NODE = "name: a, serial: 91cdf03d";
  const LOOP = "storage: { kind: loop, size: 8GiB }";
  const DISK = "kind: disk, device: /dev/disk/by-id/usb-Maker_Stick_01-0:0";
  const MEMORY = "storage: { kind: memory, size: 1GiB }";
  it.each<[string, string, string | undefined, string | RegExp]>([
    [
      "another kind",
      "storage: { kind: nfs, size: 1GiB }",
      undefined,
      "3:18: storage.kind: Expected one of loop, memory, disk, none",
    ],
    ["no size", "storage: { kind: loop }", undefined, /3:10: storage: Expected a size for kind loop and memory/],
    ["a size for none", "storage: { kind: none, size: 1GiB }", undefined, /storage: Expected a size for kind loop/],
    ["too small", "storage: { kind: loop, size: 63MiB }", undefined, "3:30: storage.size: Expected at least 64MiB"],
    [
      "another key",
      "storage: { kind: loop, size: 8GiB, sise: 1 }",
      undefined,
      /Unknown key "sise". Did you mean "size"/,
    ],
    [
      "a loop in memory",
      `${LOOP}\nroot: ram`,
      undefined,
      /^bramble.yaml:3:10: storage: Storage of kind loop is a file .* root: ram .*Use storage of kind memory/,
    ],
    [
      "a node's root in memory",
      LOOP,
      `{ ${NODE}, root: ram }`,
      /^bramble.yaml:4:\d+: nodes\[0\]\.root: Storage of kind loop/,
    ],
    ["a node's loop in memory", "root: ram", `{ ${NODE}, ${LOOP} }`, /nodes\[0\]\.storage: Storage of kind loop/],
    [
      "a quota that it fills",
      `${LOOP}\nquota: 8GiB`,
      undefined,
      /storage: Storage of kind loop counts in whole against the quota/,
    ],
    [
      "a disk without a device",
      "",
      `{ ${NODE}, storage: { kind: disk } }`,
      /storage: Expected a device for kind disk, as/,
    ],
    ["a size for a disk", "", `{ ${NODE}, storage: { ${DISK}, size: 8GiB } }`, /and none for kind disk and none/],
    [
      "a device for a loop",
      "storage: { kind: loop, size: 8GiB, device: /dev/disk/by-id/a }",
      undefined,
      /and only there/,
    ],
    ["consent for a loop", "storage: { kind: loop, size: 8GiB, format: true }", undefined, /and only there/],
    [
      "a disk by a name that another may have",
      "",
      `{ ${NODE}, storage: { kind: disk, device: /dev/sda } }`,
      /storage\.device: Expected a disk or partition by its id, as \/dev\/disk\/by-id/,
    ],
    [
      "a disk with shell in its name",
      "",
      `{ ${NODE}, storage: { kind: disk, device: "/dev/disk/by-id/a'; reboot; '" } }`,
      /storage\.device: Expected a disk or partition by its id/,
    ],
    [
      "a disk for all nodes",
      `storage: { ${DISK} }`,
      undefined,
      /^bramble.yaml:3:10: storage: Storage of kind disk is for one node/,
    ],
    [
      "a model without the memory",
      MEMORY,
      `{ ${NODE}, model: 3b }`,
      /nodes\[0\]\.model: Storage in memory is too large for a Raspberry Pi 3 Model B: it has 1024 MiB/,
    ],
  ])("is refused: %s", (_, lines, nodes, expected) => {
    const problems = problemsOf(lines, nodes);
    expect(problems).toHaveLength(1);
    if (typeof expected === "string") expect(problems[0]).toContain(expected);
    else expect(problems[0]).toMatch(expected);
  });

  it("is refused once where the manifest's own values do not go together, however many nodes there are", () => {
    expect(problemsOf(`${LOOP}\nroot: ram`, "{ name: a, serial: 1 }, { name: b, serial: 2 }")).toHaveLength(1);
  });

  it.each([
    ["memory with root: ram", `${MEMORY}\nroot: ram`, undefined],
    ["memory on a board that has it", MEMORY, `{ ${NODE}, model: 4 }`],
    ["memory with a small quota", `${MEMORY}\nquota: 500MiB`, undefined],
    ["a loop below the quota", `${LOOP}\nquota: 10GiB`, undefined],
    ["a disk of a node whose root is in memory", "root: ram", `{ ${NODE}, storage: { ${DISK} } }`],
    ["a loop that goes at each boot", `${LOOP}\nroot: ephemeral`, undefined],
  ])("is taken: %s", (_, lines, nodes) => {
    expect(problemsOf(lines, nodes)).toEqual([]);
  });
});
