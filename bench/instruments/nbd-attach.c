/*
 * Attaches /dev/nbd0 to a server: nbd-attach ADDRESS PORT. Goes to the background, and ends with the device.
 *
 * The client half of the NBD protocol's fixed newstyle handshake with NBD_OPT_EXPORT_NAME; the kernel does the rest.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <err.h>
#include <fcntl.h>
#include <linux/nbd.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define BLOCK_BYTES 4096

static void take(int from, void *into, size_t count) {
  for (char *at = into; count > 0;) {
    ssize_t got = read(from, at, count);
    if (got <= 0) err(1, "the server ended the handshake");
    at += got;
    count -= got;
  }
}

int main(int argc, char **argv) {
  if (argc != 3) errx(2, "usage: nbd-attach ADDRESS PORT");
  struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
  inet_pton(AF_INET, argv[1], &server.sin_addr);
  int connection = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
  setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  if (connect(connection, (struct sockaddr *)&server, sizeof server) != 0) err(1, "cannot reach the server");

  struct { char magic[16]; uint16_t flags; } __attribute__((packed)) hello;
  take(connection, &hello, sizeof hello);
  if (memcmp(hello.magic, "NBDMAGICIHAVEOPT", 16) != 0) errx(1, "this is no newstyle NBD server");
  /* Fixed newstyle, no zeroes; then the option that ends the handshake, for the export without a name. */
  struct { uint32_t flags; char magic[8]; uint32_t option, length; } __attribute__((packed)) wish = {htonl(3), "", htonl(1), 0};
  memcpy(wish.magic, "IHAVEOPT", 8);
  if (write(connection, &wish, sizeof wish) != sizeof wish) err(1, "cannot ask the server");
  struct { uint64_t size; uint16_t flags; } __attribute__((packed)) export;
  take(connection, &export, sizeof export);

  int device = open("/dev/nbd0", O_RDWR);
  if (device < 0) err(1, "cannot open /dev/nbd0");
  unsigned long blocks = be64toh(export.size) / BLOCK_BYTES;
  if (ioctl(device, NBD_SET_BLKSIZE, BLOCK_BYTES) != 0 || ioctl(device, NBD_SET_SIZE_BLOCKS, blocks) != 0 ||
      ioctl(device, NBD_SET_FLAGS, (unsigned long)ntohs(export.flags)) != 0 || ioctl(device, NBD_SET_SOCK, connection) != 0)
    err(1, "cannot set up /dev/nbd0");
  if (daemon(0, 1) != 0) err(1, "cannot go to the background");
  if (ioctl(device, NBD_DO_IT) != 0) err(1, "the device ended");
  return 0;
}
