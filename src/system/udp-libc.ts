/**
 * The Linux socket calls that node:dgram does not have, through koffi, and the numbers that go with them
 * (asm-generic/socket.h, in.h, if_packet.h: the same on x64 and arm64).
 */
import os from "node:os";
import koffi from "koffi";

export const AF_INET = 2;
export const AF_PACKET = 17;
export const SOCK_DGRAM = 2;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
export const SO_BROADCAST = 6;
export const SO_RCVBUF = 8;
export const SO_RCVBUFFORCE = 33;
export const SO_BINDTODEVICE = 25;
export const IPPROTO_IP = 0;
export const IP_PKTINFO = 8;
export const MSG_TRUNC = 0x20;
const SIOCOUTQ = 0x5411;
export const ETH_P_IP = 0x0800;

const library = koffi.load(null);

/** -1 means failure, with the reason in `lastErrorCode()`. */
export const libc = {
  socket: library.func("int socket(int domain, int type, int protocol)"),
  bind: library.func("int bind(int fd, const void *address, uint32_t length)"),
  setsockopt: library.func("int setsockopt(int fd, int level, int name, const void *value, uint32_t length)"),
  getsockname: library.func("int getsockname(int fd, void *address, void *length)"),
  // The messages by their address, which is a number known beforehand.
  recvmmsg: library.func("int recvmmsg(int fd, uintptr_t messages, uint32_t count, int flags, uintptr_t timeout)"),
  sendmmsg: library.func("int sendmmsg(int fd, uintptr_t messages, uint32_t count, int flags)"),
  sendto: library.func(
    "long sendto(int fd, const void *bytes, size_t length, int flags, const void *address, uint32_t addressLength)",
  ),
  ioctl: library.func("int ioctl(int fd, unsigned long request, void *argument)"),
  close: library.func("int close(int fd)"),
  if_nametoindex: library.func("uint32_t if_nametoindex(const char *name)"),
  if_indextoname: library.func("void *if_indextoname(uint32_t index, void *name)"),
} as const;

/** Of two names the first in the alphabet: EAGAIN, not EWOULDBLOCK. */
const ERROR_NAMES = new Map(
  Object.entries(os.constants.errno)
    .toSorted(([one], [other]) => (one < other ? 1 : -1))
    .map(([name, number]) => [number, name]),
);

/** `EADDRINUSE` and so on. Must be asked right after the call. */
export function lastErrorCode(): string {
  const number = koffi.errno();
  // os.constants leaves a few out that network code meets.
  return ERROR_NAMES.get(number) ?? `E${number}`;
}

const queued = new Int32Array(1);

/** What the socket has sent and no network card has taken yet, with the kernel's own memory for it: SIOCOUTQ of udp(7). */
export function queuedBytes(fd: number): number {
  return libc.ioctl(fd, SIOCOUTQ, queued) < 0 ? 0 : queued[0]!;
}

/** Where the bytes of a buffer lie. Valid as long as the buffer lives: its memory is outside the moving heap. */
export function addressOf(buffer: Uint8Array): bigint {
  return koffi.address(buffer);
}

export interface PollHandle {
  close(): void;
}

/**
 * Calls `onReadable` as soon as the socket has something to read, and for as long as it has, from the event loop of
 * this thread. koffi calls from outside of Node's scopes, where promises would not go on afterwards: the callback may
 * only take note, and must leave the work to an immediate.
 */
export function watchReadable(fd: number, onReadable: () => void): PollHandle {
  return koffi.node.poll(fd, { readable: true }, onReadable);
}
