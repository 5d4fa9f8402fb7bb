/**
 * Lets the kernel gather what a peer sends before it wakes us: SO_RCVLOWAT of socket(7), which epoll minds for TCP since
 * Linux 4.18. A peer that ends its side, or a window that is full, wakes us all the same.
 */
import type { Socket } from "node:net";
import koffi from "koffi";

/** asm-generic/socket.h: the same on x64 and arm64. */
const SOL_SOCKET = 1;
const SO_RCVLOWAT = 18;

type SetSocketOption = (fd: number, level: number, name: number, value: Int32Array, lengthBytes: number) => number;

const setSocketOption = loadSetSocketOption();
const option = new Int32Array(1);

function loadSetSocketOption(): SetSocketOption | undefined {
  if (process.platform !== "linux") return undefined;
  return koffi.load(null).func("int setsockopt(int fd, int level, int name, const void *value, uint32_t length)");
}

/** The socket is to be read from when it has so many bytes. Without a descriptor, or elsewhere than on Linux, nothing changes. */
export function setReadMinimum(socket: Socket, countBytes: number): void {
  // Not part of Node's documented interface; it is there since 2011, and nothing depends on it being there.
  const { fd } = (socket as unknown as { _handle?: { fd?: number } | null })._handle ?? {};
  if (setSocketOption === undefined || fd === undefined || fd < 0) return;
  option[0] = countBytes;
  // A failure leaves the minimum that is: with a larger one than wanted the peer's last bytes would not be read.
  setSocketOption(fd, SOL_SOCKET, SO_RCVLOWAT, option, option.byteLength);
}
