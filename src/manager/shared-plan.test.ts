import { describe, expect, it } from "vitest";
import type { GeneratedFile } from "../cluster/generated-file.ts";
import type { BootPlan } from "../cluster/plan.ts";
import { sharing } from "./shared-plan.ts";

function file(path: string, content: string, mode = 0o644): GeneratedFile {
  const placed = { tree: "root", path, reason: "test", mode, uid: 0, gid: 0 } as const;
  return { ...placed, kind: "file", content: Buffer.from(content) };
}

function planOf(node: string, files: GeneratedFile[], kernel = "kernel8.img"): BootPlan {
  const boards = [{ model: "4", kernel, initramfs: [], commandLineFile: "cmdline.txt" }];
  return { node, files, boards } as Partial<BootPlan> as BootPlan;
}

/** Contents as text: a `Buffer` and a `Uint8Array` of the same bytes are the same content. */
const readable = ({ files }: BootPlan) =>
  files.map((each) => (each.kind === "file" ? { ...each, content: Buffer.from(each.content).toString() } : each));

describe("a plan that shares with another one", () => {
  const link = (target: string): GeneratedFile =>
    ({ tree: "root", path: "/l", reason: "test", kind: "symlink", target }) as GeneratedFile;
  const other = planOf("node1", [file("/hostname", "node1"), file("/unit", "same"), file("/mode", "x"), link("a")]);
  const plan = planOf("node2", [
    file("/hostname", "node2"),
    file("/unit", "same"),
    file("/mode", "x", 0o600),
    link("b"),
  ]);
  const shared = sharing(plan, other);

  it("says what it said before", () => {
    expect(readable(shared)).toEqual(readable(plan));
    expect(shared.node).toBe("node2");
  });

  it("has the other's files where they are the same in everything, and its boards", () => {
    expect(shared.files.map((each, index) => each === other.files[index])).toEqual([false, true, false, false]);
    expect(shared.boards).toBe(other.boards);
    expect(sharing(planOf("node3", [], "kernel_2712.img"), other).boards).not.toBe(other.boards);
  });

  it("keeps no large buffer alive with a small content, also with nothing to share with", () => {
    for (const { files } of [shared, sharing(plan, undefined)]) {
      const own = files.flatMap((each) => (each.kind === "file" && !other.files.includes(each) ? [each.content] : []));
      expect(own.length).toBeGreaterThan(1);
      for (const content of own) expect(content.buffer.byteLength).toBe(content.length);
    }
  });
});
