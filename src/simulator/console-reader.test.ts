import { describe, expect, it } from "vitest";
import { type ConsoleEvent, ConsoleReader } from "./console-reader.ts";

function read(...chunks: string[]): ConsoleEvent[] {
  const events: ConsoleEvent[] = [];
  const reader = new ConsoleReader((event) => events.push(event));
  for (const chunk of chunks) reader.push(Buffer.from(chunk));
  return events;
}

describe("the console reader", () => {
  it("joins lines however the bytes were cut, also inside a character", () => {
    const bytes = Buffer.from("Grüße\r\nzwei\n");
    const events: ConsoleEvent[] = [];
    const reader = new ConsoleReader((event) => events.push(event));
    for (const byte of bytes) reader.push(Uint8Array.of(byte));
    expect(events).toEqual([
      { kind: "console-line", text: "Grüße" },
      { kind: "console-line", text: "zwei" },
    ]);
  });

  it("takes out what is meant for a terminal", () => {
    expect(read("\u001b[0;32m[  OK  ]\u001b[0m Started ssh\u0007\r\n")).toEqual([
      { kind: "console-line", text: "[  OK  ] Started ssh" },
    ]);
  });

  it.each<[string, string, ConsoleEvent]>([
    [
      "the kernel",
      "[    0.000000] Linux version 6.1.0-50-arm64 (debian)\n",
      { kind: "kernel-started", release: "6.1.0-50-arm64" },
    ],
    ["the root", "[    3.1] VFS: Mounted root (nfs filesystem) on device 0:17.\n", { kind: "root-mounted" }],
    [
      "a panic",
      "[    4.2] Kernel panic - not syncing: VFS: Unable to mount root fs\n",
      { kind: "kernel-panic", text: "not syncing: VFS: Unable to mount root fs" },
    ],
  ])("sees %s", (_, text, event) => {
    expect(read(text)).toContainEqual(event);
  });

  it("sees a login prompt, which has no line end, once", () => {
    const events = read("Debian GNU/Linux 12 node1 ttyAMA0\r\n\r\nnode1 log", "in: ", "", "root\r\n\r\nnode1 login: ");
    expect(events.filter((event) => event.kind === "login-prompt")).toEqual([
      { kind: "login-prompt", text: "node1 login:" },
    ]);
  });

  it("takes no line of a log for a prompt", () => {
    expect(read("sshd: last login: yesterday\n").map((event) => event.kind)).toEqual(["console-line"]);
  });

  it("does not keep a line without end", () => {
    const events = read(...Array.from({ length: 100 }, () => "x".repeat(1000)), "\n");
    expect(events).toHaveLength(1);
    expect(events[0]).toMatchObject({ text: expect.stringMatching(/^x{4096}$/) });
  });
});
