/* The client half of the NBD protocol's fixed newstyle handshake with NBD_OPT_EXPORT_NAME, for the export without a name. */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct nbd_export { uint64_t size; uint16_t flags; } __attribute__((packed)); /* in network order */

static void take(int from, void *into, size_t count) {
  for (char *at = into; count > 0;) {
    ssize_t got = read(from, at, count);
    if (got <= 0) err(1, "the NBD server ended the connection");
    at += got;
    count -= got;
  }
}

static int nbd_connection(const char *address, const char *port, struct nbd_export *export) {
  struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  inet_pton(AF_INET, address, &server.sin_addr);
  int connection = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
  setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  if (connect(connection, (struct sockaddr *)&server, sizeof server) != 0) err(1, "cannot reach the NBD server");
  struct { char magic[16]; uint16_t flags; } __attribute__((packed)) hello;
  take(connection, &hello, sizeof hello);
  if (memcmp(hello.magic, "NBDMAGICIHAVEOPT", 16) != 0) errx(1, "this is no newstyle NBD server");
  /* Fixed newstyle, no zeroes; then the option that ends the handshake. */
  struct { uint32_t flags; char magic[8]; uint32_t option, length; } __attribute__((packed)) wish = {htonl(3), "", htonl(1), 0};
  memcpy(wish.magic, "IHAVEOPT", 8);
  if (write(connection, &wish, sizeof wish) != sizeof wish) err(1, "cannot ask the NBD server");
  take(connection, export, sizeof *export);
  return connection;
}
