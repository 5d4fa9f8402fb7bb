/**
 * TAP devices: network cards whose wire is a file descriptor. Linux only, through libc.
 *
 * Documented in the kernel's `Documentation/networking/tuntap.rst`. A read gives one whole frame, a write sends one.
 * All open cards share one blocking poll(2) outside the event loop, whatever their number.
 */
import koffi from "koffi";
import type { EthernetPort } from "../ports.ts";

const TUN_DEVICE = "/dev/net/tun";
const O_RDWR_NONBLOCK_CLOEXEC = 0o2 | 0o4000 | 0o2000000;
const TUNSETIFF = 0x400454ca;
const TUNSETOFFLOAD = 0x400454d0;
const IFF_TAP_NO_PI = 0x0002 | 0x1000;
const INTERFACE_NAME_BYTES = 16;
const INTERFACE_REQUEST_BYTES = 40;
const EFD_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000;
const POLLIN = 1;
const POLL_ENTRY_BYTES = 8;
/** Node waits for running calls when the process exits: this is the longest it may wait. */
const POLL_TIMEOUT_MS = 200;
/** The largest frame on a link with an MTU of 9,000. */
const FRAME_BYTES_MAX = 9018;

const libc = koffi.load("libc.so.6");
const open = libc.func("int open(const char *path, int flags)");
const close = libc.func("int close(int fd)");
const ioctl = libc.func("int ioctl(int fd, unsigned long request, void *argument)");
const ioctlNumber = libc.func("ioctl", "int", ["int", "ulong", "ulong"]);
const read = libc.func("long read(int fd, void *buffer, size_t count)");
const write = libc.func("long write(int fd, const void *buffer, size_t count)");
const eventfd = libc.func("int eventfd(unsigned int initial, int flags)");
const poll = libc.func("int poll(void *entries, unsigned long count, int timeout)");

function systemError(): string {
  const number = koffi.errno();
  const name = Object.entries(koffi.os.errno).find(([, value]) => value === number)?.[0];
  return name ?? `error ${number}`;
}

/**
 * Opens the network card end of TAP interface `name`, making the interface if it is not there. Needs CAP_NET_ADMIN
 * in the network namespace. While it is open the interface has a link; nobody else can open it.
 */
export function openTap(name: string): EthernetPort {
  const fail = (why: string) => new Error(`Cannot open TAP interface ${name}: ${why}`);
  if (name.length === 0 || Buffer.byteLength(name) >= INTERFACE_NAME_BYTES) throw fail("its name needs 1 to 15 bytes");
  const fd = open(TUN_DEVICE, O_RDWR_NONBLOCK_CLOEXEC) as number;
  if (fd < 0) {
    throw fail(
      `${systemError()} on ${TUN_DEVICE}; load the module with "modprobe tun", and give this user or container access to the device`,
    );
  }
  const request = Buffer.alloc(INTERFACE_REQUEST_BYTES);
  request.write(name, "latin1");
  request.writeUInt16LE(IFF_TAP_NO_PI, INTERFACE_NAME_BYTES);
  // An emulator that had the interface before may have left checksums to the card; we want them in the frames.
  if (ioctl(fd, TUNSETIFF, request) < 0 || ioctlNumber(fd, TUNSETOFFLOAD, 0) < 0) {
    const why = systemError();
    close(fd);
    throw fail(why === "EBUSY" ? "EBUSY, another program has it open" : why);
  }
  return new TapPort(fd);
}

class TapPort implements EthernetPort {
  readonly fd: number;
  #handler: (frame: Uint8Array) => void = () => {};
  #open = true;

  constructor(fd: number) {
    this.fd = fd;
    poller.add(this);
  }

  /** A full queue or a link that is down loses the frame, as on any Ethernet. */
  send(frame: Uint8Array): void {
    if (this.#open) write(this.fd, frame, frame.length);
  }

  onFrame(handler: (frame: Uint8Array) => void): void {
    this.#handler = handler;
  }

  /** Reads what is there. */
  drain(scratch: Uint8Array): void {
    for (;;) {
      if (!this.#open) return;
      const lengthBytes = Number(read(this.fd, scratch, scratch.length));
      if (lengthBytes <= 0) return;
      this.#handler(scratch.slice(0, lengthBytes));
    }
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await poller.remove(this);
  }
}

/** Waits for any of the open cards. The wait itself runs on one of the library's threads. */
class TapPoller {
  readonly #ports = new Set<TapPort>();
  readonly #closing: { fd: number; closed: () => void }[] = [];
  readonly #scratch = new Uint8Array(FRAME_BYTES_MAX);
  #wakeFd = -1;
  #waiting = false;

  add(port: TapPort): void {
    this.#ports.add(port);
    if (this.#waiting) this.#wake();
    else this.#wait();
  }

  /** A running poll holds on to the device: it is free only when that is over and the descriptor is closed. */
  remove(port: TapPort): Promise<void> {
    this.#ports.delete(port);
    return new Promise((resolve) => {
      this.#closing.push({ fd: port.fd, closed: resolve });
      if (this.#waiting) this.#wake();
    });
  }

  #wake(): void {
    const one = Buffer.alloc(8);
    one.writeBigUInt64LE(1n);
    write(this.#wakeFd, one, one.length);
  }

  #wait(): void {
    if (this.#wakeFd < 0) this.#wakeFd = eventfd(0, EFD_NONBLOCK_CLOEXEC) as number;
    const polled = [...this.#ports];
    const entries = Buffer.alloc((polled.length + 1) * POLL_ENTRY_BYTES);
    [this.#wakeFd, ...polled.map((port) => port.fd)].forEach((fd, index) => {
      entries.writeInt32LE(fd, index * POLL_ENTRY_BYTES);
      entries.writeInt16LE(POLLIN, index * POLL_ENTRY_BYTES + 4);
    });
    this.#waiting = true;
    poll.async(entries, polled.length + 1, POLL_TIMEOUT_MS, () => {
      this.#waiting = false;
      this.#afterPoll(polled);
    });
  }

  #afterPoll(polled: TapPort[]): void {
    read(this.#wakeFd, this.#scratch, 8);
    for (const port of polled) port.drain(this.#scratch);
    for (const { fd, closed } of this.#closing.splice(0)) {
      close(fd);
      closed();
    }
    if (this.#ports.size > 0 && !this.#waiting) this.#wait();
  }
}

const poller = new TapPoller();
