/** A client that sends what TFTP packets a test wants, and hears the answers. */
import type { NetworkStack } from "../../src/simulator/network-stack.ts";
import { decodePacket, encodePacket, type TftpPacket } from "../../src/tftp/packet.ts";
import { SERVER } from "../virtual-network.ts";

export class TftpProgram {
  readonly #stack: NetworkStack;

  constructor(stack: NetworkStack) {
    this.#stack = stack;
  }

  async send(bytes: Uint8Array, sourcePort = 3000, port = 69): Promise<void> {
    await this.#stack.resolve(SERVER);
    this.#stack.send({ sourcePort, to: { address: SERVER, port }, bytes });
  }

  /** Asks for a file. `answer` gives what is said to each packet that comes. */
  async ask(
    path: string,
    answer: (packet: TftpPacket) => TftpPacket | undefined = () => undefined,
    sourcePort = 3000,
    options: ReadonlyMap<string, string> = new Map([["blksize", "1468"]]),
  ): Promise<void> {
    this.#stack.listen(sourcePort, ({ bytes, from }) => {
      const said = answer(decodePacket(bytes));
      if (said) void this.send(encodePacket(said), sourcePort, from.port);
    });
    await this.send(encodePacket({ kind: "readRequest", path, mode: "octet", options }), sourcePort);
  }
}
