import { describe, expect, it } from "vitest";
import {
  ACCESS,
  attributesForNew,
  authorizeChanges,
  demandDelete,
  demandRead,
  demandWrite,
  grantedAccess,
  modeAfterWrite,
} from "./permission.ts";
import type { Credentials } from "./rpc.ts";
import type { AttributeChanges, VolumeAttributes, VolumeFileType } from "./volume.ts";

const who = (uid: number, gid = uid, groups: number[] = []): Credentials => ({ flavor: "AUTH_SYS", uid, gid, groups });
const ROOT = who(0);
const OWNER = who(1000);
const IN_GROUP = who(2000, 2000, [50]);
const OTHER = who(3000);
const BOTH_NOW: AttributeChanges = { atime: "server", mtime: "server" };

/** A file of user 1000 and group 50. */
function file(mode: number, type: VolumeFileType = "file", uid = 1000): VolumeAttributes {
  const times = { atimeNs: 0n, mtimeNs: 0n, ctimeNs: 0n };
  return {
    id: 1,
    type,
    mode,
    uid,
    gid: 50,
    linkCount: 1,
    sizeBytes: 0,
    usedBytes: 0,
    device: { major: 0, minor: 0 },
    ...times,
  };
}

/** The status thrown, or "ok". */
function outcome(action: () => unknown): string {
  try {
    action();
    return "ok";
  } catch (error) {
    return (error as Error).message;
  }
}

function accessText(granted: number): string {
  return Object.entries(ACCESS)
    .filter(([, bit]) => granted & bit)
    .map(([name]) => name.toLowerCase())
    .join(" ");
}

describe("ACCESS", () => {
  it.each([
    ["owner of 640", OWNER, file(0o640), "read modify extend"],
    ["group of 640", IN_GROUP, file(0o640), "read"],
    ["others of 640", OTHER, file(0o640), ""],
    ["owner of 077: the owner's bits count, not the best", OWNER, file(0o077), ""],
    ["group of 707", IN_GROUP, file(0o707), ""],
    ["root of 000", ROOT, file(0o000), "read modify extend"],
    ["root of 001", ROOT, file(0o001), "read modify extend execute"],
    ["others of directory 755", OTHER, file(0o755, "directory"), "read lookup"],
    ["others of directory 766: changing a directory needs search", OTHER, file(0o766, "directory"), "read"],
    ["root of directory 000", ROOT, file(0o000, "directory"), "read lookup modify extend delete"],
    ["others of fifo 777", OTHER, file(0o777, "fifo"), "read modify extend"],
  ])("grants the %s", (_, credentials, attributes, granted) => {
    expect(accessText(grantedAccess(credentials, attributes, 0x3f))).toBe(granted);
  });

  it("grants nothing that was not asked for", () => {
    expect(grantedAccess(ROOT, file(0o777), ACCESS.READ)).toBe(ACCESS.READ);
  });
});

describe("READ and WRITE", () => {
  it.each([
    ["the owner read 000", () => demandRead(OWNER, file(0o000)), "ok"],
    ["the owner write 400", () => demandWrite(OWNER, file(0o400)), "ok"],
    ["others read what they may only execute", () => demandRead(OTHER, file(0o711)), "ok"],
    ["others read 640", () => demandRead(OTHER, file(0o640)), "NFS3ERR_ACCES"],
    ["others write 664", () => demandWrite(OTHER, file(0o664)), "NFS3ERR_ACCES"],
    ["the group write 664", () => demandWrite(IN_GROUP, file(0o664)), "ok"],
  ])("let %s: %s", (_, action, expected) => {
    expect(outcome(action)).toBe(expected);
  });

  it.each([
    ["others", OTHER, 0o6777, 0o777],
    ["the owner", OWNER, 0o4755, 0o755],
    ["others, of a file that is set-gid but not for running,", OTHER, 0o2666, 0o666],
    ["the group, of a file that is set-gid but not for running,", IN_GROUP, 0o2666, undefined],
    ["root", ROOT, 0o6777, undefined],
    ["anybody, of an ordinary file,", OTHER, 0o666, undefined],
  ])("by %s clear set-id bits as they should", (_, credentials, mode, expected) => {
    expect(modeAfterWrite(credentials, file(mode))).toBe(expected);
  });
});

describe("SETATTR", () => {
  const CASES: [string, Credentials, VolumeAttributes, AttributeChanges, string | AttributeChanges][] = [
    ["chmod by the owner", OWNER, file(0o644), { mode: 0o600 }, { mode: 0o600 }],
    ["chmod by others", OTHER, file(0o666), { mode: 0o600 }, "NFS3ERR_PERM"],
    ["chmod g+s by an owner outside the group", OWNER, file(0o644), { mode: 0o2755 }, { mode: 0o755 }],
    ["chmod g+s by root", ROOT, file(0o644), { mode: 0o2755 }, { mode: 0o2755 }],
    ["chown away by the owner", OWNER, file(0o644), { uid: 3000 }, "NFS3ERR_PERM"],
    ["chown to itself by the owner", OWNER, file(0o644), { uid: 1000 }, { uid: 1000 }],
    ["chgrp to an own group", who(1000, 1000, [60]), file(0o644), { gid: 60 }, { gid: 60 }],
    ["chgrp to a foreign group", OWNER, file(0o644), { gid: 60 }, "NFS3ERR_PERM"],
    ["chown by root drops set-id bits", ROOT, file(0o6755), { uid: 0 }, { uid: 0, mode: 0o755 }],
    ["chown by root of a directory keeps them", ROOT, file(0o2755, "directory"), { uid: 0 }, { uid: 0 }],
    ["chown and chmod in one by root", ROOT, file(0o644), { uid: 0, mode: 0o4755 }, { uid: 0, mode: 0o755 }],
    ["truncate by others", OTHER, file(0o644), { sizeBytes: 0 }, "NFS3ERR_ACCES"],
    ["truncate by the owner of 400", OWNER, file(0o400), { sizeBytes: 0 }, { sizeBytes: 0 }],
    ["truncate of set-uid by its owner", OWNER, file(0o4755), { sizeBytes: 0 }, { sizeBytes: 0, mode: 0o755 }],
    ["truncate of a directory", ROOT, file(0o755, "directory"), { sizeBytes: 0 }, "NFS3ERR_ISDIR"],
    ["truncate of a device", ROOT, file(0o755, "block"), { sizeBytes: 0 }, "NFS3ERR_INVAL"],
    ["touch by one who may write", IN_GROUP, file(0o664), BOTH_NOW, BOTH_NOW],
    ["touch by one who may not", OTHER, file(0o664), BOTH_NOW, "NFS3ERR_ACCES"],
    ["one time by one who may write", IN_GROUP, file(0o664), { mtime: "server" }, "NFS3ERR_PERM"],
    ["one time by the owner", OWNER, file(0o444), { atime: "server" }, { atime: "server" }],
    [
      "one time with a truncation",
      IN_GROUP,
      file(0o664),
      { sizeBytes: 0, mtime: "server" },
      { sizeBytes: 0, mtime: "server" },
    ],
    ["a chosen time by one who may write", IN_GROUP, file(0o664), { mtime: 5n }, "NFS3ERR_PERM"],
    ["a chosen time by the owner", OWNER, file(0o444), { mtime: 5n }, { mtime: 5n }],
  ];
  it.each(CASES)("answers %s", (_, credentials, attributes, requested, expected) => {
    if (typeof expected === "string") {
      expect(outcome(() => authorizeChanges(credentials, attributes, requested))).toBe(expected);
    } else {
      expect(authorizeChanges(credentials, attributes, requested)).toEqual(expected);
    }
  });
});

describe("sticky directories", () => {
  const sticky = file(0o1777, "directory", 0);
  it.each([
    ["the file's owner", OWNER, "ok"],
    ["root", ROOT, "ok"],
    ["others", OTHER, "NFS3ERR_PERM"],
  ])("let %s delete: %s", (_, credentials, expected) => {
    expect(outcome(() => demandDelete(credentials, sticky, file(0o666)))).toBe(expected);
  });

  it("let their own owner delete", () => {
    expect(outcome(() => demandDelete(OTHER, file(0o1777, "directory", 3000), file(0o666)))).toBe("ok");
  });
});

describe("new files", () => {
  it.each([
    ["belong to who made them", OWNER, 0o755, "file", { mode: 0o644, uid: 1000, gid: 1000 }],
    ["take the group of a set-gid directory", OWNER, 0o2755, "file", { mode: 0o644, uid: 1000, gid: 50 }],
    [
      "are set-gid themselves when they are directories",
      OWNER,
      0o2755,
      "directory",
      { mode: 0o2644, uid: 1000, gid: 50 },
    ],
  ] as const)("%s", (_, credentials, mode, type, expected) => {
    expect(attributesForNew(credentials, file(mode, "directory"), { mode: 0o644 }, type)).toEqual(expected);
  });

  it.each([
    ["lose set-gid when it is another group's and they can be run", OWNER, 0o2755, 0o755],
    ["keep set-gid when they cannot be run", OWNER, 0o2745, 0o2745],
    ["keep set-gid of a group of the maker's", IN_GROUP, 0o2755, 0o2755],
  ])("%s", (_, credentials, asked, expected) => {
    const made = attributesForNew(credentials, file(0o2777, "directory"), { mode: asked }, "file");
    expect(made.mode).toBe(expected);
  });

  it("belong to whom root says, and to nobody else's choice", () => {
    const asked = { mode: 0o644, uid: 7, gid: 8 };
    expect(attributesForNew(ROOT, file(0o755, "directory"), asked, "file")).toEqual(asked);
    expect(attributesForNew(OWNER, file(0o755, "directory"), asked, "file")).toMatchObject({ uid: 1000, gid: 1000 });
  });
});
