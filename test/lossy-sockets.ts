/** Any UDP sockets, with losses in both directions that follow from a seed: a bad cable that is bad in the same way again. */
import type { UdpSockets } from "../src/ports.ts";

export interface LossySockets extends UdpSockets {
  readonly lostCount: number;
}

export function lossySockets(sockets: UdpSockets, loss: number, seed: number): LossySockets {
  const random = pseudoRandom(seed);
  let lostCount = 0;
  const isLost = () => {
    const lost = random() < loss;
    if (lost) lostCount++;
    return lost;
  };
  return {
    get lostCount() {
      return lostCount;
    },
    async bind(binding) {
      const socket = await sockets.bind(binding);
      const { bulk } = socket;
      return {
        ...(bulk && {
          bulk: {
            ...bulk,
            onDatagram: (handler) => bulk.onDatagram((bytes, from) => isLost() || handler(bytes, from)),
            send: (head, body, to, localAddress) => isLost() || bulk.send(head, body, to, localAddress),
          },
        }),
        localPort: socket.localPort,
        send: (bytes, to, options) => {
          if (!isLost()) socket.send(bytes, to, options);
        },
        onDatagram: (handler) => socket.onDatagram((datagram) => isLost() || handler(datagram)),
        close: () => socket.close(),
      };
    },
  };
}

/** Numbers from 0 to 1 (xorshift32). */
function pseudoRandom(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
