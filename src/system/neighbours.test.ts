import { expect, it } from "vitest";
import { parseArpTable } from "./neighbours.ts";

it("takes complete entries of the kernel's table and leaves out those still being asked for", () => {
  const table = `IP address       HW type     Flags       HW address            Mask     Device
10.77.0.11       0x1         0x2         dc:a6:32:70:da:b0     *        br0
10.77.0.12       0x1         0x0         00:00:00:00:00:00     *        br0
`;
  expect(parseArpTable(table)).toEqual([{ address: "10.77.0.11", mac: "dc:a6:32:70:da:b0", interfaceName: "br0" }]);
});
