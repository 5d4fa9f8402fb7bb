/**
 * ARP probes from a packet socket: packet(7). The kernel's own neighbour table is not asked, for it looks only for
 * addresses that something is sent to, and takes a second to say that nobody is there.
 */
import koffi from "koffi";
import { IPV4_ANY, type Ipv4, type Mac, macFromBytes, parseMac } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import type { AddressProbe, Clock, Timer } from "../ports.ts";
import { ARP_PACKET_BYTES, decodeArp, encodeArp } from "./arp-packet.ts";
import * as linux from "./udp-libc.ts";

/** Hosts answer within a millisecond; those that sleep on a wireless network, within some hundred. */
const ASK_AT_MS = [0, 200] as const;
const WAIT_MS = 400;

const ETH_P_ARP = 0x0806;
const ETHERNET_ADDRESS_BYTES = 6;
const LINK_ADDRESS_BYTES = 20;
const NOBODY = parseMac("00:00:00:00:00:00");
const EVERYBODY = parseMac("ff:ff:ff:ff:ff:ff");
const SIOCGIFHWADDR = 0x8927;
/** `struct ifreq`: the name, then a `sockaddr` with the hardware address at byte 2. */
const INTERFACE_REQUEST_BYTES = 40;
const HARDWARE_ADDRESS_OFFSET = 18;
const MSG_DONTWAIT = 0x40;
/** A flood of ARP must not keep the event loop from everything else. */
const PACKETS_IN_A_ROW_MAX = 64;

const recv = koffi.load(null).func("long recv(int fd, void *bytes, size_t length, int flags)");

/** Throws in words for people when this process may not, or the interface cannot. */
export function openArpProbe(interfaceName: string, clock: Pick<Clock, "after">): AddressProbe {
  const { libc } = linux;
  const type = linux.SOCK_DGRAM | linux.SOCK_NONBLOCK | linux.SOCK_CLOEXEC;
  const fd = libc.socket(linux.AF_PACKET, type, 0);
  const fail = (): never => {
    const code = linux.lastErrorCode();
    if (fd >= 0) libc.close(fd);
    const why = code === "EPERM" ? "this needs the capability CAP_NET_RAW" : `the system says ${code}`;
    throw new Error(`Cannot ask ${interfaceName} who has an address: ${why}`);
  };
  if (fd < 0) return fail();
  const index = libc.if_nametoindex(interfaceName);
  const mac = hardwareAddress(fd, interfaceName);
  if (!index || !mac) return fail();
  // From here on only ARP is heard, and only of this interface.
  const address = linkAddress(index);
  if (libc.bind(fd, address, address.length) < 0) return fail();
  return new ArpProbe(fd, index, mac, clock);
}

class ArpProbe implements AddressProbe {
  readonly #fd: number;
  readonly #broadcast: Buffer;
  readonly #mac: Mac;
  readonly #clock: Pick<Clock, "after">;
  readonly #watch: linux.PollHandle;
  readonly #received = Buffer.alloc(2 * ARP_PACKET_BYTES);
  readonly #waiting = new Map<Ipv4, (holder: Mac | undefined) => void>();
  #isDraining = false;
  #isOpen = true;

  constructor(fd: number, interfaceIndex: number, mac: Mac, clock: Pick<Clock, "after">) {
    this.#fd = fd;
    this.#mac = mac;
    this.#clock = clock;
    this.#broadcast = linkAddress(interfaceIndex, EVERYBODY);
    this.#watch = linux.watchReadable(fd, () => {
      if (this.#isDraining) return;
      this.#isDraining = true;
      setImmediate(() => this.#drain());
    });
  }

  holderOf(address: Ipv4): Promise<Mac | undefined> {
    if (!this.#isOpen || this.#waiting.has(address)) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const timers: Timer[] = ASK_AT_MS.map((atMs) => this.#clock.after(atMs, () => this.#ask(address)));
      const end = (holder: Mac | undefined) => {
        for (const timer of timers) timer.cancel();
        this.#waiting.delete(address);
        resolve(holder);
      };
      timers.push(this.#clock.after(WAIT_MS, () => end(undefined)));
      this.#waiting.set(address, end);
    });
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#watch.close();
    linux.libc.close(this.#fd);
    for (const end of [...this.#waiting.values()]) end(undefined);
  }

  /** A question that cannot be sent is one that nobody answers. */
  #ask(address: Ipv4): void {
    const question = encodeArp({
      operation: "request",
      senderMac: this.#mac,
      senderAddress: IPV4_ANY,
      targetMac: NOBODY,
      targetAddress: address,
    });
    linux.libc.sendto(this.#fd, question, question.length, 0, this.#broadcast, this.#broadcast.length);
  }

  #drain(): void {
    this.#isDraining = false;
    for (let count = 0; this.#isOpen && count < PACKETS_IN_A_ROW_MAX; count++) {
      const lengthBytes = Number(recv(this.#fd, this.#received, this.#received.length, MSG_DONTWAIT));
      if (lengthBytes < 0) return;
      this.#take(this.#received.subarray(0, lengthBytes));
    }
  }

  /** Whoever says something with an address as its own has it: in an answer, or in a question of its own. */
  #take(bytes: Uint8Array): void {
    try {
      const { senderAddress, senderMac } = decodeArp(bytes);
      if (senderMac !== this.#mac) this.#waiting.get(senderAddress)?.(senderMac);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
    }
  }
}

function hardwareAddress(fd: number, interfaceName: string): Mac | undefined {
  const request = Buffer.alloc(INTERFACE_REQUEST_BYTES);
  request.write(interfaceName, "latin1");
  if (linux.libc.ioctl(fd, SIOCGIFHWADDR, request) < 0) return undefined;
  return macFromBytes(request.subarray(HARDWARE_ADDRESS_OFFSET, HARDWARE_ADDRESS_OFFSET + ETHERNET_ADDRESS_BYTES));
}

/** struct sockaddr_ll */
function linkAddress(interfaceIndex: number, mac: Mac = NOBODY): Buffer {
  const address = Buffer.alloc(LINK_ADDRESS_BYTES);
  address.writeUInt16LE(linux.AF_PACKET, 0);
  address.writeUInt16BE(ETH_P_ARP, 2);
  address.writeInt32LE(interfaceIndex, 4);
  address.writeUInt8(ETHERNET_ADDRESS_BYTES, 11);
  address.set(Buffer.from(mac.replaceAll(":", ""), "hex"), 12);
  return address;
}
