import { expect, it } from "vitest";
import { parseArpTable } from "./neighbours.ts";

it("takes complete entries of the kernel's table and leaves out those still being asked for", () => {
  const table = `IP address       HW type     Flags       HW address            Mask     Device
10.77.0.11       0x1         0x2         dc:a6:32:70:da:b0     *        br0
10.77.0.12       0x1         0x0         00:00:00:00:00:00     *        br0
`;
  expect(parseArpTable(table)).toEqual([{ address: "10.77.0.11", mac: "dc:a6:32:70:da:b0", interfaceName: "br0" }]);
});

it("leaves out entries of networks that are no Ethernet, whose addresses are of other lengths", () => {
  const table = `IP address       HW type     Flags       HW address            Mask     Device
10.0.0.2         0x20        0x2         80:00:02:08:fe:80:00:00:00     *        ib0
10.0.0.3         0x30a       0x2         c0:00:02:01     *        gre1
10.77.0.11       0x1         0x2         dc:a6:32:70:da:b0     *        br0
`;
  expect(parseArpTable(table).map(({ address }) => address)).toEqual(["10.77.0.11"]);
});
