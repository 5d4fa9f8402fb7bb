import { describe, expect, it } from "vitest";
import { parseStorageReport, storageProblem } from "./container-storage.ts";

describe("what a node says of its storage", () => {
  it.each([
    ["ready 7900000 8200000", undefined],
    [
      "larger 1 2",
      /^The storage of node1 stays larger than storage\.size: .*remove \/var\/lib\/bramble\/containers\.ext4/,
    ],
    ["full 2048 65536", /^The storage of node1 is nearly full: 2 of 64 MiB are free; remove images/],
    [
      "no-mkfs",
      /^Cannot keep containers on the storage of node1: its image has no mkfs\.ext4; use an image with e2fsprogs/,
    ],
    [
      "memory-short 153600 197632",
      /the node's memory is too small \(150 MiB are free, and 193 MiB are needed\); choose/,
    ],
    ["no-space", /there was no space for it; make room on the disk of the manager/],
    ["damaged", /e2fsck does not repair it by itself; run e2fsck/],
    ["no-device", /the device of storage\.device is not there; plug the disk in/],
    ["device-taken", /nothing was changed on it; say storage\.format: true to erase the disk/],
    ["disk-damaged", /the file system on its disk is damaged.*; run e2fsck on the disk/],
    ["unfinished", /it was not ready in time; see journalctl -u bramble-storage on the node$/],
  ])("%s", (text, expected) => {
    const problem = storageProblem("node1", parseStorageReport(text)!);
    if (expected === undefined) expect(problem).toBeUndefined();
    else expect(problem).toMatch(expected);
  });

  it.each([
    "",
    "rubbish",
    "ready 1",
    "ready 1 2 3",
    "ready -1 2",
    "constructor",
    "ready 1 2\n",
    "ready 1234567890123 1",
  ])("%j is left unread", (text) => {
    expect(parseStorageReport(text)).toBeUndefined();
  });
});
