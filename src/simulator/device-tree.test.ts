import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type DeviceTreeNode, encodeDeviceTree } from "../../test/device-tree.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import { bootArguments } from "./device-tree.ts";

const chosen = (properties: Record<string, string>): DeviceTreeNode => ({
  name: "",
  properties: { compatible: "raspberrypi,4-model-b\0brcm,bcm2711", model: "Raspberry Pi 4" },
  nodes: [
    { name: "soc", nodes: [{ name: "chosen", properties: { bootargs: "of another node" } }] },
    { name: "chosen", properties },
  ],
});
const ARGUMENTS = "coherent_pool=1M 8250.nr_uarts=1 cgroup_disable=memory";

describe("the words that a device tree has for the kernel", () => {
  it("are those of /chosen", () => {
    const tree = encodeDeviceTree(chosen({ "stdout-path": "serial0:115200n8", bootargs: ARGUMENTS }));
    expect(bootArguments(tree)).toBe(ARGUMENTS);
  });

  it("are none where it has none", () => {
    expect(bootArguments(encodeDeviceTree(chosen({ "stdout-path": "serial0:115200n8" })))).toBe("");
    expect(bootArguments(encodeDeviceTree({ name: "" }))).toBe("");
  });

  it("are not read from what is cut off, or no tree", () => {
    const tree = encodeDeviceTree(chosen({ bootargs: ARGUMENTS }));
    const structureEnd = Buffer.from(tree).indexOf(ARGUMENTS) + ARGUMENTS.length;
    fc.assert(
      fc.property(fc.nat(structureEnd), (sizeBytes) => {
        expect(() => bootArguments(tree.subarray(0, sizeBytes))).toThrow(DecodeError);
      }),
    );
    expect(() => bootArguments(Buffer.from("device tree"))).toThrow(
      /^Cannot read device tree at magic number .*: is not that of a device tree$/,
    );
  });
});
