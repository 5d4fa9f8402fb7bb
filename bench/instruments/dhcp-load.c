// A DHCP load generator: as a relay at OWN, asks SERVER with DISCOVERs of ever new clients for SECONDS: WINDOW of them
// unanswered at a time, or with RATE as many each second, answered or not. Prints "offers lost seconds p50 p99", the two
// last in microseconds from sending to OFFER. Clients look like a Raspberry Pi 4 bootloader, without option 97.
//   usage: dhcp-load SERVER OWN WINDOW SECONDS [RATE]
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PORT = 67, CLIENTS = 200, HEADER = 240, TIMES = 1 << 20 };

static const unsigned char options[] = {
    53, 1, 1, 55, 14, 1, 3, 43, 60, 66, 67, 128, 129, 130, 131, 132, 133, 134, 135, 93, 2, 0, 0, 94, 3, 1, 2, 1, 60, 32,
    'P', 'X', 'E', 'C', 'l', 'i', 'e', 'n', 't', ':', 'A', 'r', 'c', 'h', ':', '0', '0', '0', '0', '0', ':', 'U', 'N', 'D',
    'I', ':', '0', '0', '2', '0', '0', '1', 255};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static double sentAt[TIMES];
static float waited[TIMES];

static int ascending(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

int main(int count, char **argument) {
  if (count != 5 && count != 6) { fprintf(stderr, "usage: dhcp-load SERVER OWN WINDOW SECONDS [RATE]\n"); return 2; }
  double rate = count == 6 ? atof(argument[5]) : 0;
  struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(PORT)}, own = server;
  inet_aton(argument[1], &server.sin_addr);
  inet_aton(argument[2], &own.sin_addr);
  int window = atoi(argument[3]);
  double seconds = atof(argument[4]);
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (bind(fd, (struct sockaddr *)&own, sizeof own) < 0) { perror("bind"); return 1; }
  struct timeval patience = {.tv_sec = 0, .tv_usec = 200000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);

  unsigned char packet[2048] = {1, 1, 6, 1};
  memcpy(packet + 24, &own.sin_addr, 4);
  memcpy(packet + 236, "\x63\x82\x53\x63", 4);
  memcpy(packet + HEADER, options, sizeof options);
  unsigned char answer[2048];
  long offers = 0, lost = 0;
  uint32_t sent = 0;
  int unanswered = 0;
  double started = now();
  while (now() - started < seconds) {
    uint32_t due = rate > 0 ? (uint32_t)((now() - started) * rate) : sent + (window > unanswered ? window - unanswered : 0);
    for (; sent < due; unanswered++, sent++) {
      uint32_t id = htonl(sent + 1), client = htonl(sent % CLIENTS);
      memcpy(packet + 4, &id, 4);
      memcpy(packet + 28, "\xdc\xa6", 2);
      memcpy(packet + 30, &client, 4);
      sentAt[(sent + 1) % TIMES] = now();
      sendto(fd, packet, HEADER + sizeof options, 0, (struct sockaddr *)&server, sizeof server);
    }
    if (rate > 0) {
      double pause = started + (sent + 1) / rate - now();
      struct pollfd answered = {.fd = fd, .events = POLLIN};
      struct timespec wait = {.tv_sec = 0, .tv_nsec = pause > 0 ? (long)(pause * 1e9) : 0};
      if (ppoll(&answered, 1, &wait, NULL) <= 0) continue;
    }
    int length = recv(fd, answer, sizeof answer, 0);
    if (length >= HEADER && answer[0] == 2) {
      uint32_t id;
      memcpy(&id, answer + 4, 4);
      waited[offers % TIMES] = (now() - sentAt[ntohl(id) % TIMES]) * 1e6;
      offers++;
      unanswered--;
    } else if (length < 0) { lost += unanswered; unanswered = 0; }
  }
  double ended = now();
  if (rate > 0) lost = sent - offers;
  long kept = offers < TIMES ? offers : TIMES;
  qsort(waited, kept, sizeof *waited, ascending);
  printf("%ld %ld %.3f %.0f %.0f\n", offers, lost, ended - started, kept ? waited[kept / 2] : 0, kept ? waited[kept * 99 / 100] : 0);
  return 0;
}
