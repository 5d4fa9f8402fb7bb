/*
 * Random reads and writes of one file, by every way a program has, against a copy in memory; in the manner of fsx.
 *
 *   random-io FILE SEED SECONDS
 *
 * Goes on for that long, and for some hundred operations on a slow machine.
 * Ends with 0 when the file always had what the copy has. Prints the seed, and at a difference the last operations.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SIZE_MAX_BYTES (300 << 10)
#define COUNT_MAX_BYTES (64 << 10)
#define BLOCK_BYTES 4096
#define OPERATIONS_MIN 300
#define HISTORY 40

static const char *path;
static uint64_t state;
static unsigned char model[SIZE_MAX_BYTES];
static unsigned char *buffer;
static off_t size;
static int plain = -1, append = -1, direct = -1;
static long operations;
static char history[HISTORY][100];

/* xorshift64*: the same for the same seed. */
static uint32_t number(uint32_t limit) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return (uint32_t)((state * 0x2545F4914F6CDD1DULL) >> 33) % limit;
}

static void note(const char *format, ...) {
  va_list values;
  va_start(values, format);
  vsnprintf(history[operations++ % HISTORY], sizeof history[0], format, values);
  va_end(values);
}

static void fail(const char *what) {
  printf("%s: %s (errno %d, %s)\n", path, what, errno, strerror(errno));
  for (long i = operations > HISTORY ? operations - HISTORY : 0; i < operations; i++)
    printf("  %ld: %s\n", i, history[i % HISTORY]);
  exit(1);
}

static void compare(const unsigned char *found, off_t offset, size_t count, const char *by) {
  for (size_t i = 0; i < count; i++) {
    if (found[i] == model[offset + i]) continue;
    char text[120];
    errno = 0;
    snprintf(text, sizeof text, "byte %ld is %02x by %s, and %02x was expected", (long)(offset + i), found[i], by,
             model[offset + i]);
    fail(text);
  }
}

static void check_size(void) {
  struct stat found;
  if (fstat(plain, &found) != 0) fail("fstat");
  if (found.st_size == size) return;
  char text[100];
  snprintf(text, sizeof text, "the size is %ld, and %ld was expected", (long)found.st_size, (long)size);
  errno = 0;
  fail(text);
}

static void open_all(void) {
  if ((plain = open(path, O_RDWR)) < 0) fail("open");
  if ((append = open(path, O_WRONLY | O_APPEND)) < 0) fail("open to append");
  if ((direct = open(path, O_RDWR | O_DIRECT)) < 0) fail("open without the cache");
}

static void close_all(void) {
  if (close(plain) || close(append) || close(direct)) fail("close");
}

/* Bytes that differ from one operation to the next, and from one place to the next. */
static void fill(size_t count) {
  unsigned char first = number(256), step = 1 + number(254);
  for (size_t i = 0; i < count; i++) buffer[i] = first + i * step + (i >> 8);
}

static void enter(off_t offset, size_t count) {
  memcpy(model + offset, buffer, count);
  if (offset + (off_t)count > size) size = offset + count;
}

static size_t room(off_t offset) {
  size_t count = 1 + number(number(4) ? 9000 : COUNT_MAX_BYTES);
  return count < (size_t)(SIZE_MAX_BYTES - offset) ? count : (size_t)(SIZE_MAX_BYTES - offset);
}

static void do_write(void) {
  off_t offset = number(SIZE_MAX_BYTES);
  size_t count = room(offset);
  note("write %ld+%zu", (long)offset, count);
  fill(count);
  if (pwrite(plain, buffer, count, offset) != (ssize_t)count) fail("write");
  enter(offset, count);
}

static void do_write_direct(void) {
  off_t offset = number(SIZE_MAX_BYTES / BLOCK_BYTES) * BLOCK_BYTES;
  size_t count = (1 + number(16)) * BLOCK_BYTES;
  if (offset + count > SIZE_MAX_BYTES) count = SIZE_MAX_BYTES - offset;
  note("write directly %ld+%zu", (long)offset, count);
  fill(count);
  if (pwrite(direct, buffer, count, offset) != (ssize_t)count) fail("write directly");
  enter(offset, count);
}

static void do_append(void) {
  if (size == SIZE_MAX_BYTES) return;
  size_t count = room(size);
  note("append %zu at %ld", count, (long)size);
  fill(count);
  if (write(append, buffer, count) != (ssize_t)count) fail("append");
  enter(size, count);
}

static void do_read(int descriptor, const char *by) {
  off_t offset = number(size + 1);
  size_t count = number(COUNT_MAX_BYTES) + 1;
  if (descriptor == direct) {
    offset -= offset % BLOCK_BYTES;
    count += BLOCK_BYTES - count % BLOCK_BYTES;
  }
  note("%s %ld+%zu", by, (long)offset, count);
  ssize_t expected = size - offset < (off_t)count ? size - offset : (off_t)count;
  if (pread(descriptor, buffer, count, offset) != expected) fail(by);
  compare(buffer, offset, expected, by);
}

static void do_truncate(void) {
  off_t wanted = number(3) ? number(size + 1) : number(SIZE_MAX_BYTES);
  note("truncate from %ld to %ld", (long)size, (long)wanted);
  if (ftruncate(plain, wanted) != 0) fail("truncate");
  if (wanted < size) memset(model + wanted, 0, size - wanted);
  size = wanted;
}

/* Within the file, as beyond its end a mapping may not be touched. */
static void do_map(int writes) {
  if (size == 0) return;
  off_t offset = number(size);
  off_t start = offset - offset % BLOCK_BYTES;
  size_t count = room(offset);
  if ((off_t)count > size - offset) count = size - offset;
  note("map %ld+%zu to %s", (long)offset, count, writes ? "write" : "read");
  size_t length = count + (offset - start);
  unsigned char *map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, plain, start);
  if (map == MAP_FAILED) fail("map");
  compare(map + (offset - start), offset, count, "mapping");
  if (writes) {
    fill(count);
    memcpy(map + (offset - start), buffer, count);
    enter(offset, count);
    if (number(2) && msync(map, length, MS_SYNC) != 0) fail("msync");
  }
  if (munmap(map, length) != 0) fail("unmap");
}

static void forget_cache(void) {
  note("forget what is cached");
  if (fsync(plain) != 0) fail("fsync");
  if (posix_fadvise(plain, 0, 0, POSIX_FADV_DONTNEED) != 0) fail("fadvise");
}

static void reopen(void) {
  note("close and open");
  close_all();
  open_all();
}

/* The name moves away and back, as editors and package managers do it. */
static void do_rename(void) {
  char other[500];
  note("rename there and back");
  snprintf(other, sizeof other, "%s.moved", path);
  if (rename(path, other) != 0 || rename(other, path) != 0) fail("rename");
}

static void step(void) {
  switch (number(20)) {
    case 0: case 1: case 2: case 3: do_write(); break;
    case 4: case 5: do_append(); break;
    case 6: case 7: do_write_direct(); break;
    case 8: case 9: do_read(plain, "read"); break;
    case 10: case 11: do_read(direct, "read directly"); break;
    case 12: case 13: do_truncate(); break;
    case 14: do_map(0); break;
    case 15: case 16: do_map(1); break;
    case 17: note("fsync"); if (fsync(plain) != 0) fail("fsync"); break;
    case 18: forget_cache(); break;
    case 19: if (number(2)) reopen(); else do_rename(); break;
  }
  check_size();
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: random-io FILE SEED SECONDS\n");
    return 2;
  }
  path = argv[1];
  uint64_t seed = strtoull(argv[2], NULL, 10);
  state = seed * 0x9E3779B97F4A7C15ULL + 1;
  if (posix_memalign((void **)&buffer, BLOCK_BYTES, COUNT_MAX_BYTES + BLOCK_BYTES) != 0) return 2;
  close(open(path, O_CREAT | O_TRUNC | O_RDWR, 0644));
  open_all();
  time_t end = time(NULL) + atol(argv[3]);
  while (time(NULL) < end || operations < OPERATIONS_MIN) step();
  reopen();
  if (pread(plain, buffer, 1, size) != 0) fail("read at the end");
  for (off_t offset = 0; offset < size; offset += COUNT_MAX_BYTES) {
    ssize_t count = pread(plain, buffer, COUNT_MAX_BYTES, offset);
    if (count < 0) fail("read at last");
    compare(buffer, offset, count, "the last reading");
  }
  close_all();
  printf("random-io: seed %llu: %ld operations\n", (unsigned long long)seed, operations);
  return 0;
}
