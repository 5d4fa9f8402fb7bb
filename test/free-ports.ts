import { createSocket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";

/** Numbers of ports that no program of this machine has now, neither for TCP nor for UDP. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  const closing: { close(): unknown }[] = [];
  try {
    while (ports.length < count) {
      const tcp = createServer();
      closing.push(tcp);
      await once(tcp.listen(0), "listening");
      const { port } = tcp.address() as AddressInfo;
      const udp = createSocket("udp4");
      closing.push(udp);
      const isFree = await new Promise((resolve) => {
        udp.once("error", () => resolve(false)).bind(port, () => resolve(true));
      });
      if (isFree) ports.push(port);
    }
  } finally {
    for (const socket of closing) socket.close();
  }
  return ports;
}
