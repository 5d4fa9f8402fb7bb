// A TFTP load generator, in C so that measuring costs little beside what is measured: CLIENTS at a time fetch FILE again
// and again for SECONDS, in blocks of BLKSIZE, each client from an address of its own (127.1.0.1 and so on), each of its
// transfers from another port than the last. A client repeats its last packet after a second of silence.
// All clients share a few sockets, whose packets are received and sent many in a call, and it never sleeps: with a socket and
// calls of its own for each client, the generator would be slower than the servers, and what they can do would not be seen.
// Prints "bytes transfers repeats failures seconds".
//   usage: tftp-load ADDRESS PORT FILE CLIENTS SECONDS BLKSIZE
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ACK = 4, DATA = 3, ERROR = 5, OACK = 6 };
enum { SOCKETS = 4, BATCH = 32, CLIENTS_MAX = 60000, CONTROL_BYTES = CMSG_SPACE(sizeof(struct in_pktinfo)) };
static const uint32_t FIRST_ADDRESS = 127u << 24 | 1u << 16 | 1;

struct client {
  int socket;
  uint16_t block, peer_port;
  int last_length;
  double heard_at;
  unsigned char last[600];
};

// What leaves in one call.
struct batch {
  int count;
  struct mmsghdr headers[BATCH];
  struct iovec parts[BATCH];
  struct sockaddr_in peers[BATCH];
  unsigned char control[BATCH][CONTROL_BYTES];
};

static struct in_addr server;
static uint16_t server_port;
static const char *file;
static int block_bytes, clients, sockets[SOCKETS], clients_of[SOCKETS];
static struct client *all;
static struct batch outgoing[SOCKETS];
static long bytes, transfers, repeats, failures;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void flush(int s) {
  struct batch *b = &outgoing[s];
  for (int sent = 0; sent < b->count;) {
    int count = sendmmsg(sockets[s], b->headers + sent, b->count - sent, 0);
    if (count < 0) { perror("sendmmsg"); exit(1); }
    sent += count;
  }
  b->count = 0;
}

// Its last packet, again or for the first time, from its own address.
static void say(struct client *c) {
  struct batch *b = &outgoing[c->socket];
  int i = b->count++;
  b->parts[i] = (struct iovec){c->last, c->last_length};
  b->peers[i] = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = server, .sin_port = c->peer_port};
  b->headers[i].msg_hdr = (struct msghdr){.msg_name = &b->peers[i], .msg_namelen = sizeof b->peers[i], .msg_iov = &b->parts[i],
                                          .msg_iovlen = 1, .msg_control = b->control[i], .msg_controllen = CONTROL_BYTES};
  struct cmsghdr *header = CMSG_FIRSTHDR(&b->headers[i].msg_hdr);
  *header = (struct cmsghdr){CMSG_LEN(sizeof(struct in_pktinfo)), IPPROTO_IP, IP_PKTINFO};
  struct in_pktinfo source = {.ipi_spec_dst.s_addr = htonl(FIRST_ADDRESS + (uint32_t)(c - all))};
  memcpy(CMSG_DATA(header), &source, sizeof source);
  if (b->count == BATCH) flush(c->socket);
}

static void begin(struct client *c, double time) {
  clients_of[c->socket]--;
  c->socket = (c->socket + 1) % SOCKETS;
  clients_of[c->socket]++;
  c->peer_port = server_port;
  c->block = 0;
  c->heard_at = time;
  c->last_length = 2 + snprintf((char *)c->last + 2, sizeof c->last - 2, "%s%coctet%ctsize%c0%cblksize%c%d%c", file, 0, 0, 0,
                                0, 0, block_bytes, 0);
  c->last[0] = 0;
  c->last[1] = 1;
  say(c);
}

static void acknowledge(struct client *c) {
  c->last[0] = 0;
  c->last[1] = ACK;
  c->last[2] = c->block >> 8;
  c->last[3] = c->block & 0xff;
  c->last_length = 4;
  say(c);
}

static void take(struct client *c, const unsigned char *packet, int length, uint16_t from, double time) {
  uint16_t block = packet[2] << 8 | packet[3];
  // The first answer tells the server's port for this transfer.
  if (c->peer_port == server_port) c->peer_port = from;
  if (from != c->peer_port) return;
  c->heard_at = time;
  if (packet[1] == ERROR) { failures++; begin(c, time); return; }
  if (packet[1] == OACK) { if (c->block == 0) acknowledge(c); return; }
  if (packet[1] != DATA || block != (uint16_t)(c->block + 1)) return;
  c->block = block;
  bytes += length - 4;
  acknowledge(c);
  if (length - 4 == block_bytes) return;
  // Its last acknowledgement lies in memory that the next request is written to.
  flush(c->socket);
  transfers++;
  begin(c, time);
}

static void receive(int s, double time) {
  static unsigned char packets[BATCH][2048], control[BATCH][CONTROL_BYTES];
  static struct sockaddr_in peers[BATCH];
  static struct iovec parts[BATCH];
  static struct mmsghdr headers[BATCH];
  for (int i = 0; i < BATCH; i++) {
    parts[i] = (struct iovec){packets[i], sizeof packets[i]};
    headers[i].msg_hdr = (struct msghdr){.msg_name = &peers[i], .msg_namelen = sizeof peers[i], .msg_iov = &parts[i],
                                         .msg_iovlen = 1, .msg_control = control[i], .msg_controllen = CONTROL_BYTES};
  }
  int count = recvmmsg(sockets[s], headers, BATCH, 0, NULL);
  for (int i = 0; i < count; i++) {
    struct cmsghdr *header = CMSG_FIRSTHDR(&headers[i].msg_hdr);
    struct in_pktinfo target;
    if (!header || headers[i].msg_len < 4) continue;
    memcpy(&target, CMSG_DATA(header), sizeof target);
    uint32_t index = ntohl(target.ipi_addr.s_addr) - FIRST_ADDRESS;
    if (index >= (uint32_t)clients || all[index].socket != s) continue;
    take(&all[index], packets[i], headers[i].msg_len, peers[i].sin_port, time);
  }
}

int main(int count, char **argument) {
  if (count != 7) { fprintf(stderr, "usage: tftp-load ADDRESS PORT FILE CLIENTS SECONDS BLKSIZE\n"); return 2; }
  inet_aton(argument[1], &server);
  server_port = htons(atoi(argument[2]));
  file = argument[3];
  clients = atoi(argument[4]);
  double seconds = atof(argument[5]);
  block_bytes = atoi(argument[6]);
  if (clients < 1 || clients > CLIENTS_MAX || block_bytes < 8 || block_bytes > 2000) { fprintf(stderr, "out of range\n"); return 2; }
  for (int s = 0; s < SOCKETS; s++) {
    int on = 1, buffer = 8 << 20;
    sockets[s] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in any = {.sin_family = AF_INET};
    if (sockets[s] < 0 || bind(sockets[s], (struct sockaddr *)&any, sizeof any) < 0) { perror("socket"); return 1; }
    setsockopt(sockets[s], IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
    if (setsockopt(sockets[s], SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) < 0)
      setsockopt(sockets[s], SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
  }
  all = calloc(clients, sizeof *all);
  double started = now(), swept = started, time = started;
  clients_of[0] = clients;
  for (int i = 0; i < clients; i++) begin(&all[i], started);
  while (time - started < seconds) {
    for (int s = 0; s < SOCKETS; s++) flush(s);
    time = now();
    for (int s = 0; s < SOCKETS; s++) if (clients_of[s] > 0) receive(s, time);
    if (time - swept < 0.2) continue;
    swept = time;
    for (int i = 0; i < clients; i++)
      if (time - all[i].heard_at > 1) { repeats++; all[i].heard_at = time; say(&all[i]); }
  }
  printf("%ld %ld %ld %ld %.3f\n", bytes, transfers, repeats, failures, time - started);
  return 0;
}
