import { describe, expect, it } from "vitest";
import { COMPATIBLE, READ_ONLY_COMPATIBLE } from "./features.ts";
import { hasSuperblock } from "./group-descriptors.ts";

const GROUPS = Array.from({ length: 400 }, (_, group) => group);

describe("copies of the superblock", () => {
  const backupGroups = [1, 96] as const;
  const groupsWith = (compatible: number, readOnlyCompatible: number): number[] =>
    GROUPS.filter((group) =>
      hasSuperblock({ features: { compatible, incompatible: 0, readOnlyCompatible }, backupGroups }, group),
    );

  it("are in every group of old", () => {
    expect(groupsWith(0, 0)).toEqual(GROUPS);
  });

  it("are in the groups 0, 1 and the powers of 3, 5 and 7 under sparse_super", () => {
    const expected = [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343];
    expect(groupsWith(0, READ_ONLY_COMPATIBLE.sparseSuper)).toEqual(expected);
  });

  it("are where the superblock says under sparse_super2", () => {
    expect(groupsWith(COMPATIBLE.sparseSuper2, READ_ONLY_COMPATIBLE.sparseSuper)).toEqual([0, 1, 96]);
  });
});
