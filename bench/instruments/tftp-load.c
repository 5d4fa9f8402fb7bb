// A TFTP load generator, in C so that measuring costs little beside what is measured: CLIENTS at a time fetch FILE again
// and again for SECONDS, in blocks of BLKSIZE, each transfer from a new port. A client repeats its last packet after a
// second of silence. Prints "bytes transfers repeats failures seconds".
//   usage: tftp-load ADDRESS PORT FILE CLIENTS SECONDS BLKSIZE
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ACK = 4, DATA = 3, ERROR = 5, OACK = 6 };
enum { PACKETS_PER_TURN = 64, EVENTS = 256 };

struct client {
  int fd;
  uint16_t block;
  struct sockaddr_in peer;
  double heard_at;
  int last_length;
  unsigned char last[600];
};

static struct sockaddr_in server;
static const char *file;
static int block_bytes, poller;
static long bytes, transfers, repeats, failures;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void say(struct client *c) {
  sendto(c->fd, c->last, c->last_length, 0, (struct sockaddr *)&c->peer, sizeof c->peer);
}

static void begin(struct client *c, int index) {
  if (c->fd >= 0) close(c->fd);
  c->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  if (c->fd < 0) { perror("socket"); exit(1); }
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = index};
  epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
  c->peer = server;
  c->block = 0;
  c->heard_at = now();
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

// True when the transfer is over.
static int take(struct client *c, const unsigned char *packet, int length) {
  uint16_t block = packet[2] << 8 | packet[3];
  if (packet[1] == ERROR) { failures++; return 1; }
  if (packet[1] == OACK) { acknowledge(c); return 0; }
  if (packet[1] != DATA || block != (uint16_t)(c->block + 1)) return 0;
  c->block = block;
  bytes += length - 4;
  acknowledge(c);
  if (length - 4 == block_bytes) return 0;
  transfers++;
  return 1;
}

int main(int count, char **argument) {
  if (count != 7) { fprintf(stderr, "usage: tftp-load ADDRESS PORT FILE CLIENTS SECONDS BLKSIZE\n"); return 2; }
  server.sin_family = AF_INET;
  inet_aton(argument[1], &server.sin_addr);
  server.sin_port = htons(atoi(argument[2]));
  file = argument[3];
  int clients = atoi(argument[4]);
  double seconds = atof(argument[5]);
  block_bytes = atoi(argument[6]);
  poller = epoll_create1(0);
  struct client *all = calloc(clients, sizeof *all);
  double started = now(), swept = started, time = started;
  for (int i = 0; i < clients; i++) { all[i].fd = -1; begin(&all[i], i); }

  static unsigned char packet[70000];
  struct epoll_event events[EVENTS];
  while (time - started < seconds) {
    int ready = epoll_wait(poller, events, EVENTS, 50);
    time = now();
    for (int e = 0; e < ready; e++) {
      struct client *c = &all[events[e].data.u32];
      for (int turn = 0; turn < PACKETS_PER_TURN; turn++) {
        socklen_t peer_length = sizeof c->peer;
        int length = recvfrom(c->fd, packet, sizeof packet, 0, (struct sockaddr *)&c->peer, &peer_length);
        if (length < 4) break;
        c->heard_at = time;
        if (take(c, packet, length)) { begin(c, c - all); break; }
      }
    }
    if (time - swept < 0.2) continue;
    swept = time;
    for (int i = 0; i < clients; i++)
      if (time - all[i].heard_at > 1) { repeats++; all[i].heard_at = time; say(&all[i]); }
  }
  printf("%ld %ld %ld %ld %.3f\n", bytes, transfers, repeats, failures, time - started);
  return 0;
}
