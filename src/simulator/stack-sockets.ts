/** The UDP sockets of a host on a virtual LAN: boot servers run on it as they run on Linux. */

import { IPV4_BROADCAST } from "../bytes/addresses.ts";
import type { ReceivedDatagram, UdpSocket, UdpSockets } from "../ports.ts";
import type { NetworkStack } from "./network-stack.ts";

const FIRST_FREE_PORT = 32768;

export function stackUdpSockets(stack: NetworkStack): UdpSockets {
  let nextFreePort = FIRST_FREE_PORT;
  return {
    async bind(binding): Promise<UdpSocket> {
      const localPort = binding.port === 0 ? nextFreePort++ : binding.port;
      let handler: (datagram: ReceivedDatagram) => void = () => {};
      const close = stack.listen(localPort, ({ bytes, from, to }) => {
        const localAddress = to.address === IPV4_BROADCAST ? {} : { localAddress: to.address };
        handler({ bytes, from, ...localAddress });
      });
      return {
        localPort,
        send(bytes, to, options) {
          const { hardwareAddress } = options ?? {};
          if (to.address === IPV4_BROADCAST && hardwareAddress === undefined) {
            stack.sendBroadcast({ sourcePort: localPort, port: to.port, bytes });
          } else stack.send({ sourcePort: localPort, to, bytes }, hardwareAddress);
        },
        sendFrame({ hardwareAddress, etherType, payload }) {
          stack.sendFrame(hardwareAddress, etherType, payload);
          return true;
        },
        onDatagram(newHandler) {
          handler = newHandler;
        },
        close,
      };
    },
  };
}
