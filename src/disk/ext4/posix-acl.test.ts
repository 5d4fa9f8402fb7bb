import { describe, expect, it } from "vitest";
import { aclFromDisk } from "./posix-acl.ts";

const DISK = "01000000 01000600 02000600e8030000 04000500 10000700 20000400";
/** What `getfattr -e hex -n system.posix_acl_access` shows for user::rw-, user:1000:rw-, group::r-x, mask::rwx, other::r--. */
const SHOWN = "02000000 01000600ffffffff 02000600e8030000 04000500ffffffff 10000700ffffffff 20000400ffffffff";

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(" ", ""), "hex");

describe("access control lists", () => {
  it("become what getxattr shows", () => {
    expect(Buffer.from(aclFromDisk(bytes(DISK), "acl")).toString("hex")).toBe(bytes(SHOWN).toString("hex"));
  });

  it.each([
    { what: "another version", hex: "02000000 01000600", message: "version 2 instead of 1" },
    { what: "an unknown tag", hex: "01000000 03000600", message: "unknown tag 3" },
    { what: "an entry that is cut off", hex: "01000000 02000600e803", message: "only 2 are left" },
    { what: "nothing", hex: "", message: "only 0 are left" },
  ])("are refused with $what", ({ hex, message }) => {
    expect(() => aclFromDisk(bytes(hex), "acl")).toThrow(message);
  });
});
