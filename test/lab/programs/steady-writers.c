/*
 * Writers that know what must be in their files, to be run while the server comes and goes.
 *
 *   steady-writers FOLDER
 *
 * Four processes append with fsync, append many records to an fsync, overwrite, and make, link, rename and remove files,
 * until this program gets SIGTERM. Then each compares all it has with what it was told is done: a record lost, one that
 * is there twice, a name that should not be there and any error of a call ends it with 1. Prints "going on" some times a
 * second while all of them get something done, and at last for each how much it did and how long one call took at most.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RECORD_BYTES 128
#define RECORDS_TO_AN_FSYNC 200
#define BLOCK_BYTES 1000
#define BLOCKS 600
#define FILES_KEPT 5

static const char *writer;
static volatile sig_atomic_t ending;
static double began, longest;
/* How much each has done, for all to see. */
static volatile long *counts, *own_count;

static void on_end(int signal) {
  (void)signal;
  ending = 1;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static void fail(const char *what, long number) {
  printf("%s: %s, at number %ld: %s\n", writer, what, number, strerror(errno));
  fflush(stdout);
  _exit(1);
}

/* Every call to the file system goes through this: it must succeed, however long it takes. */
static long done(long result, const char *what, long number) {
  double took = now() - began;
  if (result < 0) fail(what, number);
  if (took > longest) longest = took;
  ++*own_count;
  return result;
}
#define DO(what, number, call) (began = now(), done((call), what, number))

static void fill_record(char *record, long number) {
  memset(record, 'a' + number % 26, RECORD_BYTES);
  int length = snprintf(record, RECORD_BYTES, "%010ld %016llx ", number, number * 0x9E3779B97F4A7C15ULL);
  record[length] = 'a' + number % 26;
  record[RECORD_BYTES - 1] = '\n';
}

/* Records 0 to count - 1, each once and in order. */
static void check_records(const char *path, long count) {
  char found[RECORD_BYTES], expected[RECORD_BYTES];
  int file = DO("open to compare", 0, open(path, O_RDONLY));
  errno = 0;
  for (long number = 0; number < count; number++) {
    fill_record(expected, number);
    if (DO("read", number, read(file, found, RECORD_BYTES)) != RECORD_BYTES) fail("the record is lost", number);
    if (memcmp(found, expected, RECORD_BYTES) != 0) fail("another record is there", number);
  }
  if (read(file, found, 1) != 0) fail("there are more records than were written", count);
  close(file);
}

static long append(const char *path, int records_to_an_fsync) {
  char record[RECORD_BYTES];
  long count = 0;
  int file = DO("open", 0, open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND, 0644));
  while (!ending) {
    fill_record(record, count);
    if (DO("write", count, write(file, record, RECORD_BYTES)) != RECORD_BYTES) fail("a short write", count);
    if (++count % records_to_an_fsync == 0) DO("fsync", count, fsync(file));
  }
  DO("fsync", count, fsync(file));
  DO("close", count, close(file));
  check_records(path, count);
  return count;
}

static long append_each(void) { return append("appended", 1); }
static long append_many(void) { return append("appended-many", RECORDS_TO_AN_FSYNC); }

static long overwrite(void) {
  static char model[BLOCKS * BLOCK_BYTES], found[sizeof model];
  long count = 0;
  int file = DO("open", 0, open("overwritten", O_RDWR | O_CREAT | O_EXCL, 0644));
  DO("make large", 0, ftruncate(file, sizeof model));
  for (uint32_t state = 1; !ending; count++) {
    state = state * 1664525 + 1013904223;
    char *block = model + (state >> 8) % BLOCKS * BLOCK_BYTES;
    memset(block, count, BLOCK_BYTES);
    memcpy(block, &count, sizeof count);
    if (DO("write", count, pwrite(file, block, BLOCK_BYTES, block - model)) != BLOCK_BYTES) fail("a short write", count);
    if (count % 10 == 0) DO("fsync", count, fsync(file));
    if (count % 200 != 0) continue;
    DO("fsync", count, fsync(file));
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    if (DO("read", count, pread(file, found, sizeof found, 0)) != sizeof found) fail("a short read", count);
    if (memcmp(found, model, sizeof found) != 0) fail("the file has other contents", count);
  }
  DO("close", count, close(file));
  file = DO("open", count, open("overwritten", O_RDONLY | O_DIRECT));
  void *aligned;
  if (posix_memalign(&aligned, 4096, sizeof model + 4096) != 0) fail("no memory", count);
  if (DO("read", count, pread(file, aligned, sizeof model / 4096 * 4096 + 4096, 0)) != sizeof model) fail("a short read", count);
  errno = 0;
  if (memcmp(aligned, model, sizeof model) != 0) fail("the file has other contents at last", count);
  return count;
}

static char *named(const char *format, long number) {
  static char names[4][64];
  static int next;
  char *name = names[next++ % 4];
  snprintf(name, sizeof names[0], format, number);
  return name;
}

static void make_files(long number) {
  char text[32];
  int length = snprintf(text, sizeof text, "%ld\n", number);
  int file = DO("create", number, open("new", O_WRONLY | O_CREAT | O_EXCL, 0600));
  if (DO("write", number, write(file, text, length)) != length) fail("a short write", number);
  DO("chmod", number, fchmod(file, 0640));
  DO("close", number, close(file));
  DO("mkdir", number, mkdir("new-folder", 0755));
  DO("rename a folder", number, rename("new-folder", named("folder-%ld", number)));
  DO("link", number, link("new", named("alias-%ld", number)));
  DO("rename", number, rename("new", named("folder-%ld/file", number)));
  DO("symlink", number, symlink(named("folder-%ld/file", number), named("symlink-%ld", number)));
  DO("mkfifo", number, mkfifo(named("fifo-%ld", number), 0600));
}

static void check_files(long number) {
  struct stat found;
  char text[32] = "";
  int file = DO("open a symlink", number, open(named("symlink-%ld", number), O_RDONLY));
  DO("read", number, read(file, text, sizeof text - 1));
  DO("fstat", number, fstat(file, &found));
  close(file);
  errno = 0;
  if (atol(text) != number) fail("the file has other contents", number);
  if (found.st_nlink != 2 || (found.st_mode & 0777) != 0640) fail("the file has other attributes", number);
}

static void remove_files(long number) {
  DO("remove", number, unlink(named("folder-%ld/file", number)));
  DO("remove a link", number, unlink(named("alias-%ld", number)));
  DO("remove a symlink", number, unlink(named("symlink-%ld", number)));
  DO("remove a fifo", number, unlink(named("fifo-%ld", number)));
  DO("rmdir", number, rmdir(named("folder-%ld", number)));
}

static long change_names(void) {
  long count = 0;
  DO("mkdir", 0, mkdir("names", 0755));
  DO("chdir", 0, chdir("names"));
  for (; !ending; count++) {
    make_files(count);
    check_files(count);
    if (count >= FILES_KEPT) remove_files(count - FILES_KEPT);
  }
  long first = count > FILES_KEPT ? count - FILES_KEPT : 0, names = 0;
  for (long number = first; number < count; number++) check_files(number);
  DIR *listing = opendir(".");
  if (listing == NULL) fail("opendir", count);
  while (readdir(listing) != NULL) names++;
  errno = 0;
  if (names != 2 + 4 * (count - first)) fail("there are more or fewer names", names);
  return count;
}

int main(int argc, char **argv) {
  static const struct {
    const char *name;
    long (*run)(void);
  } writers[] = {
      {"append", append_each}, {"append-many", append_many}, {"overwrite", overwrite}, {"names", change_names}};
  enum { COUNT = sizeof writers / sizeof writers[0] };
  pid_t processes[COUNT];
  if (argc != 2 || chdir(argv[1]) != 0) {
    fprintf(stderr, "usage: steady-writers FOLDER\n");
    return 2;
  }
  /* A call goes on after the signal, so that none is cut short. */
  struct sigaction action = {.sa_handler = on_end, .sa_flags = SA_RESTART};
  sigaction(SIGTERM, &action, NULL);
  counts = mmap(NULL, sizeof(long) * COUNT, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (counts == MAP_FAILED) return 2;
  for (int i = 0; i < COUNT; i++) {
    own_count = &counts[i];
    if ((processes[i] = fork()) != 0) continue;
    writer = writers[i].name;
    long count = writers[i].run();
    printf("%s: %ld done, the longest call took %.1f s\n", writer, count, longest);
    fflush(stdout);
    _exit(0);
  }
  long seen[COUNT] = {0};
  while (!ending) {
    usleep(250000);
    int going = 0;
    for (int i = 0; i < COUNT; i++) going += counts[i] != seen[i];
    if (going < COUNT) continue;
    for (int i = 0; i < COUNT; i++) seen[i] = counts[i];
    printf("going on\n");
    fflush(stdout);
  }
  int failed = 0, status;
  for (int i = 0; i < COUNT; i++) kill(processes[i], SIGTERM);
  for (int i = 0; i < COUNT; i++) {
    if (waitpid(processes[i], &status, 0) < 0 || status != 0) failed = 1;
  }
  return failed;
}
