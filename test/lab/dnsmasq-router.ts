/** A router that is not ours: dnsmasq on a machine of its own, at 10.77.0.254 of the lab's network. */
import { execFileSync, spawnSync } from "node:child_process";
import type { Mac } from "../../src/bytes/addresses.ts";
import type { LabNetwork } from "../../src/system/lab-network.ts";
import { startDnsmasq } from "./dnsmasq.ts";

/** `name`: of its network namespace. `reserved`: who gets which address. */
export async function startDnsmasqRouter(
  lab: LabNetwork,
  name: string,
  reserved: readonly { mac: Mac; address: string }[] = [],
): Promise<{ stop(): Promise<void> }> {
  const ip = (words: string) => execFileSync("ip", words.split(" "));
  const remove = () => spawnSync("ip", ["netns", "delete", name]);
  ip(`netns add ${name}`);
  try {
    ip(`link add port0 type veth peer name eth0 netns ${name}`);
    ip(`link set port0 master ${lab.bridge} up`);
    ip(`-n ${name} addr add 10.77.0.254/24 dev eth0`);
    ip(`-n ${name} link set eth0 up`);
    const hosts = reserved.map(({ mac, address }) => `--dhcp-host=${mac},${address}`);
    const words = ["--dhcp-range=10.77.0.50,10.77.0.99,1h", "--no-ping", ...hosts];
    const dnsmasq = await startDnsmasq("eth0", words, ["ip", "netns", "exec", name]);
    return {
      async stop() {
        await dnsmasq.stop();
        remove();
      },
    };
  } catch (error) {
    remove();
    throw error;
  }
}
