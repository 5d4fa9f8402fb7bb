import { describe, expect, it } from "vitest";
import { bindError } from "./bind-error.ts";

describe("a port that cannot be had", () => {
  const any = "0.0.0.0";
  const cases: [string, Parameters<typeof bindError>, string | RegExp][] = [
    [
      "for want of a right names the capability and how to get it",
      ["udp", { address: any, port: 69 }, "EACCES"],
      /^Cannot use UDP port 69: ports below 1024 need the capability CAP_NET_BIND_SERVICE; run as root, or: sudo setcap cap_net_bind_service,cap_net_raw\+ep \/.*node$/,
    ],
    [
      "for want of the right to an interface names that capability",
      ["udp", { address: any, port: 6900, interfaceName: "eth0" }, "EPERM"],
      /^Cannot use UDP port 6900 on eth0: this needs the capability CAP_NET_RAW; /,
    ],
    [
      "because it is taken by somebody we may not see says so",
      ["tcp", { address: "127.0.0.1", port: 1 }, "EADDRINUSE"],
      "Cannot use TCP port 1 of 127.0.0.1: another program has it (root can see which); stop that, or choose another port",
    ],
    [
      "because the interface does not exist lists those that do",
      ["udp", { address: any, port: 67, interfaceName: "eth77" }, "ENODEV"],
      /^Cannot use UDP port 67 on eth77: there is no interface eth77; there are .*lo \(127\.0\.0\.1\)/,
    ],
    [
      "for another reason gives the system's name for it",
      ["udp", { address: any, port: 67 }, "ENOBUFS"],
      "Cannot use UDP port 67: the system says ENOBUFS",
    ],
  ];
  it.each(cases)("%s", (_, args, message) => {
    const error = bindError(...args);
    expect(error.code).toBe(args[2]);
    if (typeof message === "string") expect(error.message).toBe(message);
    else expect(error.message).toMatch(message);
  });
});
