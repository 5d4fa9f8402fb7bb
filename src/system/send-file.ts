/**
 * Sends bytes and then a part of a file through a socket, without waiting: send(2) and sendfile(2), through koffi. The kernel
 * sends the pages that it has in memory; nobody copies them.
 */
import koffi from "koffi";

const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_MORE = 0x8000;

type Send = (socket: number, bytes: Uint8Array, lengthBytes: number, flags: number) => number;
type SendFile = (socket: number, file: number, offset: BigInt64Array, lengthBytes: number) => number;

const library = koffi.load(null);
const send: Send = library.func("int64_t send(int socket, const void *bytes, size_t length, int flags)");
const sendfile: SendFile = library.func("int64_t sendfile(int socket, int file, void *offset, size_t length)");

const position = new BigInt64Array(1);

/**
 * How many bytes of both together were taken. Fewer where the socket has no room, and for any failure, which is left to whoever
 * goes on with the rest. The socket must not block.
 */
export function sendFileNow(
  socket: number,
  head: Uint8Array,
  file: number,
  offset: number,
  lengthBytes: number,
): number {
  const headBytes = send(socket, head, head.length, MSG_MORE | MSG_DONTWAIT | MSG_NOSIGNAL);
  if (headBytes < head.length) return Math.max(0, headBytes);
  for (let sentBytes = 0; ; ) {
    position[0] = BigInt(offset + sentBytes);
    const count = sendfile(socket, file, position, lengthBytes - sentBytes);
    if (count <= 0) return headBytes + sentBytes;
    sentBytes += count;
    if (sentBytes === lengthBytes) return headBytes + sentBytes;
  }
}
