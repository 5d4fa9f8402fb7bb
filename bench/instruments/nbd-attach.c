/* Attaches /dev/nbd0 to a server: nbd-attach ADDRESS PORT. Goes to the background, and ends with the device. */
#include "nbd-handshake.h"
#include <endian.h>
#include <fcntl.h>
#include <linux/nbd.h>
#include <sys/ioctl.h>

#define BLOCK_BYTES 4096

int main(int argc, char **argv) {
  if (argc != 3) errx(2, "usage: nbd-attach ADDRESS PORT");
  struct nbd_export export;
  int connection = nbd_connection(argv[1], argv[2], &export);
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
