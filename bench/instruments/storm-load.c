// CLIENTS Raspberry Pi 4s that are switched on together, in C so that they cost little beside what is measured. Each has a
// MAC and a serial number of its own and speaks DHCP, ARP and TFTP as the EEPROM boot loader does, in whole frames over a
// packet socket (packet(7)) on INTERFACE. Each asks for the files of SCRIPT one after the other: lines "read PATH" and
// "probe PATH", where % stands for the serial number. It repeats its last packet after a second of silence, and fails when
// it has no address after 45 s or a file takes 30 s (the loader's defaults).
// The clients are dc:a6:32:00:HH:LL with serial 1000HHLL, from 0001 on.
// It loses PERCENT of the frames each way, the same ones in every run with as many frames.
// Prints "booted failed bytes repeats missing seconds p50 p99 slowest last-address": times in seconds from the start.
//   usage: storm-load INTERFACE SCRIPT CLIENTS BLKSIZE PERCENT
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 2000, STEPS_MAX = 200, BATCH = 256, FRAME = 2048, PATH_BYTES = 128 };
enum { RRQ = 1, DATA = 3, ACK = 4, ERROR = 5, OACK = 6 };
enum { ETHERNET = 14, IP = 20, UDP = 8, PAYLOAD = ETHERNET + IP + UDP, BOOTP = 240 };
enum state { OFFER_WANTED, ACK_WANTED, ARP_WANTED, LOADING, BOOTED, FAILED };

static const double DHCP_LIMIT = 45, FILE_LIMIT = 30, ASK_AGAIN = 1, DHCP_AGAIN = 4;

struct client {
  enum state state;
  unsigned char mac[6], server_mac[6];
  uint32_t address, server, xid, serial;
  int step, expected, blocks_begun;
  uint16_t port, server_port;
  double asked, wait, heard, file_begun, done;
  int last_length;
  unsigned char last[600];
};

static struct { int is_probe; char path[PATH_BYTES]; } steps[STEPS_MAX];
static int step_count, block_bytes, client_count, fd;
static struct client clients[CLIENTS_MAX];
static double started;
static long bytes, repeats, missing;
static double last_address;

static unsigned char out_frames[BATCH][FRAME], in_frames[BATCH][FRAME];
static struct iovec out_parts[BATCH], in_parts[BATCH];
static struct mmsghdr out[BATCH], in[BATCH];
static int out_count;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void flush(void) {
  for (int sent = 0; sent < out_count;) {
    int count = sendmmsg(fd, out + sent, out_count - sent, 0);
    if (count > 0) { sent += count; continue; }
    // The card's queue is full: wait for room.
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    poll(&writable, 1, 1);
  }
  out_count = 0;
}

static void put16(unsigned char *at, uint16_t value) { at[0] = value >> 8; at[1] = value; }
static void put32(unsigned char *at, uint32_t value) { put16(at, value >> 16); put16(at + 2, value); }
static uint16_t get16(const unsigned char *at) { return at[0] << 8 | at[1]; }
static uint32_t get32(const unsigned char *at) { return (uint32_t)get16(at) << 16 | get16(at + 2); }

static unsigned char *frame(struct client *c, const unsigned char *to, int type) {
  if (out_count == BATCH) flush();
  unsigned char *f = out_frames[out_count];
  memcpy(f, to, 6);
  memcpy(f + 6, c->mac, 6);
  put16(f + 12, type);
  return f;
}

static double lost_part;

// A 48-bit linear congruential generator: seeded alike each time.
static int is_lost(void) { return lost_part > 0 && drand48() < lost_part; }

static void finish_frame(int length) {
  if (!is_lost()) out_parts[out_count++].iov_len = length < 60 ? 60 : length;
}

static const unsigned char everybody[6] = {255, 255, 255, 255, 255, 255};

static void send_udp(struct client *c, uint16_t from, uint16_t to, const unsigned char *payload, int length) {
  int is_broadcast = to == 67;
  unsigned char *f = frame(c, is_broadcast ? everybody : c->server_mac, ETH_P_IP), *ip = f + ETHERNET;
  memset(f + ETHERNET, 0, 60 - ETHERNET);
  ip[0] = 0x45;
  put16(ip + 2, IP + UDP + length);
  ip[8] = 128;
  ip[9] = 17;
  if (!is_broadcast) put32(ip + 12, c->address);
  put32(ip + 16, is_broadcast ? 0xffffffff : c->server);
  uint32_t sum = 0;
  for (int i = 0; i < IP; i += 2) sum += get16(ip + i);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  put16(ip + 10, ~sum);
  put16(ip + 20, from);
  put16(ip + 22, to);
  put16(ip + 24, UDP + length);
  memcpy(f + PAYLOAD, payload, length);
  finish_frame(PAYLOAD + length);
}

static void say_last(struct client *c) {
  if (c->state == LOADING) send_udp(c, c->port, c->server_port, c->last, c->last_length);
  else send_udp(c, 68, 67, c->last, c->last_length);
}

static int option(unsigned char *at, int code, const void *value, int length) {
  at[0] = code;
  at[1] = length;
  memcpy(at + 2, value, length);
  return 2 + length;
}

static unsigned char *bootp(struct client *c, int type) {
  memset(c->last, 0, sizeof c->last);
  c->last[0] = c->last[1] = 1;
  c->last[2] = 6;
  put32(c->last + 4, c->xid);
  memcpy(c->last + 28, c->mac, 6);
  put32(c->last + 236, 0x63825363);
  unsigned char kind = type;
  return c->last + BOOTP + option(c->last + BOOTP, 53, &kind, 1);
}

static const char vendor[] = "PXEClient:Arch:00000:UNDI:002001";

static void discover(struct client *c, double time) {
  static const unsigned char wanted[] = {1, 3, 43, 60, 66, 67, 128, 129, 130, 131, 132, 133, 134, 135};
  unsigned char *at = bootp(c, 1), id[17] = {0, 0x34, 0x69, 0x50, 0x52, 0x14, 0x31, 0xd0, 0};
  memcpy(id + 9, c->mac + 2, 4);
  for (int i = 0; i < 4; i++) id[13 + i] = c->serial >> (8 * i);
  at += option(at, 55, wanted, sizeof wanted);
  at += option(at, 93, "\0\0", 2);
  at += option(at, 94, "\1\2\1", 3);
  at += option(at, 97, id, sizeof id);
  at += option(at, 60, vendor, sizeof vendor - 1);
  *at++ = 255;
  c->state = OFFER_WANTED;
  c->last_length = at - c->last;
  c->asked = time;
  say_last(c);
}

static void request(struct client *c, double time) {
  unsigned char *at = bootp(c, 3), address[4];
  put32(address, c->address);
  at += option(at, 50, address, 4);
  put32(address, c->server);
  at += option(at, 54, address, 4);
  at += option(at, 60, vendor, sizeof vendor - 1);
  *at++ = 255;
  c->state = ACK_WANTED;
  c->last_length = at - c->last;
  c->asked = time;
  c->wait = DHCP_AGAIN;
  say_last(c);
}

static void send_arp(struct client *c, int operation, const unsigned char *to, uint32_t target) {
  unsigned char *f = frame(c, to, ETH_P_ARP), *arp = f + ETHERNET;
  memset(arp, 0, 60 - ETHERNET);
  memcpy(arp, "\0\1\10\0\6\4\0", 7);
  arp[7] = operation;
  memcpy(arp + 8, c->mac, 6);
  put32(arp + 14, c->address);
  if (operation == 2) memcpy(arp + 18, to, 6);
  put32(arp + 24, target);
  finish_frame(60);
}

static void fail(struct client *c, const char *why) {
  if (c->state != FAILED) fprintf(stderr, "client %ld: %s, step %d\n", c - clients, why, c->step);
  c->state = FAILED;
}

static void ask_file(struct client *c, double time) {
  if (c->step == step_count) {
    c->state = BOOTED;
    c->done = time - started;
    return;
  }
  char path[PATH_BYTES + 8], *to = path;
  for (const char *from = steps[c->step].path; *from; from++) {
    if (*from == '%') to += sprintf(to, "%08x", c->serial);
    else *to++ = *from;
  }
  *to = 0;
  c->last[0] = 0;
  c->last[1] = RRQ;
  c->last_length = 2 + snprintf((char *)c->last + 2, sizeof c->last - 2, "%s%coctet%ctsize%c0%cblksize%c%d%c", path, 0, 0,
                                0, 0, 0, block_bytes, 0);
  c->port++;
  c->server_port = 69;
  c->expected = 1;
  c->heard = c->asked = c->file_begun = time;
  say_last(c);
}

static void next_file(struct client *c, double time) { c->step++; ask_file(c, time); }

static void take_dhcp(struct client *c, const unsigned char *p, int length, double time) {
  if (length < BOOTP || p[0] != 2 || get32(p + 4) != c->xid || memcmp(p + 28, c->mac, 6)) return;
  int type = 0, has_menu = 0;
  uint32_t server = 0;
  for (int at = BOOTP; at + 1 < length && p[at] != 255;) {
    if (p[at] == 0) { at++; continue; }
    if (at + 2 + p[at + 1] > length) return;
    if (p[at] == 53) type = p[at + 2];
    if (p[at] == 54) server = get32(p + at + 2);
    if (p[at] == 43) has_menu = 1;
    at += 2 + p[at + 1];
  }
  if (type == 2 && c->state == OFFER_WANTED && has_menu && get32(p + 16) != 0) {
    c->address = get32(p + 16);
    c->server = server;
    request(c, time);
  } else if (type == 5 && c->state == ACK_WANTED) {
    c->state = ARP_WANTED;
    c->asked = time;
    last_address = time - started;
    send_arp(c, 1, everybody, c->server);
  }
}

static void acknowledge(struct client *c, int block, double time) {
  c->last[0] = 0;
  c->last[1] = ACK;
  put16(c->last + 2, block);
  c->last_length = 4;
  c->asked = time;
  say_last(c);
}

static void take_tftp(struct client *c, uint16_t from, uint16_t to, const unsigned char *p, int length, double time) {
  if (c->state != LOADING || to != c->port || length < 4) return;
  if (c->server_port != 69 && from != c->server_port) return;
  c->heard = time;
  if (p[1] == ERROR) {
    missing++;
    next_file(c, time);
  } else if (p[1] == OACK) {
    c->server_port = from;
    if (steps[c->step].is_probe) {
      static const unsigned char early[] = "\0\5\0\0Early terminate";
      send_udp(c, c->port, from, early, sizeof early);
      next_file(c, time);
    } else if (c->expected == 1) acknowledge(c, 0, time);
  } else if (p[1] == DATA) {
    uint16_t block = get16(p + 2);
    c->server_port = from;
    if (block == (uint16_t)(c->expected - 1)) { repeats++; say_last(c); return; }
    if (block != (uint16_t)c->expected) return;
    c->expected++;
    bytes += length - 4;
    acknowledge(c, block, time);
    if (length - 4 < block_bytes) next_file(c, time);
  }
}

static struct client *client_of(const unsigned char *mac) {
  int number = get16(mac + 4);
  if (memcmp(mac, clients[0].mac, 4) || number < 1 || number > client_count) return NULL;
  return &clients[number - 1];
}

static void take_arp(const unsigned char *arp, double time) {
  uint32_t sender = get32(arp + 14), target = get32(arp + 24);
  for (int i = 0; i < client_count; i++) {
    struct client *c = &clients[i];
    if (c->address != target || c->state < ARP_WANTED) continue;
    if (arp[7] == 1) send_arp(c, 2, arp + 8, sender);
    else if (c->state == ARP_WANTED && sender == c->server) {
      memcpy(c->server_mac, arp + 8, 6);
      c->state = LOADING;
      ask_file(c, time);
    }
  }
}

static void take(const unsigned char *f, int length, double time) {
  if (length < PAYLOAD) return;
  if (get16(f + 12) == ETH_P_ARP) { take_arp(f + ETHERNET, time); return; }
  const unsigned char *ip = f + ETHERNET;
  if (get16(f + 12) != ETH_P_IP || ip[0] != 0x45 || ip[9] != 17) return;
  int udp_bytes = get16(ip + 24);
  if (udp_bytes < UDP || ETHERNET + IP + udp_bytes > length) return;
  uint16_t from = get16(ip + 20), to = get16(ip + 22);
  const unsigned char *payload = f + PAYLOAD;
  struct client *c = client_of(to == 68 && udp_bytes >= UDP + BOOTP ? payload + 28 : f);
  if (c == NULL) return;
  if (to == 68) take_dhcp(c, payload, udp_bytes - UDP, time);
  else if (get32(ip + 16) == c->address) take_tftp(c, from, to, payload, udp_bytes - UDP, time);
}

static void sweep(struct client *c, double time) {
  double silent = time - c->asked;
  if (c->state == OFFER_WANTED || c->state == ACK_WANTED) {
    if (time - started > DHCP_LIMIT) { fail(c, "no address"); return; }
    if (silent < c->wait) return;
    c->wait *= 2;
    c->asked = time;
    repeats++;
    say_last(c);
  } else if (c->state == ARP_WANTED && silent > ASK_AGAIN) {
    c->asked = time;
    send_arp(c, 1, everybody, c->server);
  } else if (c->state == LOADING) {
    if (time - c->file_begun > FILE_LIMIT) { fail(c, steps[c->step].path); return; }
    if (time - c->heard < ASK_AGAIN || silent < ASK_AGAIN) return;
    c->asked = time;
    repeats++;
    say_last(c);
  }
}

static void read_script(const char *path) {
  FILE *file = fopen(path, "r");
  char word[16];
  if (file == NULL) { perror(path); exit(1); }
  while (step_count < STEPS_MAX && fscanf(file, "%15s %127s", word, steps[step_count].path) == 2)
    steps[step_count++].is_probe = word[0] == 'p';
  fclose(file);
}

static void open_card(const char *name) {
  fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
  struct sockaddr_ll card = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = if_nametoindex(name)};
  int size = 64 << 20, yes = 1;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
  setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof yes);
  if (fd < 0 || bind(fd, (struct sockaddr *)&card, sizeof card) < 0) { perror(name); exit(1); }
  for (int i = 0; i < BATCH; i++) {
    out_parts[i].iov_base = out_frames[i];
    in_parts[i] = (struct iovec){in_frames[i], FRAME};
    out[i].msg_hdr = (struct msghdr){.msg_iov = &out_parts[i], .msg_iovlen = 1};
    in[i].msg_hdr = (struct msghdr){.msg_iov = &in_parts[i], .msg_iovlen = 1};
  }
}

static int by_size(const void *one, const void *other) {
  double a = *(const double *)one, b = *(const double *)other;
  return (a > b) - (a < b);
}

static void print_result(double seconds) {
  static double times[CLIENTS_MAX];
  int booted = 0;
  for (int i = 0; i < client_count; i++)
    if (clients[i].state == BOOTED) times[booted++] = clients[i].done;
  qsort(times, booted, sizeof *times, by_size);
  double p50 = booted ? times[(booted - 1) / 2] : 0, p99 = booted ? times[(int)((booted - 1) * 0.99)] : 0;
  printf("%d %d %ld %ld %ld %.3f %.3f %.3f %.3f %.3f\n", booted, client_count - booted, bytes, repeats, missing, seconds, p50,
         p99, booted ? times[booted - 1] : 0, last_address);
}

int main(int count, char **argument) {
  if (count != 6) { fprintf(stderr, "usage: storm-load INTERFACE SCRIPT CLIENTS BLKSIZE PERCENT\n"); return 2; }
  open_card(argument[1]);
  read_script(argument[2]);
  client_count = atoi(argument[3]);
  block_bytes = atoi(argument[4]);
  lost_part = atof(argument[5]) / 100;
  if (client_count < 1 || client_count > CLIENTS_MAX || step_count == 0) { fprintf(stderr, "nothing to do\n"); return 2; }
  double time = started = now(), swept = time;
  for (int i = 0; i < client_count; i++) {
    struct client *c = &clients[i];
    memcpy(c->mac, "\xdc\xa6\x32\0", 4);
    put16(c->mac + 4, i + 1);
    c->serial = 0x10000001 + i;
    c->xid = 0x5eed0000 + i;
    c->port = 49152;
    c->wait = DHCP_AGAIN;
  }
  for (int i = 0; i < client_count; i++) discover(&clients[i], time);
  flush();
  for (int open = client_count; open > 0;) {
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    poll(&readable, 1, 20);
    int ready = recvmmsg(fd, in, BATCH, MSG_DONTWAIT, NULL);
    time = now();
    for (int i = 0; i < ready; i++)
      if (!is_lost()) take(in_frames[i], in[i].msg_len, time);
    if (time - swept >= 0.05) {
      swept = time;
      open = 0;
      for (int i = 0; i < client_count; i++) {
        sweep(&clients[i], time);
        open += clients[i].state < BOOTED;
      }
    }
    flush();
  }
  print_result(now() - started);
  return 0;
}
