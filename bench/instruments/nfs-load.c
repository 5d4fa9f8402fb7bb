// An NFS version 3 load generator, in C so that measuring costs little beside what is measured. It mounts, walks the tree
// with READDIRPLUS, then keeps DEPTH calls in flight on each of CONNECTIONS for SECONDS, on files chosen at random from
// the whole tree. Prints "ops bytes seconds errors entries p50 p99 max", the latencies in microseconds.
//
//   usage: nfs-load ADDRESS NFS-PORT MOUNT-PORT PATH OPERATION CONNECTIONS DEPTH SECONDS [SOURCE NODES FILES-MAX]
//
//   walk         lists the whole tree once; ops are entries         through   walks, then reads all files from start to end
//   getattr lookup access read4k read128k (files of that size at least) readdirplus (dircount 4 KiB, maxcount 32 KiB)
//   mix          of 16: 4 getattr, 4 lookup, 3 access, 3 read4k, 1 read128k (of any file), 1 readdirplus
//   small        makes files of 2 KiB one after the other, as a Linux client does for tar: CREATE (exclusive), SETATTR of mode
//                and owner, a stable WRITE, SETATTR of times; ops are files
//   fsync        what fsyncs of ext4 on a loop device ask for: stable WRITEs of a block in random order of a file of 64 MiB, of two
//                of its journal, and of one; ops are fsyncs
//   write        128 KiB unstable WRITEs to a new file for each connection, with a COMMIT after every 64 of them
//
// With NODES, connection i comes from the address SOURCE + i % NODES, and %d in PATH is 1 + i % NODES. FILES-MAX bounds the
// files remembered for each node (0: all).
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { GETATTR = 1, SETATTR = 2, LOOKUP = 3, ACCESS = 4, READ = 6, WRITE = 7, CREATE = 8, READDIRPLUS = 17, COMMIT = 21 };
enum { SMALL = 4096, LARGE = 131072, DEPTH_MAX = 256, SENDING_BYTES = 1 << 16, RECORD_BYTES = 1 << 21 };
enum { WRITES_PER_COMMIT = 64, FILE_BYTES_WRITTEN = 256 << 20, LATENCIES = 1 << 20 };

struct handle { uint8_t length, bytes[64]; };
struct file { struct handle handle; uint32_t directory; uint64_t size; uint8_t is_directory; char *name; };
struct node { struct handle root; struct file *files; uint32_t count, capacity, *plain, plain_count, *large, large_count; };
struct slot { double sent_at; uint32_t file; uint64_t cookie, offset; uint8_t verifier[8], busy; int operation; };
struct connection {
  int fd, node;
  struct slot slots[DEPTH_MAX];
  uint8_t *received;
  size_t received_bytes;
  uint8_t *sending;
  size_t sending_bytes, sent_bytes;
  struct handle written;
  uint64_t write_offset;
  int in_flight, writes_since_commit, needs_commit;
};

static struct node *nodes;
static struct connection *connections;
static int node_count = 1, connection_count, depth;
static uint32_t files_max;
static long ops, bytes, errors, entries;
static uint32_t latencies[LATENCIES];
static double time_now;
static uint64_t seed = 88172645463325252ull;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static uint32_t choose(uint32_t count) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (uint32_t)(((seed >> 32) * count) >> 32);
}

static void fail(const char *what) {
  fprintf(stderr, "nfs-load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
  exit(1);
}

// -- Encoding. A call is written straight into the connection's send buffer.

static uint8_t *out;
static void put32(uint32_t value) { value = htonl(value); memcpy(out, &value, 4); out += 4; }
static void put64(uint64_t value) { put32(value >> 32); put32((uint32_t)value); }
static void put_bytes(const void *from, uint32_t length) {
  put32(length);
  memcpy(out, from, length);
  memset(out + length, 0, 3);
  out += (length + 3) & ~3u;
}
static void put_handle(const struct handle *handle) { put_bytes(handle->bytes, handle->length); }

static uint8_t *begin(uint8_t *at, uint32_t xid, uint32_t program, uint32_t procedure) {
  out = at + 4;
  put32(xid); put32(0); put32(2); put32(program); put32(3); put32(procedure);
  put32(1); put32(20); put32(0); put32(0); put32(0); put32(0); put32(0);  // AUTH_SYS as root, without groups
  put32(0); put32(0);
  return at;
}
static size_t end(uint8_t *at) {
  uint32_t mark = htonl(0x80000000u | (uint32_t)(out - at - 4));
  memcpy(at, &mark, 4);
  return out - at;
}

// -- Decoding.

static const uint8_t *in;
static uint32_t get32(void) { uint32_t value; memcpy(&value, in, 4); in += 4; return ntohl(value); }
static uint64_t get64(void) { uint64_t high = get32(); return high << 32 | get32(); }

// -- Blocking calls, before the load begins.

static void send_all(int fd, const uint8_t *from, size_t length) {
  while (length > 0) {
    ssize_t count = send(fd, from, length, 0);
    if (count < 0) fail("cannot send");
    from += count;
    length -= count;
  }
}
static void receive_all(int fd, uint8_t *to, size_t length) {
  while (length > 0) {
    ssize_t count = recv(fd, to, length, 0);
    if (count == 0) errno = 0;
    if (count <= 0) fail("the server has closed the connection");
    to += count;
    length -= count;
  }
}
// Leaves `in` behind the status word of the result, which is returned.
static uint32_t call(int fd, uint8_t *buffer, size_t length) {
  send_all(fd, buffer, length);
  receive_all(fd, buffer, 4);
  uint32_t mark;
  memcpy(&mark, buffer, 4);
  receive_all(fd, buffer, ntohl(mark) & 0x7fffffff);
  in = buffer + 8;
  if (get32() != 0) fail("an RPC call was denied");
  in += 8;
  if (get32() != 0) fail("an RPC call was not accepted");
  return get32();
}

static int connect_from(const char *address, int port, const char *source, int node) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(port)}, own = {.sin_family = AF_INET};
  if (source) {
    inet_aton(source, &own.sin_addr);
    own.sin_addr.s_addr = htonl(ntohl(own.sin_addr.s_addr) + node);
    if (bind(fd, (struct sockaddr *)&own, sizeof own) < 0) fail("cannot bind");
  }
  inet_aton(address, &server.sin_addr);
  if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0) fail("cannot connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

static void mount_node(struct node *node, int fd, const char *path) {
  static uint8_t buffer[4096];
  uint8_t *at = begin(buffer, 1, 100005, 1);
  put_bytes(path, strlen(path));
  errno = 0;
  if (call(fd, at, end(at)) != 0) fail("the server refused the mount");
  node->root.length = get32();
  memcpy(node->root.bytes, in, node->root.length);
}

static void create_file(struct connection *c, int index) {
  static uint8_t buffer[4096];
  char name[64];
  uint8_t *at = begin(buffer, 1u << 30 | index, 100003, CREATE);
  put_handle(&nodes[c->node].root);
  put_bytes(name, snprintf(name, sizeof name, "nfs-load-%d", index));
  put32(0); put32(1); put32(0644); put32(0); put32(0); put32(1); put64(0); put32(0); put32(0);
  if (call(c->fd, at, end(at)) != 0 || get32() != 1) fail("the server refused a CREATE");
  c->written.length = get32();
  memcpy(c->written.bytes, in, c->written.length);
}

// One call after the other: what it costs a client that waits for each.
static void make_small_files(int fd, struct node *node, double seconds) {
  static uint8_t buffer[8192], content[2048];
  char name[64];
  double started = now();
  for (uint32_t xid = 1u << 29; now() - started < seconds; ops++) {
    double file_started = now();
    struct handle made;
    uint8_t *at = begin(buffer, xid++, 100003, CREATE);
    put_handle(&node->root);
    put_bytes(name, snprintf(name, sizeof name, "small-%d-%ld", (int)getpid(), ops));
    put32(2); put32((uint32_t)getpid()); put32((uint32_t)ops);
    if (call(fd, at, end(at)) != 0 || get32() != 1) fail("the server refused a CREATE");
    made.length = get32();
    memcpy(made.bytes, in, made.length);
    at = begin(buffer, xid++, 100003, SETATTR);
    put_handle(&made);
    put32(1); put32(0644); put32(1); put32(0); put32(1); put32(0); put32(0); put32(1); put32(1); put32(0);
    if (call(fd, at, end(at)) != 0) fail("the server refused a SETATTR");
    at = begin(buffer, xid++, 100003, WRITE);
    put_handle(&made);
    put64(0); put32(sizeof content); put32(2); put_bytes(content, sizeof content);
    if (call(fd, at, end(at)) != 0) fail("the server refused a WRITE");
    at = begin(buffer, xid++, 100003, SETATTR);
    put_handle(&made);
    put32(0); put32(0); put32(0); put32(0); put32(2); put32(1700000000); put32(0); put32(2); put32(1700000000); put32(0); put32(0);
    if (call(fd, at, end(at)) != 0) fail("the server refused a SETATTR");
    long us = (long)((now() - file_started) * 1e6);
    latencies[us < LATENCIES ? us : LATENCIES - 1]++;
  }
}

static void write_part(int fd, const struct handle *file, uint64_t offset, uint32_t length, int stable) {
  static uint8_t buffer[(1 << 20) + 1024], content[1 << 20];
  static uint32_t xid = 1u << 28;
  uint8_t *at = begin(buffer, xid++, 100003, WRITE);
  put_handle(file);
  put64(offset); put32(length); put32(stable); put_bytes(content, length);
  if (call(fd, at, end(at)) != 0) fail("the server refused a WRITE");
}

static void sync_blocks(int fd, struct node *node, double seconds) {
  enum { FILE_BYTES = 64 << 20, JOURNAL_BYTES = 4 << 20 };
  static uint8_t buffer[8192];
  char name[64];
  struct handle made;
  uint8_t *at = begin(buffer, 1u << 27, 100003, CREATE);
  put_handle(&node->root);
  put_bytes(name, snprintf(name, sizeof name, "blocks-%d", (int)getpid()));
  put32(2); put32((uint32_t)getpid()); put32(0);
  if (call(fd, at, end(at)) != 0 || get32() != 1) fail("the server refused a CREATE");
  made.length = get32();
  memcpy(made.bytes, in, made.length);
  for (uint64_t offset = 0; offset < FILE_BYTES; offset += 1 << 20) write_part(fd, &made, offset, 1 << 20, 2);
  double started = now();
  for (; now() - started < seconds; ops++) {
    uint64_t journal = ops * 3 * SMALL % JOURNAL_BYTES / (3 * SMALL) * (3 * SMALL);
    write_part(fd, &made, JOURNAL_BYTES * 2 + (uint64_t)choose((FILE_BYTES - JOURNAL_BYTES * 2) / SMALL) * SMALL, SMALL, 2);
    write_part(fd, &made, journal, 2 * SMALL, 2);
    write_part(fd, &made, journal + 2 * SMALL, SMALL, 2);
  }
  printf("%ld 0 %.4f\n", ops, now() - started);
}

// -- The load.

static int operation_named(const char *name) {
  const char *names[] = {"getattr", "lookup", "access", "read4k", "read128k", "readdirplus", "mix", "write"};
  for (int i = 0; i < 8; i++) if (!strcmp(name, names[i])) return i;
  return -1;
}
enum { DO_GETATTR, DO_LOOKUP, DO_ACCESS, DO_READ4K, DO_READ128K, DO_READDIRPLUS, DO_MIX, DO_WRITE, DO_WALK, DO_THROUGH, DO_COMMIT };
static const int MIX[16] = {DO_GETATTR, DO_GETATTR, DO_GETATTR, DO_GETATTR, DO_LOOKUP, DO_LOOKUP, DO_LOOKUP, DO_LOOKUP,
                            DO_ACCESS, DO_ACCESS, DO_ACCESS, DO_READ4K, DO_READ4K, DO_READ4K, DO_READ128K, DO_READDIRPLUS};

static const struct handle *directory_of(struct node *node, uint32_t index) {
  return index == UINT32_MAX ? &node->root : &node->files[index].handle;
}

static void put_readdirplus(const struct handle *directory, const struct slot *slot, uint32_t names, uint32_t all) {
  put_handle(directory);
  put64(slot->cookie);
  memcpy(out, slot->verifier, 8);
  out += 8;
  put32(names);
  put32(all);
}

// Puts one call for `slot` into the send buffer; the slot says what to do where that is not free to choose.
static void issue(struct connection *c, int slot_index, int operation, int by_mix) {
  static uint32_t sequence;
  static uint8_t zeros[LARGE];
  struct node *node = &nodes[c->node];
  struct slot *slot = &c->slots[slot_index];
  static const int procedures[] = {GETATTR, LOOKUP, ACCESS, READ, READ, READDIRPLUS, 0, WRITE, READDIRPLUS, READ, COMMIT};
  // The low byte is the slot; the rest makes it new.
  uint32_t xid = ++sequence << 8 | (uint32_t)slot_index;
  uint8_t *at = begin(c->sending + c->sending_bytes, xid, 100003, procedures[operation]);
  uint32_t file = node->count ? choose(node->count) : 0;
  switch (operation) {
    case DO_GETATTR: put_handle(&node->files[file].handle); break;
    case DO_ACCESS: put_handle(&node->files[file].handle); put32(0x3f); break;
    case DO_LOOKUP:
      put_handle(directory_of(node, node->files[file].directory));
      put_bytes(node->files[file].name, strlen(node->files[file].name));
      break;
    case DO_READ4K:
    case DO_READ128K: {
      uint32_t count = operation == DO_READ4K ? SMALL : LARGE;
      int any = operation == DO_READ4K || by_mix;
      struct file *f = &node->files[any ? node->plain[choose(node->plain_count)] : node->large[choose(node->large_count)]];
      // Whole pieces only, unless the file is shorter than one.
      uint64_t pieces = f->size / count;
      put_handle(&f->handle);
      put64(pieces > 0 ? (uint64_t)choose(pieces) * count : 0);
      put32(count);
      break;
    }
    case DO_THROUGH: put_handle(&node->files[slot->file].handle); put64(slot->offset); put32(LARGE); break;
    case DO_READDIRPLUS:
      slot->cookie = 0;
      memset(slot->verifier, 0, 8);
      put_readdirplus(directory_of(node, node->files[file].directory), slot, 4096, 32768);
      break;
    case DO_WALK: put_readdirplus(directory_of(node, slot->file), slot, 8192, 65536); break;
    case DO_WRITE:
      put_handle(&c->written);
      put64(c->write_offset); put32(LARGE); put32(0); put_bytes(zeros, LARGE);
      c->write_offset = (c->write_offset + LARGE) % FILE_BYTES_WRITTEN;
      if (++c->writes_since_commit == WRITES_PER_COMMIT) { c->writes_since_commit = 0; c->needs_commit = 1; }
      break;
    case DO_COMMIT: put_handle(&c->written); put64(0); put32(0); c->needs_commit = 0; break;
  }
  c->sending_bytes += end(at);
  slot->operation = operation;
  slot->sent_at = time_now;
  slot->busy = 1;
  c->in_flight++;
}

// -- Walking: directories still to be listed, of one node at a time.

static uint32_t *waiting, waiting_count, waiting_capacity;
static void wait_for(uint32_t directory) {
  if (waiting_count == waiting_capacity) waiting = realloc(waiting, (waiting_capacity = waiting_capacity * 2 + 64) * 4);
  waiting[waiting_count++] = directory;
}

static void remember(struct node *node, const uint8_t *name, uint32_t length, uint32_t directory, uint32_t type, uint64_t size,
                     const uint8_t *handle, uint32_t handle_length) {
  entries++;
  if ((type != 1 && type != 2) || (files_max && node->count >= files_max)) return;
  if (node->count == node->capacity)
    node->files = realloc(node->files, (node->capacity = node->capacity * 2 + 256) * sizeof *node->files);
  struct file *f = &node->files[node->count++];
  f->handle.length = handle_length;
  memcpy(f->handle.bytes, handle, handle_length);
  f->directory = directory;
  f->size = size;
  f->is_directory = type == 2;
  f->name = strndup((const char *)name, length);
  if (type == 2) wait_for(node->count - 1);
}

// Takes a listing in; true when the directory goes on.
static int take_listing(struct node *node, struct slot *slot, int remembering) {
  if (get32()) in += 84;
  memcpy(slot->verifier, in, 8);
  in += 8;
  while (get32()) {
    in += 8;
    uint32_t length = get32();
    const uint8_t *name = in;
    in += (length + 3) & ~3u;
    slot->cookie = get64();
    uint32_t type = 0, handle_length = 0;
    uint64_t size = 0;
    const uint8_t *handle = in;
    if (get32()) {
      type = get32();
      in += 16;
      size = get64();
      in += 56;
    }
    if (get32()) {
      handle_length = get32();
      handle = in;
      in += (handle_length + 3) & ~3u;
    }
    int is_dots = name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.'));
    if (remembering && !is_dots && handle_length) remember(node, name, length, slot->file, type, size, handle, handle_length);
  }
  return !get32();
}

// -- Sending and receiving.

static void flush(struct connection *c) {
  while (c->sent_bytes < c->sending_bytes) {
    ssize_t count = send(c->fd, c->sending + c->sent_bytes, c->sending_bytes - c->sent_bytes, 0);
    if (count < 0 && errno == EAGAIN) return;
    if (count < 0) fail("cannot send");
    c->sent_bytes += count;
  }
  c->sent_bytes = c->sending_bytes = 0;
}

static int has_room(struct connection *c) { return c->sending_bytes + LARGE + 1024 <= SENDING_BYTES + 2 * LARGE; }

// Hands each whole record to `take(connection, slot, status)`, with `in` behind the status.
static int receive(struct connection *c, void (*take)(struct connection *, struct slot *, uint32_t)) {
  for (;;) {
    ssize_t count = recv(c->fd, c->received + c->received_bytes, RECORD_BYTES - c->received_bytes, 0);
    if (count < 0 && errno == EAGAIN) return 0;
    if (count == 0) errno = 0;
    if (count <= 0) fail("the server has closed the connection");
    c->received_bytes += count;
    size_t done = 0;
    while (c->received_bytes - done >= 4) {
      uint32_t mark;
      memcpy(&mark, c->received + done, 4);
      size_t length = ntohl(mark) & 0x7fffffff;
      if (length + 4 > RECORD_BYTES) { errno = 0; fail("a reply is too long"); }
      if (c->received_bytes - done < length + 4) break;
      in = c->received + done + 4;
      struct slot *slot = &c->slots[get32() & 0xff];
      in += 8;  // a reply, accepted
      in += 8;  // the verifier is AUTH_NONE, of length 0
      uint32_t status = get32() ? 10000 : get32();
      slot->busy = 0;
      c->in_flight--;
      take(c, slot, status);
      done += length + 4;
    }
    memmove(c->received, c->received + done, c->received_bytes -= done);
    if (count < LARGE) return 0;
  }
}

static void take_answer(struct connection *c, struct slot *slot, uint32_t status) {
  long us = (long)((time_now - slot->sent_at) * 1e6);
  latencies[us < LATENCIES ? us : LATENCIES - 1]++;
  ops++;
  if (status) { errors++; return; }
  switch (slot->operation) {
    case DO_READ4K:
    case DO_READ128K:
    case DO_THROUGH: {
      if (get32()) in += 84;
      uint32_t count = get32();
      bytes += count;
      slot->offset += count;
      if (get32() || count == 0) slot->file = UINT32_MAX;
      break;
    }
    case DO_READDIRPLUS: take_listing(&nodes[c->node], slot, 0); break;
    case DO_WRITE: bytes += LARGE; break;
  }
}

static void take_walked(struct connection *c, struct slot *slot, uint32_t status) {
  if (status) { errors++; return; }
  if (take_listing(&nodes[c->node], slot, 1)) issue(c, slot - c->slots, DO_WALK, 0);
}

static void poll_connections(struct pollfd *polls) {
  for (int i = 0; i < connection_count; i++) {
    polls[i].fd = connections[i].fd;
    polls[i].events = POLLIN | (connections[i].sending_bytes ? POLLOUT : 0);
    polls[i].revents = 0;
  }
  poll(polls, connection_count, 100);
  time_now = now();
}

// Lists the tree of each node with all connections that belong to it.
static void walk(struct pollfd *polls) {
  for (int n = 0; n < node_count; n++) {
    waiting_count = 0;
    wait_for(UINT32_MAX);
    for (int busy = 1; busy || waiting_count;) {
      busy = 0;
      for (int i = n; i < connection_count; i += node_count) {
        struct connection *c = &connections[i];
        for (int s = 0; s < depth && waiting_count && has_room(c); s++) {
          if (c->slots[s].busy) continue;
          c->slots[s] = (struct slot){.file = waiting[--waiting_count]};
          issue(c, s, DO_WALK, 0);
        }
        flush(c);
        busy += c->in_flight;
      }
      if (!busy) continue;
      poll_connections(polls);
      for (int i = n; i < connection_count; i += node_count)
        if (polls[i].revents & POLLIN) receive(&connections[i], take_walked);
    }
  }
  if (errors) { errno = 0; fail("a READDIRPLUS failed"); }
  for (int n = 0; n < node_count; n++) {
    struct node *node = &nodes[n];
    node->plain = malloc(node->count * 4 + 4);
    node->large = malloc(node->count * 4 + 4);
    for (uint32_t i = 0; i < node->count; i++) {
      if (node->files[i].is_directory || node->files[i].size == 0) continue;
      node->plain[node->plain_count++] = i;
      if (node->files[i].size >= LARGE) node->large[node->large_count++] = i;
    }
    // A few may hold no large file when only some are remembered.
    if (node->large_count == 0) { free(node->large); node->large = node->plain; node->large_count = node->plain_count; }
  }
}

static void load(struct pollfd *polls, int operation, double seconds) {
  uint32_t *next = calloc(node_count, sizeof *next);
  double started = time_now = now();
  int turn = 0;
  for (int busy = 1; operation == DO_THROUGH ? busy : time_now - started < seconds;) {
    busy = 0;
    for (int i = 0; i < connection_count; i++) {
      struct connection *c = &connections[i];
      struct node *node = &nodes[c->node];
      for (int s = 0; s < depth && has_room(c); s++) {
        struct slot *slot = &c->slots[s];
        if (slot->busy) continue;
        if (operation == DO_THROUGH && slot->file == UINT32_MAX) {
          while (next[c->node] < node->count && (node->files[next[c->node]].is_directory || !node->files[next[c->node]].size))
            next[c->node]++;
          if (next[c->node] == node->count) continue;
          slot->file = next[c->node]++;
          slot->offset = 0;
        }
        if (operation == DO_WRITE && c->needs_commit) issue(c, s, DO_COMMIT, 0);
        else issue(c, s, operation == DO_MIX ? MIX[turn++ & 15] : operation, operation == DO_MIX);
      }
      flush(c);
      busy += c->in_flight;
    }
    if (operation == DO_THROUGH && !busy) break;
    poll_connections(polls);
    for (int i = 0; i < connection_count; i++)
      if (polls[i].revents & POLLIN) receive(&connections[i], take_answer);
  }
}

static long latency_at(double part) {
  long seen = 0;
  for (long us = 0; us < LATENCIES; us++)
    if ((seen += latencies[us]) > 0 && seen >= ops * part) return us;
  return 0;
}

int main(int count, char **argument) {
  if (count != 9 && count != 12) {
    fprintf(stderr, "usage: nfs-load ADDRESS NFS-PORT MOUNT-PORT PATH OPERATION CONNECTIONS DEPTH SECONDS [SOURCE NODES FILES-MAX]\n");
    return 2;
  }
  const char *source = count > 9 ? argument[9] : NULL;
  connection_count = atoi(argument[6]);
  depth = atoi(argument[7]);
  if (depth > DEPTH_MAX) depth = DEPTH_MAX;
  if (source) { node_count = atoi(argument[10]); files_max = atoi(argument[11]); }
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);

  nodes = calloc(node_count, sizeof *nodes);
  connections = calloc(connection_count, sizeof *connections);
  for (int n = 0; n < node_count; n++) {
    char path[1024];
    snprintf(path, sizeof path, argument[4], n + 1);
    int fd = connect_from(argument[1], atoi(argument[3]), source, n);
    mount_node(&nodes[n], fd, path);
    close(fd);
  }
  for (int i = 0; i < connection_count; i++) {
    struct connection *c = &connections[i];
    c->node = i % node_count;
    c->fd = connect_from(argument[1], atoi(argument[2]), source, c->node);
    c->received = malloc(RECORD_BYTES);
    c->sending = malloc(SENDING_BYTES + 4 * LARGE);
    if (!strcmp(argument[5], "write")) create_file(c, i);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
  }
  struct pollfd *polls = calloc(connection_count, sizeof *polls);
  if (!strcmp(argument[5], "small")) {
    fcntl(connections[0].fd, F_SETFL, 0);
    double small_started = now();
    make_small_files(connections[0].fd, &nodes[0], atof(argument[8]));
    printf("%ld 0 %.4f 0 0 %ld %ld %ld\n", ops, now() - small_started, latency_at(0.5), latency_at(0.99), latency_at(1));
    return 0;
  }
  if (!strcmp(argument[5], "fsync")) {
    fcntl(connections[0].fd, F_SETFL, 0);
    sync_blocks(connections[0].fd, &nodes[0], atof(argument[8]));
    return 0;
  }
  double walk_started = now();
  int operation = !strcmp(argument[5], "through") ? DO_THROUGH : operation_named(argument[5]);
  if (operation != DO_WRITE) walk(polls);
  double seconds = now() - walk_started;
  if (!strcmp(argument[5], "walk")) {
    printf("%ld 0 %.4f %ld %ld 0 0 0\n", entries, seconds, errors, entries);
    return 0;
  }
  if (operation < 0) { errno = 0; fail("there is no such operation"); }
  for (int i = 0; i < connection_count; i++)
    for (int s = 0; s < depth; s++) connections[i].slots[s] = (struct slot){.file = UINT32_MAX};
  double started = now();
  load(polls, operation, atof(argument[8]));
  seconds = now() - started;
  printf("%ld %ld %.4f %ld %ld %ld %ld %ld\n", ops, bytes, seconds, errors, entries, latency_at(0.5), latency_at(0.99), latency_at(1));
  return 0;
}
