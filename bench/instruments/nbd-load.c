/*
 * The requests of fsyncs of ext4 on a network block device, for SECONDS: a block in random order, two of the journal, a flush, and the
 * commit record with FUA. Each waits for the one before. Prints their number and the seconds. nbd-load ADDRESS PORT SECONDS
 */
#include "nbd-handshake.h"
#include <endian.h>
#include <linux/nbd.h>
#include <stdio.h>
#include <time.h>

enum { BLOCK = 4096, FILE_BYTES = 64 << 20, JOURNAL_BYTES = 4 << 20, FUA = 1 };

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static void request(int connection, uint32_t type, uint64_t offset, uint32_t length) {
  static struct { struct nbd_request head; char data[1 << 20]; } __attribute__((packed)) asked;
  asked.head = (struct nbd_request){.magic = htonl(NBD_REQUEST_MAGIC), .type = htonl(type), .from = htobe64(offset), .len = htonl(length)};
  size_t bytes = sizeof asked.head + length;
  for (char *at = (char *)&asked; bytes > 0;) {
    ssize_t sent = write(connection, at, bytes);
    if (sent <= 0) err(1, "cannot ask the NBD server");
    at += sent;
    bytes -= sent;
  }
  struct nbd_reply reply;
  take(connection, &reply, sizeof reply);
  if (reply.magic != htonl(NBD_REPLY_MAGIC) || reply.error != 0) errx(1, "the NBD server refused a request");
}

int main(int argc, char **argv) {
  if (argc != 4) errx(2, "usage: nbd-load ADDRESS PORT SECONDS");
  struct nbd_export export;
  int connection = nbd_connection(argv[1], argv[2], &export);
  for (uint64_t at = 0; at < FILE_BYTES; at += 1 << 20) request(connection, NBD_CMD_WRITE, at, 1 << 20);
  request(connection, NBD_CMD_FLUSH, 0, 0);
  long count = 0;
  double started = now(), seconds = atof(argv[3]);
  for (; now() - started < seconds; count++) {
    uint64_t journal = count * 3 * BLOCK % JOURNAL_BYTES / (3 * BLOCK) * (3 * BLOCK);
    request(connection, NBD_CMD_WRITE, JOURNAL_BYTES * 2 + (uint64_t)rand() % ((FILE_BYTES - JOURNAL_BYTES * 2) / BLOCK) * BLOCK, BLOCK);
    request(connection, NBD_CMD_WRITE, journal, 2 * BLOCK);
    request(connection, NBD_CMD_FLUSH, 0, 0);
    request(connection, NBD_CMD_WRITE | FUA << 16, journal + 2 * BLOCK, BLOCK);
  }
  printf("%ld 0 %.4f\n", count, now() - started);
  return 0;
}
