/** The DHCP of a Linux kernel (`ip=dhcp`): RFC 2131 section 3.1, without what a test does not need. */
import { IPV4_ANY, IPV4_BROADCAST, type Ipv4, type Mac } from "../../src/bytes/addresses.ts";
import { makeOption, OPTIONS, readOption } from "../../src/dhcp/options.ts";
import { BROADCAST_FLAG, type DhcpPacket, decodePacket, encodePacket, makePacket } from "../../src/dhcp/packet.ts";
import type { EthernetPort } from "../../src/ports.ts";
import { decodeFrame, encodeUdp, MAC_BROADCAST } from "../../src/simulator/frames.ts";

export class LinuxClient {
  readonly #mac: Mac;
  readonly #port: EthernetPort;
  #onAnswer: (answer: DhcpPacket) => void = () => {};

  constructor(mac: Mac, port: EthernetPort) {
    this.#mac = mac;
    this.#port = port;
    port.onFrame((frame) => {
      const decoded = decodeFrame(frame);
      if (!("bytes" in decoded) || decoded.to.port !== 68) return;
      const packet = decodePacket(decoded.bytes);
      if (packet.op === "reply" && packet.mac === mac) this.#onAnswer(packet);
    });
  }

  /** Asks once; resolves with the address when it is acknowledged. */
  address(): Promise<Ipv4> {
    return new Promise((resolve) => {
      this.#onAnswer = (answer) => {
        const message = readOption(answer.options, OPTIONS.messageType);
        const server = readOption(answer.options, OPTIONS.serverIdentifier)!;
        if (message === "ACK") resolve(answer.yourAddress);
        else if (message === "OFFER" && answer.yourAddress !== IPV4_ANY) this.request(answer.yourAddress, server);
      };
      this.discover();
    });
  }

  discover(): void {
    this.send([makeOption(OPTIONS.messageType, "DISCOVER")]);
  }

  request(address: Ipv4, server: Ipv4): void {
    this.send([
      makeOption(OPTIONS.messageType, "REQUEST"),
      makeOption(OPTIONS.requestedAddress, address),
      makeOption(OPTIONS.serverIdentifier, server),
    ]);
  }

  decline(address: Ipv4): void {
    this.send([makeOption(OPTIONS.messageType, "DECLINE"), makeOption(OPTIONS.requestedAddress, address)]);
  }

  send(options: DhcpPacket["options"]): void {
    const packet = makePacket({
      op: "request",
      transactionId: 0x11223344,
      mac: this.#mac,
      flags: BROADCAST_FLAG,
      options: [...options, makeOption(OPTIONS.vendorClass, "Linux ipconfig")],
    });
    this.datagram(67, encodePacket(packet));
  }

  /** Any bytes, broadcast. */
  datagram(port: number, bytes: Uint8Array, sourcePort = 68): void {
    const from = { address: IPV4_ANY, port: sourcePort };
    this.#port.send(
      encodeUdp({ sourceMac: this.#mac, from, to: { address: IPV4_BROADCAST, port }, bytes }, MAC_BROADCAST),
    );
  }
}
